"""What is heard of one message: its reads, or why it holds none."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from firmware_specs.formats.countries import alpha2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivers.alpr.message import Message
    from drivers.alpr.read import Read

__all__ = ["VEHICLES", "Heard", "epoch", "moment", "place", "plate_type", "words"]

VEHICLES: Final = {
    "bus": "Bus",
    "car": "Car",
    "truck": "Truck",
    "bicycle": "Bicycle",
    "motorcycle": "Motorcycle",
    "sedan": "Car",
    "suv": "Car",
    "suvmpv": "Car",
    "big truck": "Truck",
}
"""What makers call vehicles, as far as that was seen in public; every other word stays the maker's own."""

_TYPES: Final = {"normal": "Normal", "police": "Police", "diplomat": "Diplomat", "temporary": "Temporary"}
_REGION: Final = re.compile(r"([A-Za-z]{2})(?:-([A-Za-z0-9]{1,3}))?")
_MILLISECONDS: Final = 10**12
_NOTHING: Final = frozenset({"", "-", "unknown", "unknow", "none", "null", "n/a"})


@dataclass(frozen=True, slots=True)
class Heard:
    """One message: reads with what is kept of the message for each; or why there is none."""

    reads: tuple[tuple[Read, Message], ...] = ()
    ignored: str | None = None
    """`heartbeat`, or the maker's word for another event."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of channels that it tells."""
    occupants: int = 0
    """Pictures and fields about people that were left out: the camera is set up wrongly."""


def words(value: object) -> str | None:
    """What a device says in words; None where that says nothing."""
    text = "" if value is None or isinstance(value, (dict, list, bool)) else str(value).strip()
    return None if text.lower() in _NOTHING else text[:256]


def place(code: object) -> tuple[str | None, str | None, str | None]:
    """(country, issuer, region) of a code such as `ca-on`, `us-ma` or `gb`."""
    found = _REGION.fullmatch(code.strip()) if isinstance(code, str) else None
    country = alpha2(found[1]) if found else None
    issuer = found[2].upper() if found and found[2] else None
    return country, issuer, f"{country}-{issuer}" if country and issuer else None


def plate_type(word: object) -> str | None:
    """One of ONVIF's four."""
    return _TYPES.get(word.strip().lower()) if isinstance(word, str) else None


def moment(text: object) -> tuple[datetime | None, str | None]:
    """(the moment, None) of an ISO 8601 time with an offset; (None, its digits) of one without."""
    if not isinstance(text, str):
        return None, None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None, None
    if found.utcoffset() is None:
        digits = "milliseconds" if found.microsecond else "seconds"
        return None, found.isoformat(timespec=digits)
    try:
        return found.astimezone(UTC), None
    except OverflowError:
        return None, None


def epoch(value: float | None) -> tuple[datetime | None, bool]:
    """(the moment, whether it was told in milliseconds) of a number since 1970; 10^12 and more are milliseconds."""
    if value is None or not 0 < value < 10**16:
        return None, False
    fine = value >= _MILLISECONDS
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(**{"milliseconds" if fine else "seconds": value}), fine
    except OverflowError:
        return None, fine
