"""GPMF: telemetry of GoPro cameras, as key, type, size, count and values, one inside another.

Known:        the maker's parser's description; samples of HERO5 to HERO11 and MAX. An MP4 carries it in a track of
              format `gpmd`, one payload a sample, which other makers use for something else: a payload begins with
              `DEVC`.
Not verified: the types `q Q d J` beyond what those samples hold; `#` (compressed) is passed over.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from firmware_specs.formats.source import Malformed, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Fix", "Telemetry", "telemetry"]

ITEMS_MAX: Final = 10_000
"""Items of one payload; a second of telemetry has some hundred."""
_DEPTH_MAX: Final = 8
_HEADER: Final = 8
_LAYOUTS: Final = {
    "b": "b", "B": "B", "d": "d", "f": "f", "j": "q", "J": "Q", "l": "i", "L": "I", "q": "i", "Q": "q", "s": "h",
    "S": "H",
}  # fmt: skip
_FIXED_POINT: Final = {"q": 65536, "Q": 1 << 32}
_GPS5: Final = 5
_GPS9: Final = 9
_DAY_ZERO: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Fix:
    """One record of a GPS stream, as the camera scales it."""

    latitude: float
    longitude: float
    altitude: float
    speed: float
    """On the ground, metres a second."""
    speed_3d: float
    at: datetime | None = None
    """GPS9 alone tells each record's time."""


@dataclass(slots=True)
class Telemetry:
    """What one payload holds."""

    devices: int = 0
    streams: int = 0
    items: int = 0
    records: Counter[str] = field(default_factory=Counter)
    """Records by key, of those that are data and not about data."""
    names: list[str] = field(default_factory=list)
    first: Fix | None = None
    clock: str | None = None
    """`GPSU`, as the camera writes it: `yymmddhhmmss.sss` in UTC."""
    words: dict[str, str] = field(default_factory=dict)
    """The camera's serial number, model and firmware, where the payload is that of the film's head."""
    fix: int | None = None
    """0 none, 2 or 3 dimensions."""


@dataclass(slots=True)
class _Stream:
    scale: list[float] = field(default_factory=list)
    structure: str = ""


_ABOUT: Final = frozenset(
    {"DVID", "DVNM", "STNM", "SIUN", "UNIT", "SCAL", "TYPE", "TSMP", "STMP", "TICK", "TOCK", "EMPT", "ORIN", "ORIO"}
)


def telemetry(data: bytes) -> Telemetry:
    """Read one payload. Raises `Malformed` where it is not GPMF, or cut."""
    if data[:4] != b"DEVC":
        raise Malformed("no GPMF: it does not begin with DEVC")
    found = Telemetry()
    _level(data, 0, len(data), found, _Stream(), 0)
    return found


def _items(data: bytes, at: int, end: int) -> Iterator[tuple[str, str, int, int, int]]:
    """(key, type, size of a structure, how many, where they begin) of each item at one level."""
    while end - at >= _HEADER:
        raw, kind, size, count = unpack(">4sBBH", data, at)
        if raw == bytes(4):
            return  # padding at the end of a payload
        begin, length = at + _HEADER, size * count
        if begin + length > end:
            raise Malformed(f"the item at byte {at} has {length} bytes, and {end - begin} are there")
        yield raw.decode("ascii", "backslashreplace"), chr(kind), size, count, begin
        at = begin + (length + 3 & ~3)
    if at < end:
        raise Malformed(f"an item is cut at byte {at}")


def _level(data: bytes, at: int, end: int, found: Telemetry, stream: _Stream, depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise Malformed(f"its items lie more than {_DEPTH_MAX} levels deep")
    for key, kind, size, count, begin in _items(data, at, end):
        found.items += 1
        if found.items > ITEMS_MAX:
            raise Malformed(f"more than {ITEMS_MAX} items stand in one payload")
        if kind == "\0":
            found.devices += key == "DEVC"
            found.streams += key == "STRM"
            _level(data, begin, begin + size * count, found, _Stream(), depth + 1)
        else:
            _item(data[begin : begin + size * count], key, kind, (size, count), found, stream)


def _item(raw: bytes, key: str, kind: str, shape: tuple[int, int], found: Telemetry, stream: _Stream) -> None:
    size, count = shape
    match key:
        case "SCAL":
            stream.scale = [float(value) or 1.0 for value in _numbers(raw, kind)]
        case "TYPE":
            stream.structure = raw.decode("latin-1")
        case "DVNM":
            found.names.append(_text(raw))
        case "CASN" | "MINF" | "FMWR":
            found.words[{"CASN": "serial", "MINF": "model", "FMWR": "firmware"}[key]] = _text(raw)
        case "GPSU":
            found.clock = _text(raw[:16])
        case "GPSF":
            fix = next(iter(_numbers(raw, kind)), 0)
            found.fix = int(fix) if math.isfinite(fix) else None
    if key not in _ABOUT:
        found.records[key] += count
    if found.first is None and count and key in ("GPS5", "GPS9"):
        found.first = _fix(raw[:size], key, kind, stream)


def _text(raw: bytes) -> str:
    return "".join(one for one in raw.split(b"\0")[0].decode("latin-1") if one.isprintable()).strip()


def _numbers(raw: bytes, kind: str) -> list[Any]:
    layout = _LAYOUTS.get(kind)
    if layout is None:
        return []
    width = len(raw) // unpack_size(layout)
    divisor = _FIXED_POINT.get(kind, 1)
    return [value / divisor if divisor > 1 else value for value in unpack(f">{width}{layout}", raw)]


def unpack_size(layout: str) -> int:
    """Bytes of one value."""
    return {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "d": 8, "q": 8, "Q": 8}[layout]


def _fix(raw: bytes, key: str, kind: str, stream: _Stream) -> Fix | None:
    structure = stream.structure if kind == "?" else kind * _GPS5
    if (key == "GPS9" and structure != "lllllllSS") or (key == "GPS5" and structure != "lllll"):
        return None
    values = unpack(">" + "".join(_LAYOUTS[one] for one in structure), raw)
    scale = stream.scale if len(stream.scale) > 1 else (stream.scale or [1.0]) * len(values)
    if len(scale) < len(values):
        raise Malformed(f"{key} has {len(values)} values and {len(scale)} scales")
    told = [value / by for value, by in zip(values, scale, strict=False)]
    return Fix(told[0], told[1], told[2], told[3], told[4], _moment(told[5], told[6]) if len(told) == _GPS9 else None)


def _moment(days: float, seconds: float) -> datetime | None:
    try:
        return _DAY_ZERO + timedelta(days=days, seconds=seconds)
    except (ValueError, OverflowError):
        return None
