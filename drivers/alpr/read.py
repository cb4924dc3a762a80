"""The canonical read: one plate seen once by one camera, modelled on ONVIF's `tt:LicensePlateInfo`.

What a device says stays its word: nothing is corrected, what it does not say is None, and what it says in words of its
own stands beside (`*_raw`, `told`). Times are the device's claims; what the station's clock said stands in the journal.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Box",
    "Candidate",
    "Fact",
    "Image",
    "Motion",
    "Plate",
    "Position",
    "Read",
    "Vehicle",
    "moment_text",
    "normalise",
    "number",
    "share",
]

FORMAT: Final = "alpr-read/1"

Fact: TypeAlias = "str | int | float | bool | list[Fact] | dict[str, Fact] | None"
"""JSON with fractions: a read is content, and no entry of the journal."""

Box: TypeAlias = "Mapping[str, Fact]"
"""Where something lies in the picture: `x y w h`, or `left top right bottom`, or `x1 y1 x2 y2`, and its `unit`:
`pixel`, `normalised` (-1 to 1, y upwards), `1/8192` or `unstated`."""

_SHORTEST, _LONGEST = 2, 12
_NOT_ALNUM: Final = re.compile(r"[^0-9A-Z]")


def normalise(text: str) -> str:
    """Unicode NFKC, upper case, letters A to Z and digits alone: what plates are compared by."""
    return _NOT_ALNUM.sub("", unicodedata.normalize("NFKC", text).upper())


def moment_text(at: datetime) -> str:
    """A moment as RFC 3339 in UTC, with as many digits of a second as it has: none, three or six."""
    at = at.astimezone(UTC).replace(tzinfo=None)
    digits = "microseconds" if at.microsecond % 1000 else "milliseconds" if at.microsecond else "seconds"
    return at.isoformat(timespec=digits) + "Z"


def number(value: object) -> float | None:
    """A number that a device sent as a number or as text; None for what is none, NaN and infinity included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def share(value: object, whole: float = 1.0) -> float | None:
    """How sure a device is, as 0 to 1 of its own `whole`; None where it says nothing that can be true."""
    found = number(value)
    return None if found is None or not 0 <= found <= whole else round(found / whole, 6)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Another reading of the same plate."""

    number: str
    likelihood: float | None = None


@dataclass(frozen=True, slots=True)
class Plate:
    """`tt:LicensePlateInfo`, and what makers tell beyond it."""

    number: str
    """As sent, without outer blanks."""
    likelihood: float | None = None
    char_likelihood: tuple[float, ...] = ()
    """For each character of the number as sent; empty where the device does not tell."""
    type: str | None = None
    """`Normal`, `Police`, `Diplomat` or `Temporary`."""
    country: str | None = None
    """ISO 3166-1 alpha-2."""
    issuer: str | None = None
    """State or province as sent, in upper case."""
    region: str | None = None
    """ISO 3166-2, such as `CA-ON`."""
    region_likelihood: float | None = None
    color: str | None = None
    box: Box | None = None
    candidates: tuple[Candidate, ...] = ()
    """Best first."""

    @property
    def normalized(self) -> str:
        """See `normalise`."""
        return normalise(self.number)


@dataclass(frozen=True, slots=True)
class Vehicle:
    """`tt:VehicleInfo`."""

    type: str | None = None
    """`Bus`, `Car`, `Truck`, `Bicycle` or `Motorcycle`."""
    type_raw: str | None = None
    brand: str | None = None
    brand_raw: str | None = None
    """A maker's number for a brand, where it is no word."""
    model: str | None = None
    color: str | None = None
    year: str | None = None
    likelihood: float | None = None
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Motion:
    """How it moved past the camera."""

    heading_deg: float | None = None
    """0 to 360 from north, where the device says that it is one."""
    direction_raw: str | None = None
    speed_mps: float | None = None
    """Metres a second: only where the device states a unit."""
    speed_raw: str | None = None
    lane: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where the camera was."""

    lat: float
    lon: float
    basis: str
    """What that rests on."""


@dataclass(frozen=True, slots=True)
class Image:
    """One picture. Its digest is computed when a capture is made of it, and never for a read that is forgotten."""

    role: str
    """`plate`, `vehicle`, `overview` or `frame`."""
    content: bytes = field(repr=False)
    name: str | None = None
    """As the device calls it."""
    part: int | None = None
    """Where in the message it lies, as the number of its part; None where it was decoded out of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One plate, once, by one camera. A plate of None is a vehicle without one that could be read."""

    vendor: str
    """`openalpr`, `hikvision`, `axis`, `platerecognizer`, `onvif`, `dahua`, `frigate` or `generic`."""
    device: str
    """What the message says that its device is: a claim. Whose message it is, the camera's table and secret say."""
    key: tuple[str, ...]
    """What makes it the same read again. It may contain the plate: never logged, never in a capture's key."""
    channel: str | None = None
    event: str | None = None
    """The maker's id of the message."""
    phase: str = "single"
    """`single`; `new`, `update`, `lost`, `final` (Axis); `frame`, `preview` (OpenALPR); `update` (Frigate)."""
    replayed: bool = False
    """The device says that it is late, or sent again."""
    captured_at: datetime | None = None
    """Aware. None where the device tells no zone, or none that can be trusted."""
    captured_local: str | None = None
    """The device's digits without a zone."""
    captured_from: str = ""
    """Which members of the message the time came from."""
    plate: Plate | None = None
    vehicle: Vehicle | None = None
    motion: Motion = field(default_factory=Motion)
    position: Position | None = None
    images: tuple[Image, ...] = ()
    images_announced: int | None = None
    vendor_list: str | None = None
    """What the device's own list said; information, and never a hit of ours."""
    vendor_hit: str | None = None
    roi: str | None = None
    device_seconds: float | None = None
    """A device's seconds whose basis is not known."""
    flags: tuple[str, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The device's own record of it, under its own names, as parsed; the bytes are in the message."""

    @property
    def matchable(self) -> bool:
        """There is a plate of 2 to 12 characters."""
        return self.plate is not None and _SHORTEST <= len(self.plate.normalized) <= _LONGEST

    def flagged(self, *flags: str) -> Read:
        """The same, with more flags."""
        return replace(self, flags=(*self.flags, *(flag for flag in flags if flag not in self.flags)))

    @property
    def facts(self) -> dict[str, Fact]:
        """As JSON: every member of `alpr-read/1`, None where nothing is known. Pictures are told by the container."""
        return {
            "format": FORMAT,
            "vendor": self.vendor,
            "device": self.device,
            "channel": self.channel,
            "event": self.event,
            "key": list(self.key),
            "phase": self.phase,
            "replayed": self.replayed,
            "captured_at": None if self.captured_at is None else moment_text(self.captured_at),
            "captured_local": self.captured_local,
            "captured_from": self.captured_from,
            "plate": None if self.plate is None else _plate(self.plate),
            "vehicle": None if self.vehicle is None else _named(self.vehicle),
            "motion": _named(self.motion),
            "position": None if self.position is None else _named(self.position),
            "images_announced": self.images_announced,
            "vendor_list": self.vendor_list,
            "vendor_hit": self.vendor_hit,
            "roi": self.roi,
            "device_seconds": self.device_seconds,
            "matchable": self.matchable,
            "flags": list(self.flags),
        }


def _plate(plate: Plate) -> dict[str, Fact]:
    return {
        **_named(plate),
        "normalized": plate.normalized,
        "char_likelihood": list(plate.char_likelihood) or None,
        "candidates": [{"number": one.number, "likelihood": one.likelihood} for one in plate.candidates],
    }


def _named(value: Plate | Vehicle | Motion | Position) -> dict[str, Fact]:
    """The fields by name; boxes as plain dictionaries."""
    found: dict[str, Fact] = {}
    for name in type(value).__slots__:
        one = getattr(value, name)
        found[name] = dict(one) if name == "box" and one is not None else one
    return found
