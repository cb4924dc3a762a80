"""JSON of gpsd, protocol 3: one object a line, of which TPV tells time and place.

Known:        gpsd_json(5) of ntpsec/gpsd; a recorded session and live ones with gpsd 3.22.
Not verified: PPS objects, which need hardware.

A line of more than 10,240 characters is cut by gpsd and is no JSON: it is passed over, and the connection goes on. What
has no value is left out. With `mode` below 2 coordinates may remain from the last fix: they are not used.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from firmware_specs.formats.source import Malformed

__all__ = ["LINE_MAX", "PROTOCOL", "WATCH", "Tpv", "objects", "tpv"]

LINE_MAX: Final = 10_240
"""Characters after which gpsd cuts a line."""
PROTOCOL: Final = 3
WATCH: Final = b'?WATCH={"enable":true,"json":true};\n'

STATUS: Final = {
    0: "unknown",
    1: "gnss",
    2: "differential",
    3: "rtk",
    4: "rtk_float",
    5: "dead_reckoning",
    6: "dead_reckoning_gnss",
    7: "time_only",
    8: "simulated",
}
_MODES: Final = (0, 1, 2, 3)
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:)(\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_LEAP: Final = 60
_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Tpv:
    """Time, position, velocity, as one report tells them."""

    mode: int
    """0 unknown, 1 no fix, 2 two dimensions, 3 three."""
    device: str | None
    at: datetime | None
    latitude: Decimal | None
    longitude: Decimal | None
    altitude: Decimal | None
    """Metres above mean sea level."""
    speed: Decimal | None
    """Metres a second."""
    track: Decimal | None
    accuracy: Decimal | None
    """Metres, as gpsd says it (`eph`): of no stated confidence, and never multiplied."""
    status: str


def objects(line: bytes) -> dict[str, Any]:
    """One line as an object. Raises `Malformed`."""
    if len(line) > LINE_MAX:
        raise Malformed("a line of gpsd that long was cut")
    try:
        # As Decimal: what gpsd prints is what is told on.
        found = json.loads(line, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise Malformed(f"a line of gpsd is no JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("class"), str):
        raise Malformed("an object of gpsd has no class")
    return found


def tpv(found: dict[str, Any]) -> Tpv:
    """A TPV object. Raises `Malformed`."""
    mode, device, status = found.get("mode"), found.get("device"), found.get("status", 1)
    if mode not in _MODES or isinstance(mode, bool):
        raise Malformed("a TPV has no mode")
    return Tpv(
        mode=int(mode),
        device=device if isinstance(device, str) else None,
        at=_time(found.get("time")),
        latitude=_number(found.get("lat"), 90),
        longitude=_number(found.get("lon"), 180),
        altitude=_number(found.get("altMSL", found.get("alt")), 10**6),
        speed=_number(found.get("speed"), 10**5),
        track=_number(found.get("track"), 360),
        accuracy=_number(found.get("eph"), 10**7),
        status=STATUS.get(status, "unknown") if isinstance(status, int) else "unknown",
    )


def _no_number(text: str) -> Any:  # noqa: ANN401 - json's hook
    raise ValueError(f"{text} is no number")


def _number(value: Any, most: int) -> Decimal | None:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    found = Decimal(value)
    if not -most <= found <= most:
        return None
    # Written out, 1e-999999 would be a million digits.
    return found if int(found.as_tuple().exponent) >= -_DIGITS else found.quantize(Decimal(1).scaleb(-_DIGITS))


def _time(value: Any) -> datetime | None:  # noqa: ANN401
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    second, micros = int(found[2]), int((found[3] or "0").ljust(6, "0")[:6])
    if second == _LEAP:
        second, micros = _LEAP - 1, 999_999
    try:
        return datetime.fromisoformat(f"{found[1]}{second:02}").replace(microsecond=micros, tzinfo=UTC)
    except ValueError:
        return None
