"""Telemetry of BlackVue recorders: in a `free` box of the MP4, and in the files `.gps` and `.3gf` beside it.

Known:        names of the boxes; lines of `gps `; records of `3gf `. Samples of mock files and one built film.
Not verified: scale of 3gf (raw counts are reported); where the box stands in real files, so every `free` on the outside
              is looked at. `[ms]` in `gps ` and `sttm` are the camera's clock, possibly local; UTC is in the sentences.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from operator import xor
from typing import TYPE_CHECKING, Final

from firmware_specs.formats.bmff import children
from firmware_specs.formats.source import Malformed, unpack

if TYPE_CHECKING:
    from firmware_specs.formats.bmff import Box
    from firmware_specs.formats.source import Source

__all__ = ["Inside", "Sentence", "accelerations", "inside", "sentences"]

_KINDS: Final = frozenset({b"cprt", b"sttm", b"ptnm", b"ptrh", b"thum", b"gps ", b"3gf "})
TEXT_MAX: Final = 4 << 20
SENTENCES_MAX: Final = 20_000
"""Sentences of one film; three minutes have some thousand."""
_LINE: Final = re.compile(rb"\[(\d{1,16})\](\$[A-Z]{5},[^\r\n\[\]$*]{0,120}\*[0-9A-Fa-f]{2})?")
_RECORD: Final = 10
_END: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Sentence:
    """One line of `gps `: the camera's time, and a sentence of NMEA 0183 with its check sum tried."""

    clock_ms: int
    text: str
    right: bool
    """The check sum is right."""
    at: datetime | None = None
    """RMC: UTC by the satellites."""
    latitude: float | None = None
    longitude: float | None = None


@dataclass(slots=True)
class Inside:
    """What a `free` box of a film holds."""

    kinds: list[str] = field(default_factory=list)
    words: str | None = None
    """`cprt`: the camera, in the maker's words."""
    clock_ms: int | None = None
    name: str | None = None
    sentences: list[Sentence] = field(default_factory=list)
    accelerations: int = 0


def inside(source: Source, box: Box) -> Inside | None:
    """What this `free` box holds; None where it is another maker's, or empty. Raises `Malformed`."""
    if box.end - box.body < 8 or source.read(box.body + 4, 4) not in _KINDS:  # noqa: PLR2004
        return None
    found = Inside()
    for child in children(source, box.body, box.end):
        found.kinds.append(child.name.strip())
        data = source.read(child.body, min(child.end - child.body, TEXT_MAX)) if child.kind != b"thum" else b""
        match child.kind:
            case b"cprt":
                found.words = _text(data)
            case b"sttm":
                (found.clock_ms,) = unpack(">Q", data)
            case b"ptnm":
                found.name = _text(data[4:])
            case b"gps ":
                found.sentences = sentences(data)
            case b"3gf ":
                found.accelerations = len(accelerations(data))
    return found


def sentences(data: bytes) -> list[Sentence]:
    """The lines of `gps ` or of a `.gps` file; what is no such line is passed over. Raises `Malformed` if none is."""
    found: list[Sentence] = []
    for one in _LINE.finditer(data[:TEXT_MAX]):
        if one[2]:
            if len(found) >= SENTENCES_MAX:
                raise Malformed(f"more than {SENTENCES_MAX} sentences stand in it")
            found.append(_sentence(int(one[1]), one[2]))
    if not found and not _LINE.search(data[:TEXT_MAX]) and data.strip(b"\0\r\n "):
        raise Malformed("no line of it is a BlackVue position")
    return found


def _sentence(clock_ms: int, raw: bytes) -> Sentence:
    text = raw.decode("ascii", "replace")
    told, _, check = text[1:].rpartition("*")
    right = reduce(xor, told.encode("ascii", "replace"), 0) == int(check, 16)
    parts = told.split(",")
    if right and parts[0].endswith("RMC") and len(parts) > 9 and parts[2] == "A":  # noqa: PLR2004
        at, north, east = _when(parts[9], parts[1]), _degrees(parts[3], parts[4]), _degrees(parts[5], parts[6])
        return Sentence(clock_ms, text, right, at, north, east)
    return Sentence(clock_ms, text, right)


def _when(day: str, time: str) -> datetime | None:
    try:
        return datetime.strptime(f"{day} {time.partition('.')[0]}", "%d%m%y %H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _degrees(value: str, side: str) -> float | None:
    if not re.fullmatch(r"\d{3,5}(\.\d{1,8})?", value) or side not in ("N", "S", "E", "W"):
        return None
    whole, minutes = divmod(float(value), 100)
    found = whole + minutes / 60
    return -found if side in ("S", "W") else found


def accelerations(data: bytes) -> list[tuple[int, int, int, int]]:
    """(milliseconds since the start, x, y, z in raw counts) of `3gf `. Raises `Malformed` where the last is cut."""
    found: list[tuple[int, int, int, int]] = []
    for at in range(0, len(data), _RECORD):
        if not any(data[at : at + _RECORD]) and found:
            break  # room that was set aside
        ms, x, y, z = unpack(">Ihhh", data, at)
        if ms == _END:
            break
        found.append((ms, x, y, z))
    return found


def _text(raw: bytes) -> str:
    return "".join(one for one in raw.split(b"\0")[0].decode("utf-8", "replace") if one.isprintable()).strip()
