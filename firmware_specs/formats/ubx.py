"""UBX, the binary protocol of u-blox receivers: frames with their check sum, and the messages of time and place.

Known:        frame, check sum and layouts from the u-blox 8 / M8 receiver description (UBX-13003221); logs of five
              receivers, of which pyubx2 and gpsd read the same.
Not verified: messages that only generations 9 and 10 have.

`B5 62` also occurs inside payloads: after a frame whose check sum is wrong the search goes on two bytes later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from construct import (
    Array,
    BitStruct,
    Bytes,
    Const,
    ConstructError,
    Flag,
    GreedyRange,
    Int8ul,
    Int16sl,
    Int16ul,
    Int32sl,
    Int32ul,
    Padding,
    Struct,
)

from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from construct import Construct

__all__ = ["LENGTH_MAX", "SYNC", "Fix", "Frame", "build", "check_sum", "fix", "frame", "old_fix", "version"]

SYNC: Final = b"\xb5\x62"
LENGTH_MAX: Final = 1024
"""Bytes of one payload that is waited for. The field could say 65,535, and noise does; what is read is far shorter, and
of a longer message the search goes on inside it, where check sums keep it from finding what is not there."""

NAV_PVT: Final = (0x01, 0x07)
NAV_SOL: Final = (0x01, 0x06)
MON_VER: Final = (0x0A, 0x04)
ACK: Final = (0x05, 0x01)

_HEADER: Final = 6
_AROUND: Final = 8
"""Bytes of a frame beside its payload."""

PVT: Final = Struct(
    "itow" / Int32ul,  # milliseconds of the week
    "year" / Int16ul,
    "month" / Int8ul,
    "day" / Int8ul,
    "hour" / Int8ul,
    "minute" / Int8ul,
    "second" / Int8ul,
    "valid" / BitStruct(Padding(5), "resolved" / Flag, "time" / Flag, "date" / Flag),
    "time_accuracy" / Int32ul,  # nanoseconds
    "nano" / Int32sl,  # -10^9 to 10^9: the moment is the whole second plus this, which may be negative
    "fix_type" / Int8ul,
    "flags" / BitStruct("carrier" / Array(2, Flag), Padding(4), "differential" / Flag, "ok" / Flag),
    "flags2" / Int8ul,
    "satellites" / Int8ul,
    "longitude" / Int32sl,  # 10^-7 degrees
    "latitude" / Int32sl,
    "height" / Int32sl,  # millimetres above the ellipsoid
    "altitude" / Int32sl,  # millimetres above mean sea level
    "horizontal" / Int32ul,  # millimetres: accuracy as the receiver estimates it
    "vertical" / Int32ul,
    "north" / Int32sl,  # millimetres a second
    "east" / Int32sl,
    "down" / Int32sl,
    "speed" / Int32sl,
    "heading" / Int32sl,  # 10^-5 degrees
    "speed_accuracy" / Int32ul,
    "heading_accuracy" / Int32ul,
    "pdop" / Int16ul,
    "flags3" / Bytes(6),
    "heading_of_vehicle" / Int32sl,
    "declination" / Int16sl,
    "declination_accuracy" / Int16ul,
)
"""NAV-PVT, 92 bytes. Older receivers send 84, without the last three fields."""

POSLLH: Final = Struct(
    "itow" / Int32ul,
    "longitude" / Int32sl,
    "latitude" / Int32sl,
    "height" / Int32sl,
    "altitude" / Int32sl,
    "horizontal" / Int32ul,
    "vertical" / Int32ul,
)
"""NAV-POSLLH, 28 bytes: place without time, of receivers that have no NAV-PVT."""

SOL: Final = Struct(
    "itow" / Int32ul,
    "ftow" / Int32sl,  # nanoseconds
    "week" / Int16sl,
    "fix_type" / Int8ul,
    "flags" / BitStruct(Padding(4), "tow" / Flag, "week" / Flag, "differential" / Flag, "ok" / Flag),
    "ecef" / Array(3, Int32sl),
    "position_accuracy" / Int32ul,
    "ecef_velocity" / Array(3, Int32sl),
    "speed_accuracy" / Int32ul,
    "pdop" / Int16ul,
    Padding(1),
    "satellites" / Int8ul,
    Padding(4),
)
"""NAV-SOL, 52 bytes: the place of receivers that have no NAV-PVT yet, as metres from the earth's centre."""

