"""The proof file: one entry's way up to a checkpoint, checked without a network and without anything of ours.

    c2sp.org/tlog-proof@v1
    index 137
    hRgMo2wRc5MB7J/PPOF4kXD4pmcAIfZpKOHl4Ouwj5I=          the hash beside the leaf first, the one below the root last
    ...
                                                          an empty line, then the checkpoint as it was signed
    edge.example.org/dock-0042/log1
    ...

The entry itself is not in it: it lies beside it, byte for byte as it was logged, and its hash is where the way begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from agent.custody.checkpoint import open_cosigned
from agent.merkle import HASH_LENGTH, BadProof, check_inclusion, leaf_hash
from agent.note import BadNote, decode64, encode64, parse_number

if TYPE_CHECKING:
    from agent.custody.checkpoint import Opened
    from agent.custody.policy import Policy

__all__ = ["HASHES_MAX", "Proof", "check_proof", "parse_hashes"]

HASHES_MAX: Final = 63
"""No tree whose size fits 63 bits has a longer way; tlog-witness sets the same bound."""

_VERSION: Final = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof file says; nothing of it is proven before `check_proof` returned."""

    index: int
    hashes: tuple[bytes, ...]
    """Each 32 bytes."""
    checkpoint: bytes
    """The signed note, verbatim."""
    extra: bytes | None = None
    """Signed by nobody, and so never to be believed; ours have none."""

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Return the parts of a proof file, or raise `BadNote`. Whether the checkpoint is one is not looked at."""
        head, parted, checkpoint = raw.partition(b"\n\n")
        try:
            version, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise BadNote("a proof must be ASCII above its checkpoint") from None
        if not parted or version != _VERSION:
            raise BadNote(f"this is not a proof that begins with {_VERSION}")
        extra = decode64(lines.pop(0).removeprefix("extra ")) if lines and lines[0].startswith("extra ") else None
        if not lines or not lines[0].startswith("index "):
            raise BadNote("a proof must say the index of its entry")
        return cls(parse_number(lines[0].removeprefix("index ")), parse_hashes(lines[1:]), checkpoint, extra)

    def write(self) -> bytes:
        """Return the bytes of the proof file."""
        extra = [] if self.extra is None else [f"extra {encode64(self.extra)}"]
        lines = [_VERSION, *extra, f"index {self.index}", *map(encode64, self.hashes), "", ""]
        return "\n".join(lines).encode() + self.checkpoint


def check_proof(
    raw: bytes, entry: bytes, policy: Policy, *, log: str | None = None, index: int | None = None
) -> Opened:
    """Return the checkpoint under which `raw` proves `entry` to stand, signed and cosigned as the policy asks.

    `entry` is the exact bytes of the leaf. Where `log` and `index` are given, the proof must be of that very entry:
    a log may hold equal entries at several indexes. Raises `BadNote` when a signature or the format is not as it must
    be (`NoQuorum` when only witnesses are missing), and `BadProof` when this proves something else, or nothing.
    """
    proof = Proof.parse(raw)
    if index is not None and proof.index != index:
        raise BadProof(f"this is a proof of entry {proof.index}, not of {index}")
    opened = open_cosigned(proof.checkpoint, policy)
    checkpoint = opened.checkpoint
    if log is not None and checkpoint.origin != log:
        raise BadProof(f"this is a proof for the log {checkpoint.origin}, not for {log}")
    check_inclusion(proof.index, checkpoint.size, leaf_hash(entry), proof.hashes, checkpoint.root)
    return opened


def parse_hashes(lines: list[str]) -> tuple[bytes, ...]:
    """Return the hashes of base64 lines as proofs and witness requests have them, or raise `BadNote`."""
    if len(lines) > HASHES_MAX:
        raise BadNote(f"a proof of {len(lines)} hashes is longer than any tree is high")
    hashes = tuple(map(decode64, lines))
    if any(len(one) != HASH_LENGTH for one in hashes):
        raise BadNote(f"a hash of the proof is not {HASH_LENGTH} bytes long")
    return hashes
