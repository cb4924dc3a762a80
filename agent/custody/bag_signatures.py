"""Whose signatures count for a bag, and what they make of its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.custody.bag_files import Outcome, Report
from agent.custody.checkpoint import open_checkpoint
from agent.custody.proof import Proof
from agent.merkle import check_inclusion, leaf_hash
from agent.note import COSIGNATURE, BadNote, Verifier

if TYPE_CHECKING:
    from agent.custody.checkpoint import Checkpoint
    from agent.custody.policy import Policy

__all__ = ["Trust", "check_head", "check_proof_file", "keys_of"]


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signatures count."""

    keys: tuple[Verifier, ...]
    policy: Policy | None = None
    only: tuple[Verifier, ...] = ()
    """Of the keys that the policy brings itself those count that are among these; empty: all."""
    desks: tuple[Verifier, ...] = ()
    """Keys of which the reader says that they sign receipts; empty: he does not say."""

    @property
    def logs(self) -> list[Verifier]:
        """Keys that may sign for a log; which, its name says."""
        named = self._brought([] if self.policy is None else [log.verifier for log in self.policy.logs])
        return [*dict.fromkeys([key for key in self.keys if key.kind != COSIGNATURE] + named)]

    @property
    def witnesses(self) -> list[Verifier]:
        """Keys of witnesses."""
        named = self._brought([] if self.policy is None else self.policy.witness_keys)
        return [*dict.fromkeys([key for key in self.keys if key.kind == COSIGNATURE] + named)]

    def _brought(self, keys: list[Verifier]) -> list[Verifier]:
        return [key for key in keys if not self.only or key in self.only]

    def receipts(self, log: str) -> list[Verifier]:
        """Keys that may sign receipts: those of which the reader says so, else whatever is not known for another use.

        A vkey does not say what it is for: the key of a log that nothing here names cannot be told from a receipt key.
        """
        policy = self.policy
        named = [] if policy is None else [*(one.verifier for one in policy.logs), *policy.witness_keys]
        own = [key for key in self.keys if key.kind == COSIGNATURE or key.name == log]
        other_use = {key.public for key in (*named, *own)}
        may = self.desks or self.keys
        return [key for key in may if key.kind != COSIGNATURE and key.name != log and key.public not in other_use]


def keys_of(text: str) -> tuple[Verifier, ...]:
    """Keys, one vkey a line. Raises `BadNote`."""
    return tuple(Verifier.parse(line) for line in text.split("\n") if line)


def check_head(raw: bytes, trust: Trust, report: Report) -> Checkpoint | None:
    """Check a checkpoint and who cosigned it; None where it cannot be believed."""
    try:
        opened = open_checkpoint(raw, trust.logs, trust.witnesses)
        if trust.policy is not None:
            trust.policy.check_marks(opened.checkpoint.size, opened.signatures)
    except BadNote as bad:
        report.add(Outcome.FAILED, "checkpoint", "checkpoint", str(bad))
        return None
    head = opened.checkpoint
    report.add(Outcome.OK, "checkpoint", head.origin, f"signed by the log, {head.size} entries")
    cosigned = [one for one in opened.signatures if one.cosigned_at is not None]
    for one in cosigned:
        report.add(Outcome.OK, "witness", one.by.name, f"cosigned at {one.cosigned_at:%Y-%m-%dT%H:%M:%SZ}")
    name = "any witness" if trust.policy is None else trust.policy.quorum
    made = bool(cosigned) if trust.policy is None else trust.policy.satisfied(opened.signatures)
    outcome, found = (Outcome.OK, "has cosigned") if made else (Outcome.MISSING, "has not cosigned")
    report.add(outcome, "quorum", name, found)
    return head


def check_proof_file(raw: bytes, entry: bytes, head: Checkpoint, checkpoint: bytes, index: int | None = None) -> int:
    """Return the index at which `entry` stands under this head. Raises `BadNote` or `BadProof`."""
    proof = Proof.parse(raw)
    if proof.checkpoint != checkpoint or index not in {None, proof.index}:
        raise BadNote(f"this is a proof of entry {proof.index}, or one for another checkpoint")
    check_inclusion(proof.index, head.size, leaf_hash(entry), proof.hashes, head.root)
    return proof.index