VER: Final = Struct("software" / Bytes(30), "hardware" / Bytes(10), "extensions" / GreedyRange(Bytes(30)))
"""MON-VER."""

HEADER: Final = Struct("sync" / Const(SYNC), "kind" / Int8ul, "id" / Int8ul, "length" / Int16ul)

_HIGHEST: Final = 100_000.0
"""Metres from the ellipsoid beyond which no car is: a receiver that says so has no fix."""
_SHORT_PVT: Final = 84
_DIMENSIONS: Final = {2: 2, 3: 3, 4: 3}
"""Of what `fix_type` says: 2 two dimensions, 3 three, 4 with dead reckoning. The others are no fix."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message whose check sum is right."""

    kind: tuple[int, int]
    """(class, id)"""
    payload: bytes


@dataclass(frozen=True, slots=True)
class Fix:
    """What NAV-PVT says, in SI units and degrees; what must not be used is None."""

    at: datetime | None
    """None unless date and time are valid and the second is fully resolved."""
    dimensions: int
    """0 where the receiver does not stand by the place."""
    latitude: Decimal
    longitude: Decimal
    altitude: Decimal | None
    accuracy: Decimal
    speed: Decimal
    heading: Decimal | None
    satellites: int
    pdop: Decimal
    status: str


def check_sum(data: bytes) -> bytes:
    """8-bit Fletcher over class, id, length and payload."""
    first = second = 0
    for byte in data:
        first = (first + byte) & 0xFF
        second = (second + first) & 0xFF
    return bytes((first, second))


def build(kind: tuple[int, int], payload: bytes = b"") -> bytes:
    """A whole frame."""
    body: bytes = HEADER.build({"kind": kind[0], "id": kind[1], "length": len(payload)}) + payload
    return body + check_sum(body[2:])


def frame(data: bytes) -> tuple[Frame, int] | None:
    """The frame that begins here and its length; None where more bytes must come. Raises `Malformed`."""
    if not data.startswith(SYNC[: len(data)]):
        raise Malformed("no frame begins here")
    if len(data) < _HEADER:
        return None
    told = HEADER.parse(data[:_HEADER])
    if told.length > LENGTH_MAX:
        raise Malformed(f"a payload of {told.length} bytes is not waited for")
    end = _AROUND + told.length
    if len(data) < end:
        return None
    if check_sum(data[2 : end - 2]) != data[end - 2 : end]:
        raise Malformed(f"the check sum of message {told.kind:02x} {told.id:02x} is wrong")
    return Frame((told.kind, told.id), data[_HEADER : end - 2]), end


def fix(payload: bytes) -> Fix:
    """NAV-PVT. Raises `Malformed`."""
    raw = _parsed(PVT, payload + bytes(8) if len(payload) == _SHORT_PVT else payload)
    return Fix(
        at=_moment(raw),
        dimensions=_DIMENSIONS.get(raw.fix_type, 0) if raw.flags.ok and _on_earth(raw) else 0,
        latitude=Decimal(raw.latitude).scaleb(-7),
        longitude=Decimal(raw.longitude).scaleb(-7),
        altitude=Decimal(raw.altitude).scaleb(-3),
        accuracy=Decimal(raw.horizontal).scaleb(-3),
        speed=Decimal(raw.speed).scaleb(-3),
        heading=Decimal(raw.heading).scaleb(-5),
        satellites=raw.satellites,
        pdop=Decimal(raw.pdop).scaleb(-2),
        status=_status(raw),
    )


