"""Hikvision: the pushed event and the list of plates as canonical reads."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from drivers.alpr.makers.heard import VEHICLES, Heard, moment, plate_type, words
from drivers.alpr.message import Message, Removed
from drivers.alpr.read import Image, Motion, Plate, Read, Vehicle, number, share
from firmware_specs.formats.countries import alpha2
from firmware_specs.formats.hikvision_anpr import Event, Stored, event, infos, stored

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["heard", "listed"]

_PLATES: Final = ("ANPR/licensePlate", "ANPR/originalLicensePlate", "ANPR/plateNumber", "ANPR/plate", "licensePlate")
_NO_PLATE: Final = frozenset({"unknown", "noplate", "no plate", "none", "-"})
_ABS_TIME: Final = re.compile(r"(\d{14})(\d{3})?", re.ASCII)
_CAPTURE_TIME: Final = re.compile(r"(\d{8})T(\d{6})\d*", re.ASCII)
_APART: Final = timedelta(seconds=5)


def heard(body: bytes, content_type: str, camera: str) -> Heard:
    """What a push says. Raises `SpecError`."""
    told = event(body, content_type)
    if told.type.upper() != "ANPR":
        return Heard(ignored=told.type if told.active else "heartbeat")
    removed = [Removed(one.start, one.end, one.what) for one in (*told.occupant_parts, *told.occupant_fields)]
    removed += [Removed(one.start, one.end, one.what) for one in told.too_large]
    pictures = tuple((one.part, one.start, one.end) for one in told.pictures)
    message = Message(body, content_type, pictures=pictures).without(*removed)
    occupants = len(told.occupant_parts) + len(told.occupant_fields)
    return Heard(((_read(told, body, camera), message),), occupants=occupants)


def _read(told: Event, body: bytes, camera: str) -> Read:
    plate, flags = _plate(told), list[str]()
    if plate is None:
        flags.append("no_plate")
    when, more = _captured(told)
    flags += more
    if told.told.get("DeviceGPSInfo"):
        flags.append("gps_without_fix_indicator")  # no position without a word that it is one
    if told.empty_pictures:
        flags.append("empty_picture_part")
    if told.too_large:
        flags.append("picture_over_limit")
    if told.occupant_parts:
        flags.append(f"occupant_parts_dropped:{len(told.occupant_parts)}")
    if told.occupant_fields:
        flags.append("occupant_fields_dropped")
    if not told.closed:
        flags.append("not_closed")
    identity, channel = told.said("UUID"), told.said("channelID", "dynChannelID")
    device = re.sub(r"[^0-9a-f]", "", told.said("macAddress").lower()) or camera
    again = identity or f"{told.said('dateTime')}|{'' if plate is None else plate.number}"
    return Read(
        vendor="hikvision",
        device=device[:64],
        key=("hikvision", device[:64], channel, again),
        channel=channel or None,
        event=identity or None,
        replayed=told.said("isDataRetransmission").lower() in ("true", "1")
        or told.said("ANPR/alarmDataType", "alarmDataType") not in ("", "0"),
        **when,
        plate=plate,
        vehicle=_vehicle(told),
        motion=Motion(
            direction_raw=words(told.said("ANPR/direction")),
            speed_raw=words(told.said("ANPR/vehicleInfo/speed")),
            lane=words(told.said("ANPR/line")),
        ),
        images=tuple(Image(one.role, body[one.start : one.end], one.name, one.part) for one in told.pictures),
        images_announced=_count(told.said("picNum")),
        vendor_list=words(told.said("ANPR/vehicleListName", "ANPR/listType")),
        flags=tuple(flags),
        told=told.told,
    )


def _plate(told: Event) -> Plate | None:
    text = told.said(*_PLATES)
    if not text or text.lower() in _NO_PLATE:
        return None
    believed = [share(one, 100) for one in told.said("ANPR/plateCharBelieve").split(",")]
    abroad = told.said("countryAbbreviation", "ANPR/countryAbbreviation")
    rect = next((info["plateRect"] for info in infos(told.told) if isinstance(info.get("plateRect"), dict)), None)
    sides = [number(rect.get(side)) for side in ("X", "Y", "width", "height")] if rect else []
    box = dict(zip("xywh", (_whole(side) for side in sides), strict=True)) if sides and None not in sides else None
    return Plate(
        number=text[:64],
        likelihood=share(told.said("ANPR/confidenceLevel"), 100),
        char_likelihood=tuple(one for one in believed if one is not None) if None not in believed else (),
        type=plate_type(told.said("ANPR/plateType")),
        country=alpha2(abroad),
        color=words(told.said("ANPR/plateColor")),
        box=None if box is None else {**box, "unit": "unstated"},
    )


def _vehicle(told: Event) -> Vehicle | None:
    raw, logo = told.said("ANPR/vehicleType"), told.said("ANPR/vehicleInfo/vehicleLogoRecog")
    color = words(told.said("ANPR/vehicleInfo/color"))
    if not (raw or color or logo):
        return None
    return Vehicle(
        type=VEHICLES.get(raw.lower()),
        type_raw=raw or None,
        brand_raw=logo if logo not in ("", "0") else None,
        color=color,
    )


def _captured(told: Event) -> tuple[Mapping[str, Any], list[str]]:
    """(the fields of a read that tell its time, flags)."""
    at, local = moment(told.said("dateTime"))
    stamp = next((found for info in infos(told.told) if (found := _abs_time(info.get("absTime")))), None)
    if stamp is None:
        if at is not None:
            digits = told.said("dateTime")[:19]  # as sent, without the offset
            return {"captured_at": at, "captured_local": digits, "captured_from": "dateTime"}, []
        return {"captured_local": local, "captured_from": "dateTime; zone not in the message"}, ["zone_unknown"]
    offset = datetime.fromisoformat(told.said("dateTime")).utcoffset() if at is not None else None
    if at is None or offset is None:
        digits = "milliseconds" if stamp.microsecond else "seconds"
        text = stamp.isoformat(timespec=digits)
        return {"captured_local": text, "captured_from": "absTime; zone not in the message"}, ["zone_unknown"]
    found = (stamp - offset).replace(tzinfo=UTC)
    flags = ["time_inconsistent"] if abs(found - at) > _APART else []
    why = "pictureInfo.absTime with the offset of dateTime"
    return {
        "captured_at": found,
        "captured_local": stamp.isoformat(timespec="milliseconds"),
        "captured_from": why,
    }, flags


def _abs_time(value: object) -> datetime | None:
    found = _ABS_TIME.fullmatch(str(value).strip()) if isinstance(value, (str, int)) else None
    try:
        return datetime.strptime(found[1] + (found[2] or "000"), "%Y%m%d%H%M%S%f") if found else None  # noqa: DTZ007
    except ValueError:
        return None


def _count(text: str) -> int | None:
    found = number(text)
    return int(found) if found is not None and 0 <= found < 10**6 else None


def _whole(side: float | None) -> float | int | None:
    return int(side) if side is not None and side == int(side) else side


# -- the list ----------------------------------------------------------------------------------------------------------


def listed(body: bytes, camera: str, channel: str = "1") -> list[tuple[str, Read, Message]]:
    """(picName, read, message) of each plate that the camera still has, oldest first. Raises `SpecError`."""
    found = stored(body)
    return [(one.pic_name, _polled(one, camera, channel), _alone(body, one, found)) for one in found]


def _alone(body: bytes, one: Stored, all_of_them: list[Stored]) -> Message:
    """What the answer says of this plate: the same bytes in each answer, for the others in it are never the same."""
    if one.end > one.start:
        return Message(body[one.start : one.end], way="poll")
    others = [Removed(other.start, other.end, "another read") for other in all_of_them if other is not one]
    return Message(body, way="poll").without(*others)


def _polled(one: Stored, camera: str, channel: str) -> Read:
    taken = _CAPTURE_TIME.fullmatch(one.said("captureTime"))
    local = None
    if taken:
        try:
            local = datetime.strptime(taken[1] + taken[2], "%Y%m%d%H%M%S").isoformat()  # noqa: DTZ007 - it has none
        except ValueError:
            local = None
    text = one.said("plateNumber")
    plate = None if not text or text.lower() in _NO_PLATE else Plate(text[:64], country=alpha2(one.said("country")))
    return Read(
        vendor="hikvision",
        device=camera,
        key=("hikvision", camera, channel, one.pic_name),
        channel=channel,
        event=one.pic_name,
        captured_local=local,
        captured_from="captureTime, first 14 digits; zone not in the answer",
        plate=plate,
        motion=Motion(direction_raw=words(one.said("direction")), lane=words(one.said("laneNo"))),
        flags=("zone_unknown", "polled", *(() if plate else ("no_plate",))),
        told=one.told,
    )
