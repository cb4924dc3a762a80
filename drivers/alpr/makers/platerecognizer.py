"""Plate Recognizer Stream: each result of a webhook as a canonical read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from drivers.alpr.makers.heard import VEHICLES, Heard, moment, place, words
from drivers.alpr.message import Message, Removed
from drivers.alpr.read import Candidate, Image, Motion, Plate, Read, Vehicle, moment_text, number, share
from firmware_specs.formats.platerecognizer import Hook, hook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drivers.alpr.read import Box

__all__ = ["heard"]

_CANDIDATES_MAX: Final = 50


def heard(body: bytes, content_type: str, camera: str) -> Heard:
    """What a webhook says. Raises `SpecError`."""
    told = hook(body, content_type)
    if told.event != "recognition":
        return Heard(ignored=told.event)
    return Heard(tuple(_reads(told, body, content_type, camera)))


def _reads(told: Hook, body: bytes, content_type: str, camera: str) -> Iterator[tuple[Read, Message]]:
    whole = Message(body, content_type, pictures=() if told.picture is None else (told.picture,))
    if told.too_large is not None:
        whole = whole.without(Removed(*told.too_large, "picture over the limit"))
    for index, result in enumerate(told.listed):
        read = _read(told, result, index, body, camera)
        if len(told.listed) > 1 and not told.results:
            # A form escapes its text: the others cannot be cut out of the bytes, so this one is written anew.
            alone = {**told.told, "data": {**told.data, "results": [result]}}
            text = json.dumps(alone, ensure_ascii=True).encode()
            yield read.flagged("message_rewritten"), Message(text, "application/json")
            continue
        others = (Removed(*span, "another read") for at, span in enumerate(told.results) if at != index)
        yield read, whole.without(*others)


def _read(told: Hook, result: dict[str, Any], index: int, body: bytes, camera: str) -> Read:
    data = told.data
    device = words(data.get("camera_id")) or camera
    at, local = moment(data.get("timestamp"))
    flags = [] if at is not None else ["zone_unknown"]
    text = words(result.get("plate"))
    if text is None:
        flags.append("no_plate")
    if told.too_large is not None:
        flags.append("picture_over_limit")
    if not told.closed:
        flags.append("not_closed")
    images: tuple[Image, ...] = ()
    if told.picture is not None:
        part, start, end = told.picture
        images = (Image("frame", body[start:end], told.picture_name or None, part),)
    direction = result.get("direction")
    heading = number(direction)
    when = moment_text(at) if at is not None else local or ""
    return Read(
        vendor="platerecognizer",
        device=device,
        key=("platerecognizer", device, when, str(index)),
        event=words(told.told["hook"].get("filename")),
        captured_at=at,
        captured_local=local,
        captured_from="data.timestamp",
        plate=None if text is None else _plate(text, result),
        vehicle=_vehicle(result),
        motion=Motion(
            heading_deg=heading if heading is not None and 0 <= heading <= 360 else None,  # noqa: PLR2004 - degrees
            direction_raw=str(direction)[:32] if isinstance(direction, (str, int, float)) else None,
        ),
        images=images,
        flags=tuple(flags),
        told=result,
    )


def _plate(text: str, result: dict[str, Any]) -> Plate:
    told = result.get("region")
    region = told if isinstance(told, dict) else {}
    country, issuer, code = place(region.get("code"))
    listed = result.get("candidates")
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    named = ((words(one.get("plate")), share(one.get("score"))) for one in found[:_CANDIDATES_MAX])
    return Plate(
        number=text,
        likelihood=share(result.get("score")),
        country=country,
        issuer=issuer,
        region=code,
        region_likelihood=share(region.get("score")) if country else None,
        box=_box(result.get("box")),
        candidates=tuple(Candidate(other, score) for other, score in named if other),
    )


def _vehicle(result: dict[str, Any]) -> Vehicle | None:
    about = result.get("vehicle")
    told = about if isinstance(about, dict) else {}
    made, color = _first(result.get("model_make")), _first(result.get("color"))
    raw = words(told.get("type"))
    if not (raw or made or color):
        return None
    return Vehicle(
        type=VEHICLES.get(raw.lower()) if raw else None,
        type_raw=raw,
        brand=words(made.get("make")),
        model=words(made.get("model")),
        color=words(color.get("color")),
        likelihood=share(told.get("score")),
        box=_box(told.get("box")),
    )


def _first(listed: object) -> dict[str, Any]:
    found = listed[0] if isinstance(listed, list) and listed else None
    return found if isinstance(found, dict) else {}


def _box(told: object) -> Box | None:
    sides = [number(told.get(side)) for side in ("xmin", "ymin", "xmax", "ymax")] if isinstance(told, dict) else []
    match sides:
        case [float() as left, float() as top, float() as right, float() as bottom]:
            return {"x": left, "y": top, "w": right - left, "h": bottom - top, "unit": "pixel"}
    return None
