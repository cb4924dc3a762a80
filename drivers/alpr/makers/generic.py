"""Whatever the operator's mapping says: messages of makers that let the operator write the template."""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from drivers.alpr.makers.heard import VEHICLES, Heard, place, words
from drivers.alpr.makers.mapping import Mapping, Picture, captured
from drivers.alpr.message import Message, Removed
from drivers.alpr.read import Candidate, Image, Motion, Plate, Position, Read, Vehicle, moment_text, number, share
from firmware_specs import SpecError
from firmware_specs.formats import templated
from firmware_specs.formats.countries import alpha2

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["heard"]

_METRES: Final = {"mps": 1.0, "kmh": 1 / 3.6, "mph": 0.44704}
_READS_MAX: Final = 200
_PICTURE_MAX: Final = 8 << 20
_CANDIDATES_MAX: Final = 50


@dataclass(slots=True)
class _Looking:
    """One entry of one message, looked at through a mapping."""

    mapping: Mapping
    document: templated.Document
    entry: templated.Entry | None = None
    flags: list[str] = field(default_factory=list)

    def value(self, path: str | None) -> Any:  # noqa: ANN401 - whatever stands there
        if path is None:
            return None
        if path.startswith("."):
            return None if self.entry is None else templated.look(self.entry.value, path[1:])
        return self.document.look(path, self.entry)

    def said(self, path: str | None) -> str | None:
        value = self.value(path)
        return words(str(value) if isinstance(value, float) else value)


def heard(mapping: Mapping, body: bytes, content_type: str, camera: str) -> Heard:
    """What a message says by this mapping. Raises `SpecError`."""
    document = templated.read(body, content_type, mapping.encoding, mapping.part, mapping.each)
    if mapping.each is None:
        looking = _Looking(mapping, document)
        if looking.said(mapping.plate) is None and looking.value(mapping.heartbeat) is not None:
            return Heard(ignored="heartbeat")
        read, message = _read(looking, camera, 0), _message(looking, body, content_type)
        return _without_people(mapping, document, ((read, message),))
    entries = document.entries(mapping.each)
    if len(entries) > _READS_MAX:
        raise SpecError("more reads in one message than are taken")
    spans = document.spans(mapping.each) if len(entries) > 1 else ()
    if len(entries) > 1 and len(spans) != len(entries):
        raise SpecError("reads that cannot be told apart in the message: map such a device to one read a message")
    reads = []
    for index, entry in enumerate(entries):
        looking = _Looking(mapping, document, entry)
        others = (Removed(*span, "another read") for at, span in enumerate(spans) if at != index)
        reads.append((_read(looking, camera, index), _message(looking, body, content_type).without(*others)))
    return _without_people(mapping, document, tuple(reads))


def _without_people(mapping: Mapping, document: templated.Document, reads: tuple[tuple[Read, Message], ...]) -> Heard:
    """Without what the mapping says is about people, where any of that is there."""
    found = templated.dropped(document, mapping.drop) if mapping.drop else ()
    if not found:
        return Heard(reads)
    pieces = [Removed(start, end, "occupant field") for start, end in found]
    kept = ((read.flagged("occupant_fields_dropped"), message.without(*pieces)) for read, message in reads)
    return Heard(tuple(kept), occupants=len(Message(document.body).without(*pieces).removed))


def _message(looking: _Looking, body: bytes, content_type: str) -> Message:
    named = {one.path for one in looking.mapping.image}
    parts = ((at, start, end) for name, at, start, end in looking.document.files if name in named)
    return Message(body, content_type, pictures=tuple(parts))


