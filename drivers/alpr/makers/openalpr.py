"""OpenALPR and Rekor Scout: groups, frames, alerts and vehicles as canonical reads."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from drivers.alpr.makers.heard import VEHICLES, Heard, epoch, place, words
from drivers.alpr.message import Message, Removed
from drivers.alpr.read import Candidate, Image, Motion, Plate, Position, Read, Vehicle, number, share
from firmware_specs.formats.openalpr import Told, message, picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drivers.alpr.read import Box, Fact

__all__ = ["heard"]

_CANDIDATES_MAX: Final = 50
_SLACK: Final = timedelta(seconds=5)
_BASIS: Final = "configured or gps, not told apart"


def heard(body: bytes, content_type: str, camera: str) -> Heard:
    """What a message says. Raises `SpecError`."""
    told = message(body)
    if not told.reads:
        return Heard(ignored=told.kind, names=_names(told.told) if told.kind == "heartbeat" else {})
    whole = Message(body, content_type)
    if told.kind == "alpr_results":
        return Heard(tuple(_frames(told, whole, camera)))
    group = told.told
    if told.kind == "alpr_alert":
        group = {**told.told["group"], "data_type": "alpr_alert"}
        for name in ("agent_uid", "camera_id"):
            group.setdefault(name, told.told.get(name))
    return Heard(((_group(group, told, camera), whole),))


def _names(told: dict[str, Any]) -> dict[str, str]:
    streams = told.get("video_streams")
    found = [one for one in streams if isinstance(one, dict)] if isinstance(streams, list) else []
    named = ((words(one.get("camera_id")), words(one.get("camera_name"))) for one in found[:256])
    return {identity: name for identity, name in named if identity and name}


# -- a vehicle that passed ---------------------------------------------------------------------------------------------


def _group(group: dict[str, Any], told: Told, camera: str) -> Read:
    device = words(group.get("agent_uid")) or camera
    channel, event = words(group.get("camera_id")), words(group.get("best_uuid"))
    at, source, flags = _passed(group)
    told_best = group.get("best_plate")
    best: dict[str, Any] = told_best if isinstance(told_best, dict) else {}
    plate = _best(group, best)
    if plate is None:
        flags.append("no_plate")
    again = (told.kind, device, channel or "", event or "", str(group.get("epoch_start") or ""))
    return Read(
        vendor="openalpr",
        device=device,
        key=("openalpr", again[0], *again[1:]),
        channel=channel,
        event=event,
        phase="preview" if group.get("is_preview") is True else "single",
        captured_at=at,
        captured_from=source,
        plate=plate,
        vehicle=_vehicle(group),
        motion=Motion(heading_deg=_heading(group.get("travel_direction")), direction_raw=_direction(group)),
        position=_position(group),
        images=tuple(_images(group, best)),
        vendor_list=words(told.told.get("alert_list")) if told.kind == "alpr_alert" else None,
        vendor_hit=words(told.told.get("list_type")) if told.kind == "alpr_alert" else None,
        flags=tuple(flags),
        told=told.told,
    )


def _passed(group: dict[str, Any]) -> tuple[datetime | None, str, list[str]]:
    """(when, by which member, flags): the best picture's time where it lies in the passage, else its beginning."""
    began, ended = (epoch(number(group.get(name)))[0] for name in ("epoch_start", "epoch_end"))
    best = epoch(number(group.get("best_uuid_epoch_ms")))[0]
    if best is not None and (began is None or began - _SLACK <= best <= (ended or began) + _SLACK):
        return best, "best_uuid_epoch_ms", []
    if best is not None and began is not None:
        why = "epoch_start, because best_uuid_epoch_ms lies outside epoch_start..epoch_end"
        return began, why, ["time_inconsistent"]
    return began, "epoch_start", [] if began else ["zone_unknown"]


def _best(group: dict[str, Any], best: dict[str, Any]) -> Plate | None:
    text = words(group.get("best_plate_number")) or words(best.get("plate"))
    if text is None:
        return None
    country, issuer, region = place(group.get("best_region"))
    return Plate(
        number=text,
        likelihood=share(group.get("best_confidence"), 100),
        country=country,
        issuer=issuer,
        region=region,
        region_likelihood=share(group.get("best_region_confidence"), 100) if country else None,
        box=_box(best.get("coordinates"), group.get("best_image_width"), group.get("best_image_height")),
        candidates=_candidates(group.get("candidates") or best.get("candidates")),
    )


