"""Whose words count at one station: the agency's signed policy, or, where it has none, the witnesses named by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.custody.policy import NO_QUORUM, BadPolicy, open_policy, parse
from agent.note import COSIGNATURE

if TYPE_CHECKING:
    from agent.custody.policy import Policy
    from agent.note import Verifier

__all__ = ["Trust"]


@dataclass(frozen=True, slots=True)
class Trust:
    """What a person configured; nobody's word counts where all of it is empty."""

    note: bytes | None = None
    """The signed policy, verbatim."""
    roots: tuple[Verifier, ...] = ()
    """The agency's keys: one of them must have signed the policy."""
    witnesses: tuple[Verifier, ...] = ()
    """Without a policy: all of them must have cosigned."""

    def policy(self, *logs: Verifier) -> Policy | None:
        """Return the policy for a log: its key, or both while it is being changed; None where no witness is asked for.

        Raises `BadPolicy` or `BadNote` for a policy that is not signed, not understood, or does not list the log: what
        was meant to be required is then never left out.
        """
        if self.note is not None:
            policy = open_policy(self.note, self.roots)
            if not any(log in policy.log_keys(log.name) for log in logs):
                raise BadPolicy(f"the policy does not list this station's log {' '.join(log.vkey for log in logs)}")
            return None if policy.quorum == NO_QUORUM else policy
        if not self.witnesses:
            return None
        if wrong := [one.name for one in self.witnesses if one.kind != COSIGNATURE]:
            raise BadPolicy(f"the key of {', '.join(wrong)} is not of a kind for a witness")
        names = [f"witness-{number}" for number, _ in enumerate(self.witnesses, 1)]
        lines = [f"log {log.vkey}" for log in logs]
        lines += [f"witness {name} {one.vkey}" for name, one in zip(names, self.witnesses, strict=True)]
        lines += [f"group everyone all {' '.join(names)}", "quorum everyone"]
        return parse("".join(f"{line}\n" for line in lines))
