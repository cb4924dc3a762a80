"""Was a commit in the write-ahead log changed after it was forced to the disk? SQLite would take it for the end.

The frames of the log are chained by checksums, and recovery stops at the first one that does not fit: after a power
cut that is where the writing stopped. A byte that the disk changed later looks the same, and everything behind it would
be forgotten without a word. The two can be told apart, for each commit is forced before the next one is written
(`synchronous=FULL`): a commit that breaks the chain and has frames of its own time behind it was whole once. Of the
last commit nobody can tell; to lose it is to have been cut off before it, which every step of the agent allows for.

The format: sqlite.org/fileformat2.html, section 4.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["damage"]

_HEADER: Final = struct.Struct(">8I")
"""Magic, version, page size, number of the checkpoint, two salts, two checksums."""
_FRAME: Final = struct.Struct(">6I")
"""Page, size of the database where it is a commit (else 0), two salts, two checksums."""
_MAGIC: Final = 0x377F0682
"""The last bit says that checksums are made of big-endian words."""
_PAGE_SIZES: Final = frozenset(1 << power for power in range(9, 17))
_WORD: Final = 0xFFFFFFFF


class _Frame(NamedTuple):
    commit: bool
    salts: tuple[int, int]
    fits: bool
    """Whether the chain goes on to here."""


def damage(path: Path) -> str | None:
    """What is wrong with the log at `path`, in words, where something that was committed cannot be read; else None."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        raw = file.read(_HEADER.size)
        if len(raw) < _HEADER.size:
            return None
        magic, _, size, _, salt, other, first, second = _HEADER.unpack(raw)
        order = ">" if magic & 1 else "<"
        if magic & ~1 != _MAGIC or size not in _PAGE_SIZES or _sum(order, raw[:24], 0, 0) != (first, second):
            # It is forced before the first frame is written.
            return "its head was changed" if file.read(_FRAME.size).strip(b"\0") else None
        frames = _frames(file, order, size, (first, second))
        broken, committed = 0, False
        for number, frame in enumerate(frames, start=1):
            ours = frame.salts == (salt, other)
            if not broken and not (ours and frame.fits):
                broken = number
            if not broken or not ours:
                continue
            if committed:
                return f"frame {broken} was changed, and commits stand behind it"
            committed = frame.commit
    return None


def _frames(file: BinaryIO, order: str, size: int, sums: tuple[int, int]) -> list[_Frame]:
    found: list[_Frame] = []
    whole = True
    while len(raw := file.read(_FRAME.size + size)) == _FRAME.size + size:
        _, commit, salt, other, first, second = _FRAME.unpack_from(raw)
        if whole:
            sums = _sum(order, raw[_FRAME.size :], *_sum(order, raw[:8], *sums))
            whole = sums == (first, second)
        found.append(_Frame(commit > 0, (salt, other), whole))
    return found


def _sum(order: str, raw: bytes, first: int, second: int) -> tuple[int, int]:
    for one, other in struct.iter_unpack(order + "II", raw):
        first = (first + one + second) & _WORD
        second = (second + other + first) & _WORD
    return first, second