def _images(group: dict[str, Any], best: dict[str, Any]) -> Iterator[Image]:
    for role, holder, name in (
        ("plate", best, "plate_crop_jpeg"),
        ("vehicle", group, "vehicle_crop_jpeg"),
        ("overview", group, "overview_jpeg"),
    ):
        content = picture(holder, name)
        if content is not None:
            yield Image(role, content, name)


def _vehicle(group: dict[str, Any]) -> Vehicle | None:
    told = group.get("vehicle")
    if not isinstance(told, dict):
        return None

    def first(name: str) -> str | None:
        listed = told.get(name)
        found = listed[0] if isinstance(listed, list) and listed else None
        return words(found.get("name")) if isinstance(found, dict) else None

    raw = first("body_type")
    kind = VEHICLES.get(raw.lower()) or VEHICLES.get(raw.lower().partition("-")[0]) if raw else None
    return Vehicle(
        type=kind,
        type_raw=raw,
        brand=first("make"),
        model=first("make_model"),
        color=first("color"),
        year=first("year"),
    )


def _position(group: dict[str, Any]) -> Position | None:
    lat, lon = number(group.get("gps_latitude")), number(group.get("gps_longitude"))
    if lat is None or lon is None or not (abs(lat) <= 90 and abs(lon) <= 180) or lat == lon == 0:  # noqa: PLR2004
        return None
    return Position(lat, lon, _BASIS)


def _heading(value: object) -> float | None:
    found = number(value)
    return found if found is not None and 0 <= found <= 360 else None  # noqa: PLR2004 - degrees


def _direction(group: dict[str, Any]) -> str | None:
    found = words(group.get("direction_of_travel_id"))
    return None if found == "-1" else found


# -- frames ------------------------------------------------------------------------------------------------------------


def _frames(told: Told, whole: Message, camera: str) -> Iterator[tuple[Read, Message]]:
    said = told.told
    device = words(said.get("agent_uid")) or words(said.get("site_id")) or camera
    at, fine = epoch(number(said.get("epoch_time")))
    uuid, channel = words(said.get("uuid")), words(said.get("camera_id"))
    for index, result in enumerate(said["results"]):
        others = (Removed(*span, "another read") for at_, span in enumerate(told.results) if at_ != index)
        country, issuer, region = place(result.get("region"))
        text = words(result.get("plate"))
        plate = text and Plate(
            number=text,
            likelihood=share(result.get("confidence"), 100),
            country=country,
            issuer=issuer,
            region=region,
            region_likelihood=share(result.get("region_confidence"), 100) if country else None,
            box=_box(result.get("coordinates"), said.get("img_width"), said.get("img_height")),
            candidates=_candidates(result.get("candidates")),
        )
        crop = picture(result, "plate_crop_jpeg")
        yield (
            Read(
                vendor="openalpr",
                device=device,
                key=("openalpr", "alpr_results", device, channel or "", uuid or "", _index(result, index)),
                channel=channel,
                event=uuid,
                phase="frame",
                captured_at=at,
                captured_from="epoch_time (ms)" if fine else "epoch_time (10 digits: seconds)",
                plate=plate or None,
                images=() if crop is None else (Image("plate", crop, "plate_crop_jpeg"),),
                flags=() if plate else ("no_plate",),
                told=result,
            ),
            whole.without(*others),
        )


def _index(result: dict[str, Any], index: int) -> str:
    found = result.get("plate_index")
    return str(found if isinstance(found, int) and not isinstance(found, bool) else index)


def _candidates(listed: object) -> tuple[Candidate, ...]:
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    named = ((words(one.get("plate")), share(one.get("confidence"), 100)) for one in found[:_CANDIDATES_MAX])
    return tuple(Candidate(text, likelihood) for text, likelihood in named if text)


def _box(corners: object, width: object, height: object) -> Box | None:
    """The rectangle around the corners."""
    found = [one for one in corners if isinstance(one, dict)] if isinstance(corners, list) else []
    xs = [number(one.get("x")) for one in found[:16]]
    ys = [number(one.get("y")) for one in found[:16]]
    across, along = [one for one in xs if one is not None], [one for one in ys if one is not None]
    if not across or not along:
        return None
    x, y = min(across), min(along)
    sides: dict[str, Fact] = {"x": x, "y": y, "w": max(across) - x, "h": max(along) - y, "unit": "pixel"}
    frame: list[Fact] = [number(width), number(height)]
    return sides if None in frame else {**sides, "frame": frame}
