"""CAMM: camera motion metadata in a track of format `camm`, one record a sample, little-endian.

Known:        Google's published description.
Not verified: types 0, 1, 4 and 7; the time of type 6 in real cameras. It counts from 1980 (GPS), and some cameras
              write seconds from 1970: the raw number is reported with both readings. GPS time runs ahead of UTC by the
              leap seconds (18 since 2017), which are not taken off here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from firmware_specs.formats.source import Malformed, unpack

__all__ = ["LENGTHS", "Record", "readings", "record"]

_LAYOUTS: Final = {0: "<3f", 1: "<2i", 2: "<3f", 3: "<3f", 4: "<3f", 5: "<3d", 6: "<di2d7f", 7: "<3f"}
LENGTHS: Final = {0: 12, 1: 8, 2: 12, 3: 12, 4: 12, 5: 24, 6: 56, 7: 12}
"""Bytes after the four of the header, by type."""
_GPS: Final = datetime(1980, 1, 6, tzinfo=UTC)
_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Record:
    """One record."""

    kind: int
    values: tuple[Any, ...]

    @property
    def position(self) -> tuple[float, float, float] | None:
        """Latitude, longitude and altitude, where it has them and they lie on Earth."""
        told = self.values if self.kind == 5 else self.values[2:5] if self.kind == 6 else ()  # noqa: PLR2004
        if len(told) != 3 or not (abs(told[0]) <= 90 and abs(told[1]) <= 180 and math.isfinite(told[2])):  # noqa: PLR2004
            return None
        return told[0], told[1], told[2]


def record(data: bytes) -> Record:
    """Read one sample. Raises `Malformed`."""
    _, kind = unpack("<HH", data)
    layout = _LAYOUTS.get(kind)
    if layout is None:
        raise Malformed(f"{kind} is no type of a record")
    return Record(kind, unpack(layout, data, 4))


def readings(seconds: float) -> tuple[datetime | None, datetime | None]:
    """A time of type 6, (read as GPS time, read as Unix time)."""
    return _after(_GPS, seconds), _after(_UNIX, seconds)


def _after(epoch: datetime, seconds: float) -> datetime | None:
    try:
        return epoch + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return None
