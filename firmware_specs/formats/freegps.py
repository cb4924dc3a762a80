"""`freeGPS ` blocks of Novatek and other cameras: a position a second, between the pictures of an MP4.

Known:        the index `gps ` in `moov`, and two layouts, of which a real block each was read (Viofo A119S, A119 v3).
Not verified: status `V` (no fix). All other layouts end as unknown: several encipher the position, and a scrambled
              number must never be taken for a place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from firmware_specs.formats.source import Malformed, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware_specs.formats.bmff import Box
    from firmware_specs.formats.source import Source

__all__ = ["MARK", "Position", "block", "blocks"]

MARK: Final = b"freeGPS "
BLOCK_MAX: Final = 1 << 16
BLOCKS_MAX: Final = 100_000
_HEAD: Final = 0xA8
_KNOT: Final = 1.852
_THIS_CENTURY: Final = 2000


@dataclass(frozen=True, slots=True)
class Position:
    """One block that is understood."""

    variant: str
    at: datetime | None
    """As the block tells it: from the satellites, and of some cameras local; which, it does not tell."""
    valid: bool
    latitude: float
    longitude: float
    speed: float
    """Kilometres an hour."""
    track: float
    """Degrees from north."""


def blocks(source: Source, index: Box) -> Iterator[tuple[int, int]]:
    """(offset, length) of each block by the index `gps ` in `moov`. Raises `Malformed`."""
    body = index.end - index.body
    _, count = unpack(">II", source.read(index.body, 8))
    if count > BLOCKS_MAX or 8 + 8 * count > body:
        raise Malformed(f"an index of {body} bytes cannot have {count} entries")
    for number in range(count):
        offset, length = unpack(">II", source.read(index.body + 8 + 8 * number, 8))
        yield offset, length


def block(data: bytes) -> Position | None:
    """Read one block; None where its layout is not known. Raises `Malformed` where it is no block, or cut."""
    if data[4:12] != MARK:
        raise Malformed("no freeGPS block")
    if len(data) < 0x60:  # noqa: PLR2004 - what both layouts need
        raise Malformed("a freeGPS block is cut")
    if data[0x25:0x28] == bytes(3) and _status(data, 0x28):
        return _read("1C", data, 0x10, 0x28, 0x2C)
    if _status(data, 0x48) and data[0x4B] == 0:
        return _read("1J", data, 0x30, 0x48, 0x4C)
    return None


def _status(data: bytes, at: int) -> bool:
    return data[at] in b"AV" and data[at + 1] in b"NS" and data[at + 2] in b"EW"


def _read(variant: str, data: bytes, when: int, status: int, where: int) -> Position | None:
    hour, minute, second, year, month, day = unpack("<6I", data, when)
    latitude, longitude, speed, track = unpack("<4f", data, where)
    if not all(map(math.isfinite, (latitude, longitude, speed, track))):
        return None
    try:
        at = datetime(
            year + (0 if year >= _THIS_CENTURY else _THIS_CENTURY), month, day, hour, minute, second, tzinfo=UTC
        )
    except (ValueError, OverflowError):
        at = None
    north, east = _degrees(latitude), _degrees(longitude)
    if abs(north) > 90 or abs(east) > 180:  # noqa: PLR2004
        return None
    return Position(
        variant,
        at,
        data[status] == ord("A"),
        -north if data[status + 1] == ord("S") else north,
        -east if data[status + 2] == ord("W") else east,
        speed * _KNOT,
        track,
    )


def _degrees(value: float) -> float:
    """DDDMM.MMMM as degrees."""
    whole = int(value / 100)
    return whole + (value - 100 * whole) / 60
