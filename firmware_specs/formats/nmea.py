"""NMEA 0183 sentences of GNSS receivers: framing with its check sum, and the fields of time, place and quality.

Known:        `$`, talker, type, fields, `*` and two hex digits: the exclusive or of all bytes between `$` and `*`. From
              the documentation of gpsd; logs of seven receivers with what gpsd and pynmea2 read in them.
Not verified: proprietary sentences ($P...), which are passed over.

A sentence without a check sum is not believed: the standard lets it be left out, receivers send it, and noise has none.
Two-digit years: 80 to 99 are 19xx, else 20xx.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from operator import xor
from typing import Final

from firmware_specs.formats.source import Malformed

__all__ = ["LENGTH_MAX", "Gga", "Rmc", "Sentence", "gga", "joined", "nearest", "rmc", "sentence", "zda"]

LENGTH_MAX: Final = 256
"""Bytes of one sentence. The standard says 82; receivers with many decimals send more."""

_FRAME: Final = re.compile(rb"\$(?P<told>(?P<talker>[A-Z]{2})(?P<kind>[A-Z]{3}),[ -)+-~]*)\*(?P<check>[0-9A-Fa-f]{2})")
_NUMBER: Final = re.compile(r"-?\d{1,9}(\.\d{1,12})?")
_ANGLE: Final = re.compile(r"\d{3,5}(\.\d{1,12})?")
_TIME: Final = re.compile(r"(\d\d)(\d\d)(\d\d)(?:\.(\d{1,9}))?")
_PIVOT: Final = 80
_LEAP: Final = 60


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence whose check sum is right."""

    talker: str
    kind: str
    fields: tuple[str, ...]
    """After the type."""

    def field(self, number: int) -> str:
        """One of them, empty where the receiver sent fewer."""
        return self.fields[number] if number < len(self.fields) else ""


@dataclass(frozen=True, slots=True)
class Rmc:
    """Time, date, place, speed and course; what the receiver left empty or wrote wrong is None."""

    time: time | None
    date: date | None
    valid: bool
    """Status A: the receiver stands by it."""
    latitude: Decimal | None
    longitude: Decimal | None
    knots: Decimal | None
    course: Decimal | None


@dataclass(frozen=True, slots=True)
class Gga:
    """Time, place and how good it is."""

    time: time | None
    latitude: Decimal | None
    longitude: Decimal | None
    quality: int
    """0 none, 1 GPS, 2 differential, 4 RTK, 5 RTK float, 6 estimated, 7 by hand, 8 simulated."""
    satellites: int | None
    hdop: Decimal | None
    altitude: Decimal | None
    """Metres above mean sea level."""


def sentence(line: bytes) -> Sentence:
    """A line without its end. Raises `Malformed`."""
    if len(line) > LENGTH_MAX:
        raise Malformed(f"{len(line)} bytes are no sentence")
    found = _FRAME.fullmatch(line)
    if found is None:
        raise Malformed("it is no sentence with a check sum")
    told: bytes = found["told"]
    right = reduce(xor, told)
    if right != int(found["check"], 16):
        raise Malformed(f"the check sum of {told[:5].decode()} is {found['check'].decode()}, and {right:02X} is right")
    return Sentence(found["talker"].decode(), found["kind"].decode(), tuple(told.decode().split(",")[1:]))


def rmc(one: Sentence) -> Rmc:
    """The fields of an RMC."""
    return Rmc(
        time=_time(one.field(0)),
        date=_date(one.field(8)),
        valid=one.field(1) == "A",
        latitude=_degrees(one.field(2), one.field(3), "NS", 90),
        longitude=_degrees(one.field(4), one.field(5), "EW", 180),
        knots=_number(one.field(6)),
        course=_number(one.field(7)),
    )


def gga(one: Sentence) -> Gga:
    """The fields of a GGA."""
    quality, satellites = one.field(5), one.field(6)
    return Gga(
        time=_time(one.field(0)),
        latitude=_degrees(one.field(1), one.field(2), "NS", 90),
        longitude=_degrees(one.field(3), one.field(4), "EW", 180),
        quality=int(quality) if re.fullmatch(r"[0-9]", quality, re.ASCII) else 0,
        satellites=int(satellites) if re.fullmatch(r"[0-9]{1,3}", satellites, re.ASCII) else None,
        hdop=_number(one.field(7)),
        altitude=_number(one.field(8)) if one.field(9) == "M" else None,
    )


def zda(one: Sentence) -> datetime | None:
    """The time of a ZDA, with its year in four digits; None where the receiver does not know it."""
    when, parts = _time(one.field(0)), one.fields[1:4]
    if when is None or len(parts) < 3 or not all(re.fullmatch(r"[0-9]{1,4}", part, re.ASCII) for part in parts):  # noqa: PLR2004
        return None
    day, month, year = map(int, parts)
    try:
        return datetime.combine(date(year, month, day), when, UTC)
    except ValueError:
        return None


def _time(text: str) -> time | None:
    """`hhmmss.sss`. A leap second is the last moment of the second before it: no clock of ours can tell it."""
    found = _TIME.fullmatch(text) if text.isascii() else None
    if found is None:
        return None
    hour, minute, second = int(found[1]), int(found[2]), int(found[3])
    micros = int((found[4] or "0").ljust(6, "0")[:6])
    if second == _LEAP:
        second, micros = _LEAP - 1, 999_999
    try:
        return time(hour, minute, second, micros, UTC)
    except ValueError:
        return None


def _date(text: str) -> date | None:
    if not re.fullmatch(r"[0-9]{6}", text, re.ASCII):
        return None  # such as `2208-1`, seen after the week roll-over of April 2019
    day, month, year = int(text[:2]), int(text[2:4]), int(text[4:])
    try:
        return date(year + (1900 if year >= _PIVOT else 2000), month, day)
    except ValueError:
        return None


def _number(text: str) -> Decimal | None:
    return Decimal(text) if text.isascii() and _NUMBER.fullmatch(text) else None


def _degrees(text: str, side: str, sides: str, most: int) -> Decimal | None:
    """`ddmm.mmmm` and the side of the world, as degrees to nine decimals: a tenth of a millimetre."""
    if not (text.isascii() and _ANGLE.fullmatch(text)) or len(side) != 1 or side not in sides:
        return None
    degrees, minutes = divmod(Decimal(text), 100)
    found = (degrees + minutes / 60).quantize(Decimal("1e-9"))
    if minutes >= 60 or found > most:  # noqa: PLR2004
        return None
    return -found if side in "SW" else found


def joined(day: date, when: time) -> datetime:
    """The moment that date and time of day tell."""
    return datetime.combine(day, when, UTC)


def nearest(when: time, near: datetime) -> datetime:
    """The moment closest to another that has this time of day: for receivers that tell no date."""
    found = datetime.combine(near.date(), when, UTC)
    return min((found + timedelta(days=step) for step in (-1, 0, 1)), key=lambda one: abs(one - near))
