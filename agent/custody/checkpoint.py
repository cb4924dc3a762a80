"""The checkpoint: the station's signed word how large its journal is and with what root, and the witnesses' beside it.

c2sp.org/tlog-checkpoint: a signed note (`agent.note`) whose text is at least three lines.

    edge.example.org/dock-0042/log1                       the origin, which is also the name of the log's key
    300                                                   how many entries
    1XLJ0EEEAUd71qd5C8S2arRjnFUon9dI4hZa9j8eWxs=          the root of the tree over them

A witness's cosignature says that at its time this was the largest tree it had seen of this log, and that every earlier
one was a beginning of it. A checkpoint is not a receipt: it names hashes of a log, not stored bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from agent.merkle import HASH_LENGTH
from agent.note import COSIGNATURE, BadNote, Note, decode64, encode64, parse_number, sign

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from agent.custody.policy import Policy
    from agent.note import Signature, Signer, Verifier

__all__ = ["Checkpoint", "NoQuorum", "Opened", "cosigned_at", "open_checkpoint", "open_cosigned", "sign_checkpoint"]


class NoQuorum(BadNote):
    """The log signed, but fewer witnesses cosigned than the policy asks for: it may be right, it is not proven yet."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log."""

    origin: str
    size: int
    root: bytes
    """32 bytes."""
    extensions: tuple[str, ...] = ()
    """Further lines of other logs, opaque; a station writes none."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the head that a note's text states, or raise `BadNote`."""
        lines = text.removesuffix("\n").split("\n")
        if not text.endswith("\n") or len(lines) < 3 or not all(lines):  # noqa: PLR2004 - origin, size, root
            raise BadNote("a checkpoint has at least three lines, and none is empty")
        origin, size, root, *extensions = lines
        made = cls(origin, parse_number(size), decode64(root), tuple(extensions))
        if len(made.root) != HASH_LENGTH:
            raise BadNote(f"the root of a checkpoint is not {HASH_LENGTH} bytes long")
        return made

    @property
    def text(self) -> str:
        """The text to sign."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, encode64(self.root), *self.extensions))


@dataclass(frozen=True, slots=True)
class Opened:
    """A checkpoint that its log signed."""

    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]
    """The verified ones, of the log and of known witnesses, in the order of their lines."""
    cosigned_at: datetime | None = None
    """The earliest time at which the policy's quorum had cosigned; None where no quorum was asked for."""


def sign_checkpoint(checkpoint: Checkpoint, *signers: Signer) -> bytes:
    """Return the signed note of a checkpoint.

    The entries must be committed before this is called, and the note before it leaves the machine: then no crash can
    leave a signed head that the journal behind it does not reach. Raises `ValueError` for a head that no reader takes.
    """
    if Checkpoint.parse(checkpoint.text) != checkpoint:
        raise ValueError("a line of the checkpoint would be read as several")
    for signer in signers:
        if signer.verifier.kind != COSIGNATURE and signer.verifier.name != checkpoint.origin:
            raise ValueError(f"the key of {signer.verifier.name} does not sign for {checkpoint.origin}")
    return sign(checkpoint.text, *signers)


def open_checkpoint(raw: bytes, logs: Iterable[Verifier], witnesses: Iterable[Verifier] = ()) -> Opened:
    """Return the checkpoint of a note, once the log of its origin has signed it by one of the keys `logs`.

    Cosignatures of `witnesses` are verified where they stand there, but none is asked for: see `open_cosigned`.
    Raises `BadNote` otherwise.
    """
    note = Note.parse(raw)
    checkpoint = Checkpoint.parse(note.text)
    # A key speaks for the log that it is named after, and for no other: a policy may list the logs of many stations.
    keys = [log for log in logs if log.name == checkpoint.origin and log.kind != COSIGNATURE]
    if not keys:
        raise BadNote(f"no key is known for the log {checkpoint.origin}")
    signatures = note.verified_by([*keys, *(one for one in witnesses if one.kind == COSIGNATURE)])
    if not any(signature.by in keys for signature in signatures):
        raise BadNote(f"the log {checkpoint.origin} itself did not sign")
    return Opened(checkpoint, tuple(signatures))


def cosigned_at(opened: Opened, policy: Policy | None) -> datetime | None:
    """Return since when the policy's quorum, or without a policy any witness, had cosigned; None where it has not."""
    if policy is not None:
        return policy.cosigned_at(opened.signatures)
    times = [one.cosigned_at for one in opened.signatures if one.cosigned_at is not None]
    return min(times, default=None)


def open_cosigned(raw: bytes, policy: Policy) -> Opened:
    """Return the checkpoint of a note that a log of the policy signed and that the policy's quorum cosigned.

    A key that the policy marks as compromised signs for nothing later. Raises `NoQuorum` when only the quorum misses,
    and `BadNote` for everything else.
    """
    opened = open_checkpoint(raw, (log.verifier for log in policy.logs), policy.witness_keys)
    if not policy.satisfied(opened.signatures):
        raise NoQuorum(f"the quorum {policy.quorum!r} has not cosigned {opened.checkpoint.origin}")
    policy.check_marks(opened.checkpoint.size, opened.signatures)
    return replace(opened, cosigned_at=policy.cosigned_at(opened.signatures))