def _read(looking: _Looking, camera: str, index: int) -> Read:
    mapping = looking.mapping
    device = looking.said(mapping.device) or camera
    paths = (mapping.captured_at,) if isinstance(mapping.captured_at, str) else mapping.captured_at
    when = captured(mapping, " ".join(filter(None, (looking.said(path) for path in paths))))
    if "captured_at" not in when:
        looking.flags.append("zone_unknown" if when else "time_unknown")
    plate = _plate(looking)
    if plate is None:
        looking.flags.append("no_plate")
    event = looking.said(mapping.event)
    moment = moment_text(when["captured_at"]) if "captured_at" in when else when.get("captured_local", "")
    again = (event,) if event else (moment, "" if plate is None else plate.normalized)
    speed = looking.said(mapping.speed)
    metres = number(speed)
    unit = _METRES.get(mapping.speed_unit or "")
    return Read(
        vendor="generic",
        device=device,
        key=("generic", device, *again, *((str(index),) if index else ())),
        channel=looking.said(mapping.channel),
        event=event,
        **when,
        captured_from=" ".join(path.replace("$.", "").rpartition("/")[2].lstrip(".") for path in paths),
        plate=plate,
        vehicle=_vehicle(looking),
        motion=Motion(
            heading_deg=_within(looking.said(mapping.heading), 0, 360),
            direction_raw=looking.said(mapping.direction),
            speed_mps=round(metres * unit, 3) if metres is not None and unit is not None else None,
            speed_raw=speed,
            lane=looking.said(mapping.lane),
        ),
        position=_position(looking),
        images=tuple(_images(looking)),
        flags=tuple(looking.flags),
        told=looking.document.told,
    )


def _plate(looking: _Looking) -> Plate | None:
    mapping = looking.mapping
    text = looking.said(mapping.plate)
    if text is None or text.lower() in {one.lower() for one in mapping.no_plate}:
        return None
    country, issuer, region = place(looking.said(mapping.region))
    country = alpha2(looking.said(mapping.country)) or country
    issuer = (looking.said(mapping.issuer) or issuer or "").upper() or None
    listed = looking.value(mapping.candidates)
    return Plate(
        number=text,
        likelihood=share(looking.said(mapping.likelihood), mapping.likelihood_scale),
        country=country,
        issuer=issuer,
        region=region or (f"{country}-{issuer}" if country and issuer and len(issuer) <= 3 else None),  # noqa: PLR2004
        color=looking.said(mapping.plate_color),
        candidates=tuple(_candidates(listed, mapping.likelihood_scale)) if isinstance(listed, list) else (),
    )


def _candidates(listed: list[Any], scale: float) -> Iterator[Candidate]:
    for one in listed[:_CANDIDATES_MAX]:
        text = words(one.get("plate") if isinstance(one, dict) else one)
        sure = share(one.get("confidence", one.get("score")), scale) if isinstance(one, dict) else None
        if text is not None:
            yield Candidate(text, sure)


def _vehicle(looking: _Looking) -> Vehicle | None:
    mapping = looking.mapping
    raw, brand = looking.said(mapping.vehicle_type), looking.said(mapping.vehicle_brand)
    model, color = looking.said(mapping.vehicle_model), looking.said(mapping.vehicle_color)
    if not (raw or brand or model or color):
        return None
    return Vehicle(type=VEHICLES.get(raw.lower()) if raw else None, type_raw=raw, brand=brand, model=model, color=color)


def _position(looking: _Looking) -> Position | None:
    lat = _within(looking.said(looking.mapping.lat), -90, 90)
    lon = _within(looking.said(looking.mapping.lon), -180, 180)
    if lat is None or lon is None or lat == lon == 0:
        return None
    return Position(lat, lon, "told by the message; whether it is a fix, it does not say")


def _within(value: object, least: float, most: float) -> float | None:
    found = number(value)
    return found if found is not None and least <= found <= most else None


def _images(looking: _Looking) -> Iterator[Image]:
    mapping, files = looking.mapping, {name: (at, start, end) for name, at, start, end in looking.document.files}
    short = () if mapping.image_b64 is None else (Picture(path=mapping.image_b64),)
    for one in (*short, *mapping.image):
        if one.path in files:
            at, start, end = files[one.path]
            if start < end and end - start <= _PICTURE_MAX:
                yield Image(one.role, looking.document.body[start:end], one.path, at)
            continue
        text = looking.value(one.path)
        content = _decoded(text) if isinstance(text, str) else None
        if content:
            yield Image(one.role, content)


def _decoded(text: str) -> bytes | None:
    _, _, data = text.rpartition("base64,") if text.startswith("data:") else ("", "", text)
    if len(data) > _PICTURE_MAX * 4 // 3 + 4:
        return None
    try:
        return binascii.a2b_base64(data.encode("ascii"))
    except (ValueError, UnicodeError):
        return None
