"""ISO base media files (MP4, MOV): the boxes on the outside, and whether the file is whole.

Known:        ISO/IEC 14496-12, Apple QuickTime File Format. Only headers of boxes are read, never media data.
Not verified: cameras that set a file's room aside beforehand and leave an old recording in its tail. A fragmented file
              that was cut exactly between two fragments cannot be told from one that was stopped.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware_specs.formats.source import Source

__all__ = ["RECOVERY", "Box", "Structure", "Verdict", "children", "structure"]

BOXES_MAX: Final = 200_000
"""Boxes on the outside of one file: a day of fragments of half a second."""
SHOWN_MAX: Final = 64
CHILDREN_MAX: Final = 4096
_LOOK: Final = 64 * 1024
"""Bytes at each end of a tail that are looked at."""

_FIRST: Final = frozenset(
    {
        b"ftyp",
        b"styp",
        b"moov",
        b"mdat",
        b"free",
        b"skip",
        b"wide",
        b"pnot",
        b"uuid",
        b"moof",
        b"sidx",
        b"meta",
        b"junk",
    }
)
"""What a file may begin with: any four letters can be taken for a box."""


class Verdict(StrEnum):
    """Whether a file is whole."""

    COMPLETE = "complete"
    ZERO_TAIL = "zero_tail"
    GARBAGE_TAIL = "garbage_tail"
    MDAT_TRUNCATED = "mdat_truncated"
    MOOV_MISSING = "moov_missing"
    MOOV_TRUNCATED = "moov_truncated"
    FRAGMENTED_COMPLETE = "fragmented_complete"
    FRAGMENTED_TRUNCATED = "fragmented_truncated"
    NOT_BMFF = "not_bmff"


RECOVERY: Final = {
    Verdict.COMPLETE: "nothing to recover",
    Verdict.ZERO_TAIL: "nothing to recover: the zeros after the last box are no part of the film",
    Verdict.GARBAGE_TAIL: "the film is whole; what follows it is no box and may be left of an earlier recording",
    Verdict.MDAT_TRUNCATED: "plays up to the cut: the index is whole",
    Verdict.MOOV_MISSING: "the pictures are there without their index: it can be rebuilt from a whole file of the same"
    " camera with the same settings",
    Verdict.MOOV_TRUNCATED: "the pictures are whole and their index is cut: it can be rebuilt from a whole file of the"
    " same camera with the same settings",
    Verdict.FRAGMENTED_COMPLETE: "nothing to recover; a cut exactly between two fragments would look the same",
    Verdict.FRAGMENTED_TRUNCATED: "plays up to the last whole fragment",
    Verdict.NOT_BMFF: "another format, or enciphered, or overwritten from its beginning",
}
"""What can be done with a file of this verdict. Never in place: the bytes are evidence."""


@dataclass(frozen=True, slots=True)
class Box:
    """One box; offsets are those of the file."""

    kind: bytes
    offset: int
    header: int
    end: int
    """As its header says; it may lie behind the end of the file."""

    @property
    def body(self) -> int:
        """Where its content begins."""
        return self.offset + self.header

    @property
    def name(self) -> str:
        """Its four letters, printable."""
        return self.kind.decode("latin-1").replace("\xa9", "©")


@dataclass(slots=True)
class Structure:
    """The outside of a file."""

    length: int
    verdict: Verdict = Verdict.NOT_BMFF
    cut_at: int | None = None
    """Where the box begins that is not whole, or the header that is not."""
    missing: int = 0
    """Bytes that this box says it has and that are not there."""
    tail: int = 0
    """Bytes after the last box."""
    brand: str | None = None
    boxes: list[Box] = field(default_factory=list)
    """The first of them, `SHOWN_MAX` at most."""
    counts: Counter[str] = field(default_factory=Counter)
    moov: Box | None = None
    first_moof: Box | None = None
    last_moof: Box | None = None
    """The last that is whole."""
    frees: list[Box] = field(default_factory=list)
    """Some makers hide their own boxes in these."""

    @property
    def mfra(self) -> bool:
        """An index of fragments at the end: a hint that the recording was stopped and not cut."""
        return bool(self.counts["mfra"])


class _Cut(Malformed):
    """A header that is not all there."""


def header(source: Source, offset: int, end: int, *, numbered: bool = False) -> Box | None:
    """The box at `offset`; None where what stands there is no header. Raises `Malformed` where it is cut.

    `numbered`: instead of four letters it has a number, as the items of a list have.
    """
    if end - offset < 8:  # noqa: PLR2004 - size and type
        raise _Cut(f"the header of a box is cut at byte {offset}")
    size, kind = struct.unpack(">I4s", source.read(offset, 8))
    if not numbered and not all(0x20 <= byte <= 0x7E or byte == 0xA9 for byte in kind):  # noqa: PLR2004 - letters, and Apple's ©
        return None
    length = 8
    if size == 1:
        if end - offset < 16:  # noqa: PLR2004 - with the long size
            raise _Cut(f"the header of a box is cut at byte {offset}")
        (size,) = struct.unpack(">Q", source.read(offset + 8, 8))
        length = 16
    elif size == 0:
        size = end - offset  # to the end of what holds it
    if kind == b"uuid":
        length += 16
    return None if size < length else Box(kind, offset, length, offset + size)


def structure(source: Source) -> Structure:
    """Walk over the outside and say whether the file is whole. Raises `Malformed` for more boxes than can be true."""
    found = Structure(source.length)
    cut: Box | None = None
    torn = False
    at = boxes = 0
    while at < source.length:
        try:
            box = header(source, at, source.length)
        except _Cut:
            found.cut_at, torn = at, True
            break
        if box is None or (at == 0 and box.kind not in _FIRST):
            break
        if boxes >= BOXES_MAX:
            raise Malformed(f"more than {BOXES_MAX} boxes stand in it")
        boxes += 1
        _note(found, box)
        at = box.end
        if box.end > source.length:
            cut, found.cut_at, found.missing = box, box.offset, box.end - source.length
            break
    found.tail = max(0, source.length - at)
    found.verdict = _verdict(source, found, cut, at, torn=torn)
    if found.boxes and found.boxes[0].kind == b"ftyp" and found.boxes[0].body + 4 <= source.length:
        found.brand = source.read(found.boxes[0].body, 4).decode("latin-1")
    return found


def _note(found: Structure, box: Box) -> None:
    found.counts[box.name] += 1
    if len(found.boxes) < SHOWN_MAX:
        found.boxes.append(box)
    if box.end > found.length:
        return
    if box.kind == b"moov":
        found.moov = found.moov or box
    elif box.kind == b"moof":
        found.first_moof = found.first_moof or box
        found.last_moof = box
    elif box.kind == b"free" and len(found.frees) < SHOWN_MAX:
        found.frees.append(box)


def _verdict(source: Source, found: Structure, cut: Box | None, at: int, *, torn: bool) -> Verdict:
    if not found.counts:
        return Verdict.NOT_BMFF
    if found.counts["moof"]:
        whole = cut is None and not found.tail
        return Verdict.FRAGMENTED_COMPLETE if whole else Verdict.FRAGMENTED_TRUNCATED
    if found.moov is None:
        return Verdict.MOOV_TRUNCATED if cut is not None and cut.kind == b"moov" else Verdict.MOOV_MISSING
    if cut is not None:
        return Verdict.MDAT_TRUNCATED if cut.kind == b"mdat" else Verdict.GARBAGE_TAIL
    if not found.tail and not torn:
        return Verdict.COMPLETE
    return Verdict.ZERO_TAIL if _zeros(source, at) else Verdict.GARBAGE_TAIL


def _zeros(source: Source, at: int) -> bool:
    """Whether a tail is zeros, as far as its two ends tell: a tail may be larger than the film."""
    first = source.read(at, min(_LOOK, source.length - at))
    rest = source.length - at - len(first)
    last = source.read(source.length - min(_LOOK, rest), min(_LOOK, rest))
    return not any(first) and not any(last)


def children(source: Source, start: int, end: int, *, numbered: bool = False) -> Iterator[Box]:
    """The boxes between two places. Raises `Malformed` where one reaches beyond, or there are too many."""
    for _ in range(CHILDREN_MAX):
        if end - start < 8:  # noqa: PLR2004 - what is left is a terminator of QuickTime, or padding
            return
        box = header(source, start, end, numbered=numbered)
        if box is None:
            return
        if box.end > end:
            raise Malformed(f"the box {box.name} at byte {box.offset} reaches beyond the box that holds it")
        yield box
        start = box.end
    raise Malformed(f"more than {CHILDREN_MAX} boxes stand in one box")
