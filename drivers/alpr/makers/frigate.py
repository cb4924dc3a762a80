"""Frigate's `tracked_object_update` over MQTT: for laboratories. The name that its owner gave a plate is cut out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from drivers.alpr.makers.heard import Heard, words
from drivers.alpr.message import Message, Removed
from drivers.alpr.read import Plate, Read, number, share
from firmware_specs import SpecError
from firmware_specs.formats import json_spans

if TYPE_CHECKING:
    from drivers.alpr.read import Box

__all__ = ["heard"]


def heard(payload: bytes, content_type: str, camera: str) -> Heard:
    """What a message says. Raises `SpecError`."""
    told = json_spans.loads(payload)
    if not isinstance(told, dict):
        raise SpecError("the message is no object")
    if told.get("type") != "lpr":
        return Heard(ignored=words(told.get("type")) or "another event")
    message, flags = Message(payload, content_type or "application/json", way="mqtt"), list[str]()
    if words(told.get("name")) is not None:
        spans = (span[1:] for span in json_spans.values(payload) if span[0] == ("name",))
        message = message.without(*(Removed(*span, "name of a known plate") for span in spans))
        flags.append("known_plate_name_dropped")
    text, event = words(told.get("plate")), words(told.get("id"))
    device = words(told.get("camera")) or camera
    since = number(told.get("timestamp"))
    plate = None if text is None else Plate(text, likelihood=share(told.get("score")), box=_box(told.get("plate_box")))
    read = Read(
        vendor="frigate",
        device=device,
        key=("frigate", device, event or "", "" if plate is None else plate.normalized),
        event=event,
        phase="update",
        captured_at=datetime.fromtimestamp(since, UTC) if since is not None and 0 < since < 10**11 else None,
        captured_from="timestamp (s since the epoch, float)",
        plate=plate,
        flags=(*flags, *(() if plate else ("no_plate",))),
        told={name: value for name, value in told.items() if name != "name"},
    )
    return Heard(((read, message),))


def _box(sides: object) -> Box | None:
    match [number(side) for side in sides[:4]] if isinstance(sides, list) else []:
        case [float() as left, float() as top, float() as right, float() as bottom]:
            return {"x": left, "y": top, "w": right - left, "h": bottom - top, "unit": "pixel"}
    return None
