"""Axis License Plate Verifier: messages about one vehicle, and the read that they come to when it has left."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from drivers.alpr.makers.heard import Heard, epoch, words
from drivers.alpr.message import Message, Removed
from drivers.alpr.read import Candidate, Image, Motion, Plate, Position, Read, number, share
from firmware_specs.formats.axis_lpv import EXAMPLE, Event, event
from firmware_specs.formats.countries import alpha2

if TYPE_CHECKING:
    from datetime import datetime

    from drivers.alpr.read import Box

__all__ = ["Passages", "heard"]

_PHASES: Final = {"new": "new", "update": "update", "updated": "update", "lost": "lost"}
_PASSAGES_MAX: Final = 1000
_SILENT: Final = 30.0
"""Seconds without a word after which a vehicle has left."""
_FOLLOWED_MAX: Final = 64
_LATE: Final = 16
"""Numbers by which a message may be behind: as many as are under way at once."""


def heard(body: bytes, content_type: str, camera: str) -> Heard:
    """What a push says. Raises `SpecError`."""
    told = event(body, content_type)
    pictures = () if told.picture is None else (told.picture,)
    message = Message(body, content_type, pictures=pictures)
    if told.too_large is not None:
        message = message.without(Removed(*told.too_large, "picture over the limit"))
    return Heard(((_read(told, body, camera), message),))


def _read(told: Event, body: bytes, camera: str) -> Read:
    about = told.told.get("camera_info")
    serial = words(about.get("SerialNumber")) if isinstance(about, dict) else None
    device = serial or camera
    at, _ = epoch(number(told.said("capture_timestamp")))
    text = words(told.said("plateUTF8")) or words(told.said("plateUnicode")) or words(told.said("plateText"))
    flags: list[str] = [] if text else ["no_plate"]
    position = _position(told, flags)
    images: tuple[Image, ...] = ()
    if told.picture is not None:
        part, start, end = told.picture
        role = {"vehicle": "vehicle", "mmrcrop": "vehicle", "frame": "frame"}.get(told.said("imageType"), "plate")
        images = (Image(role, body[start:end], told.picture_name or None, part),)
    if told.empty_picture:
        flags.append("empty_picture_part")
    if told.too_large is not None:
        flags.append("picture_over_limit")
    if told.said("plateImageSize") == "0" and not images:
        flags.append("image_announced_zero_length")
    if not told.closed:
        flags.append("not_closed")
    return Read(
        vendor="axis",
        device=device,
        key=("axis", device, told.said("carID")),
        event=told.said("packetCounter") or None,
        phase=_PHASES.get(told.said("carState"), "single"),
        captured_at=at,
        captured_from="capture_timestamp (ms since the epoch)",
        plate=None
        if text is None
        else Plate(
            number=text,
            likelihood=share(told.said("plateConfidence")),
            country=alpha2(told.said("plateCountry")),
            box=_box(told.told.get("plateCoordinates")),
        ),
        motion=Motion(direction_raw=told.said("carMoveDirection") or None),
        position=position,
        images=images,
        roi=told.said("roiID") or None,
        flags=tuple(flags),
        told=told.told,
    )


def _position(told: Event, flags: list[str]) -> Position | None:
    tag = told.told.get("geotag")
    lat, lon = (number(tag.get(side)) for side in ("lat", "lon")) if isinstance(tag, dict) else (None, None)
    if lat is None or lon is None or not (abs(lat) <= 90 and abs(lon) <= 180) or lat == lon == 0:  # noqa: PLR2004
        return None
    if (lat, lon) == EXAMPLE:
        flags.insert(0, "geotag_is_the_documented_example")
        return None
    return Position(lat, lon, "configured or gps, not told apart")


def _box(sides: object) -> Box | None:
    found = [number(side) for side in sides[:4]] if isinstance(sides, list) else []
    if len(found) != 4 or None in found:  # noqa: PLR2004 - left, top, width, height
        return None
    return {**dict(zip("xywh", found, strict=True)), "unit": "pixel"}


# -- one vehicle over several messages ---------------------------------------------------------------------------------


@dataclass(slots=True)
class _Passage:
    first_at: datetime | None
    last_mono: float
    best: Plate | None = None
    plates: list[str] = field(default_factory=list)
    messages: int = 0


class Passages:
    """The vehicles before one camera right now, in memory alone.

    Each message is a read of its own, for an early hit matters; the last one, `lost`, tells what all of them came to. A
    number of the counter that did not come is a message that was lost on its way.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Passage] = {}
        self._counter: int | None = None
        self._followed: OrderedDict[tuple[str, str, str], tuple[Read, Read]] = OrderedDict()
        """What a message said, and what it came to."""
        self.missing = 0
        """Messages that never came, as far as the camera's counter tells."""

    def follow(self, read: Read, mono: float) -> Read:
        """The same read with what came before; of phase `final` where the vehicle has left. `mono`: our seconds.

        A message that is sent again, because it could not be kept, comes to the same as before.
        """
        message = (read.event or "", read.key[-1], read.phase)
        before = self._followed.get(message)
        if before is not None and before[0] == read:
            return before[1]
        followed = self._follow(read, mono)
        self._followed[message] = read, followed
        while len(self._followed) > _FOLLOWED_MAX:
            self._followed.popitem(last=False)
        return followed

    def _follow(self, read: Read, mono: float) -> Read:
        self._count(read)
        for car in [car for car, one in self._open.items() if mono - one.last_mono > _SILENT]:
            del self._open[car]
        car = read.key[-1]
        passage = self._open.get(car)
        if passage is None:
            while len(self._open) >= _PASSAGES_MAX:
                del self._open[next(iter(self._open))]
            passage = self._open[car] = _Passage(read.captured_at, mono)
        earlier = list(passage.plates)
        self._note(passage, read, mono)
        if read.phase == "lost":
            del self._open[car]
        if read.plate is None or passage.messages == 1:
            return read
        plate = passage.best if read.phase == "lost" and passage.best is not None else read.plate
        candidates = tuple(Candidate(text) for text in (*earlier, read.plate.number) if text != plate.number)
        merged = replace(plate, candidates=tuple(dict.fromkeys(candidates)))
        if read.phase != "lost":
            return replace(read, plate=merged)
        return replace(
            read,
            plate=merged,
            phase="final",
            captured_at=passage.first_at,
            captured_from="capture_timestamp of the first message of this carID",
        )

    def _note(self, passage: _Passage, read: Read, mono: float) -> None:
        passage.messages += 1
        passage.last_mono = mono
        if read.plate is not None:
            if read.plate.number not in passage.plates and len(passage.plates) < 32:  # noqa: PLR2004 - more is noise
                passage.plates.append(read.plate.number)
            if passage.best is None or (read.plate.likelihood or 0) > (passage.best.likelihood or 0):
                passage.best = read.plate

    def _count(self, read: Read) -> None:
        text = read.event or ""
        if not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004 - no counter says more
            return
        now, before = int(text), self._counter
        if before is not None and 0 < before - now <= _LATE:  # overtaken on its way
            self.missing = max(0, self.missing - 1)
            return
        self._counter = now
        if before is not None and before < now:
            self.missing += now - before - 1
        elif before is not None and now < before:  # it was started anew, and its vehicles are numbered anew
            self._open.clear()
            self._followed.clear()