def version(payload: bytes) -> tuple[str, str, tuple[str, ...]]:
    """MON-VER: software, hardware, extensions. Raises `Malformed`."""
    raw = _parsed(VER, payload)
    return _text(raw.software), _text(raw.hardware), tuple(map(_text, raw.extensions[:64]))


def old_fix(payload: bytes) -> Fix:
    """NAV-SOL. It tells its time in weeks and without leap seconds: no time is taken from it. Raises `Malformed`."""
    raw = _parsed(SOL, payload)
    latitude, longitude, height = _geodetic(*(metres / 100 for metres in raw.ecef))
    velocity = math.hypot(*raw.ecef_velocity) / 100
    return Fix(
        at=None,
        dimensions=_DIMENSIONS.get(raw.fix_type, 0) if raw.flags.ok and abs(height) < _HIGHEST else 0,
        latitude=Decimal(f"{latitude:.7f}"),
        longitude=Decimal(f"{longitude:.7f}"),
        altitude=None,  # above the ellipsoid, which is not what people mean
        accuracy=Decimal(raw.position_accuracy).scaleb(-2),
        speed=Decimal(f"{velocity:.2f}"),
        heading=None,
        satellites=raw.satellites,
        pdop=Decimal(raw.pdop).scaleb(-2),
        status="differential" if raw.flags.differential else "gnss",
    )


def _geodetic(x: float, y: float, z: float) -> tuple[float, float, float]:
    """Degrees and metres on the ellipsoid of WGS 84, by the method of Bowring: exact to a millimetre near ground."""
    axis, flattening = 6378137.0, 1 / 298.257223563
    minor, squared = axis * (1 - flattening), flattening * (2 - flattening)
    distance = math.hypot(x, y)
    angle = math.atan2(z * axis, distance * minor)
    latitude = math.atan2(
        z + squared / (1 - squared) * minor * math.sin(angle) ** 3, distance - squared * axis * math.cos(angle) ** 3
    )
    normal = axis / math.sqrt(1 - squared * math.sin(latitude) ** 2)
    height = distance * math.cos(latitude) + z * math.sin(latitude) - axis * axis / normal
    return math.degrees(latitude), math.degrees(math.atan2(y, x)), height


def _parsed(layout: Construct[Any, Any], payload: bytes) -> Any:  # noqa: ANN401
    try:
        return layout.parse(payload)
    except ConstructError as error:
        raise Malformed(f"{len(payload)} bytes are too few for this message") from error


def _moment(raw: Any) -> datetime | None:  # noqa: ANN401
    if not (raw.valid.date and raw.valid.time and raw.valid.resolved and abs(raw.nano) <= 10**9):
        return None
    second, leap = (59, timedelta(microseconds=999_999)) if raw.second == 60 else (raw.second, None)  # noqa: PLR2004
    try:
        whole = datetime(raw.year, raw.month, raw.day, raw.hour, raw.minute, second, tzinfo=UTC)
        return whole + (leap or timedelta(microseconds=raw.nano // 1000))
    except (ValueError, OverflowError):
        return None


def _on_earth(raw: Any) -> bool:  # noqa: ANN401
    return bool(abs(raw.latitude) <= 90 * 10**7 and abs(raw.longitude) <= 180 * 10**7)


def _status(raw: Any) -> str:  # noqa: ANN401
    if raw.fix_type == 4:  # noqa: PLR2004 - the table of the receiver description
        return "dead_reckoning_gnss"
    if raw.fix_type == 1:
        return "dead_reckoning"
    if raw.flags.carrier[0]:
        return "rtk"
    if raw.flags.carrier[1]:
        return "rtk_float"
    return "differential" if raw.flags.differential else "gnss"


def _text(raw: bytes) -> str:
    return "".join(one for one in raw.split(b"\0")[0].decode("ascii", "replace") if one.isprintable()).strip()
