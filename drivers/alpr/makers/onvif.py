"""ONVIF Profile M: the event of a recognised plate, and plates in metadata, as canonical reads."""

from __future__ import annotations

import binascii
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from drivers.alpr.makers.heard import Heard, plate_type
from drivers.alpr.message import Message
from drivers.alpr.read import Image, Motion, Plate, Read, Vehicle, moment_text, number, share
from firmware_specs.formats.countries import alpha2
from firmware_specs.formats.onvif_json import Event, Frame, event, frames, frames_of_xml, inner, sure, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drivers.alpr.read import Box

__all__ = ["heard", "metadata", "metadata_xml"]

_PICTURE_MAX: Final = 8 << 20
_VEHICLES: Final = frozenset({"Bus", "Car", "Truck", "Bicycle", "Motorcycle"})
_SIDES: Final = ("left", "top", "right", "bottom")


def heard(payload: bytes, content_type: str, device: str) -> Heard:
    """What an `onvif-ej` message says; `device`: its topic's prefix. Raises `SpecError`."""
    if not payload.strip():
        return Heard(ignored="empty payload")
    told = event(payload)
    if "LicensePlateInfo" not in told.data and "Likelihood" not in told.data:
        return Heard(ignored="another event")
    return Heard(((_read(told, device), Message(payload, content_type or "application/json", way="mqtt")),))


def _read(told: Event, device: str) -> Read:
    data, at = told.data, _utc(told.utc)
    plate = _plate(inner(data, "LicensePlateInfo"))
    channel, rule = text(told.source.get("VideoSource")), text(told.source.get("Rule"))
    when = told.utc if at is None else moment_text(at)
    identity = text(data.get("ObjectId")) or text(data.get("ObjectID")) or text(inner(data, "ObjectId", "ObjectID"))
    last = plate.normalized if plate is not None else identity or ""
    return Read(
        vendor="onvif",
        device=device,
        key=("onvif", device, channel or "", rule or "", when, last),
        channel=channel,
        captured_at=at,
        captured_from="UtcTime",
        plate=plate,
        vehicle=_vehicle(inner(data, "VehicleInfo")),
        motion=Motion(speed_mps=_speed(text(data.get("Speed"))), direction_raw=text(data.get("Direction"))),
        images=tuple(_images(data)),
        vendor_list=text(data.get("Label")),
        flags=(*(() if plate else ("no_plate",)), *(() if at else ("zone_unknown",))),
        told=data,
    )


def _plate(info: dict[str, Any], box: Box | None = None) -> Plate | None:
    found = text(info.get("PlateNumber"))
    if found is None:
        return None
    country, issuer = alpha2(text(info.get("CountryCode"))), (text(info.get("IssuingEntity")) or "").upper() or None
    short = issuer is not None and len(issuer) <= 3 and issuer.isalnum()  # noqa: PLR2004 - ISO 3166-2
    return Plate(
        number=found[:64],
        likelihood=share(sure(info.get("PlateNumber"))),
        type=plate_type(text(info.get("PlateType"))),
        country=country,
        issuer=issuer,
        region=f"{country}-{issuer}" if country and short else None,
        region_likelihood=share(sure(info.get("IssuingEntity"))),
        color=text(info.get("Color")),
        box=box,
    )


def _vehicle(info: dict[str, Any]) -> Vehicle | None:
    if not info:
        return None
    raw = text(info.get("Type"))
    return Vehicle(
        type=raw if raw in _VEHICLES else None,
        type_raw=raw,
        brand=text(info.get("Brand")),
        model=text(info.get("Model")),
        color=text(info.get("Color")),
        likelihood=share(sure(info.get("Type"))),
    )


def _images(data: dict[str, Any]) -> Iterator[Image]:
    for role, name in (("plate", "Image"), ("vehicle", "VehicleImage")):
        encoded = text(data.get(name))
        if encoded is None or len(encoded) > _PICTURE_MAX * 4 // 3 + 4:
            continue
        try:
            content = binascii.a2b_base64(encoded.encode("ascii"))
        except (ValueError, UnicodeError):
            continue
        if content:
            yield Image(role, content, name)


def _speed(said: str | None) -> float | None:
    found = number(said)
    return found if found is not None and 0 <= found < 1000 else None  # noqa: PLR2004 - metres a second


def _utc(said: str) -> datetime | None:
    """UTC by definition, with or without its letter."""
    try:
        found = datetime.fromisoformat(said)
        return found.replace(tzinfo=UTC) if found.utcoffset() is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# -- metadata ----------------------------------------------------------------------------------------------------------


def metadata(payload: bytes, content_type: str, device: str, profile: str) -> Heard:
    """What an `onvif-mj` message says of plates. Raises `SpecError`."""
    message = Message(payload, content_type or "application/json", way="mqtt")
    return Heard(tuple((read, message) for read in _framed(frames(payload), device, profile, "Frame.@UtcTime")))


def metadata_xml(data: bytes, device: str, profile: str) -> Heard:
    """The same of a document of the RTSP metadata stream."""
    message = Message(data, "application/xml")
    return Heard(tuple((read, message) for read in _framed(frames_of_xml(data), device, profile, "Frame/@UtcTime")))


def _framed(listed: list[Frame], device: str, profile: str, source: str) -> Iterator[Read]:
    for frame in listed:
        at = _utc(frame.utc)
        when = frame.utc if at is None else moment_text(at)
        for one in frame.objects:
            look = inner(one, "Appearance")
            plate = _plate(inner(look, "LicensePlateInfo"), _box(inner(inner(look, "Shape"), "BoundingBox")))
            if plate is None:
                continue
            yield Read(
                vendor="onvif",
                device=device,
                key=("onvif", device, profile, frame.source, when, text(one.get("@ObjectId")) or ""),
                channel=profile,
                phase="frame",
                captured_at=at,
                captured_from=source,
                plate=plate,
                flags=() if at else ("zone_unknown",),
                told=one,
            )


def _box(told: dict[str, Any]) -> Box | None:
    sides = [number(told.get(f"@{side}")) for side in _SIDES]
    return None if None in sides else {**dict(zip(_SIDES, sides, strict=True)), "unit": "normalised"}
