"""ONVIF events and metadata as JSON: `onvif-ej` and `onvif-mj` of Profile M, and the XML of RTSP brought to it.

Known:        the rules by which XML becomes JSON (ONVIF Core, annex on JSON): attributes as `@name`, characters as
              `#text` where there are attributes, repeated elements as a list, quotes of numbers left out at will. The
              content of an element item stands under the item's name, or once more under its own. `UtcTime` is UTC with
              or without Z.
Not verified: on a recorded message of a real camera; none may be passed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from firmware_specs import SpecError
from firmware_specs.formats import json_spans, plain_xml

__all__ = ["Event", "Frame", "event", "frames", "frames_of_xml", "inner", "sure", "text"]

FRAMES_MAX: Final = 1000
OBJECTS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    utc: str
    source: dict[str, Any]
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture's objects."""

    utc: str
    source: str
    objects: tuple[dict[str, Any], ...]


def event(payload: bytes) -> Event:
    """Read `onvif-ej`. Raises `SpecError`."""
    told = json_spans.loads(payload)
    data = told.get("Data") if isinstance(told, dict) else None
    source = told.get("Source") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(data, dict):
        raise SpecError("the event has no data")
    return Event(text(told.get("UtcTime")) or "", source if isinstance(source, dict) else {}, data)


def frames(payload: bytes) -> list[Frame]:
    """Read `onvif-mj`. Raises `SpecError`."""
    told = json_spans.loads(payload)
    if isinstance(told, dict) and isinstance(told.get("VideoAnalytics"), dict):
        told = told["VideoAnalytics"]
    return _frames(told)


def frames_of_xml(data: bytes) -> list[Frame]:
    """Read a `MetadataStream`. Raises `SpecError`."""
    root = plain_xml.parse(data)
    found = root.child("VideoAnalytics") if root.name == "MetadataStream" else None
    if found is None:
        raise SpecError("the document is no metadata stream")
    return _frames(_json(found))


def _frames(told: Any) -> list[Frame]:  # noqa: ANN401 - JSON
    listed = _list(told.get("Frame")) if isinstance(told, dict) else []
    if len(listed) > FRAMES_MAX:
        raise SpecError(f"more than {FRAMES_MAX} frames")
    found = []
    for one in listed:
        if not isinstance(one, dict):
            raise SpecError("a frame is no object")
        objects = _list(one.get("Object"))
        if len(objects) > OBJECTS_MAX or not all(isinstance(thing, dict) for thing in objects):
            raise SpecError("objects of a frame that are none, or too many")
        found.append(Frame(text(one.get("@UtcTime")) or "", text(one.get("@Source")) or "", tuple(objects)))
    return found


def _json(element: plain_xml.Element) -> Any:  # noqa: ANN401 - JSON
    told: dict[str, Any] = {f"@{name}": value for name, value in element.attributes.items()}
    if not element.children:
        if not told:
            return element.text or None
        return {**told, "#text": element.text} if element.text else told
    for child in element.children:
        value = _json(child)
        if child.name not in told:
            told[child.name] = value
        elif isinstance(told[child.name], list):
            told[child.name].append(value)
        else:
            told[child.name] = [told[child.name], value]
    return told


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - JSON
    return value if isinstance(value, list) else [] if value is None else [value]


def inner(told: dict[str, Any], *names: str) -> dict[str, Any]:
    """The element of an item by the first of these names that is there, unwrapped where it stands under itself."""
    for name in names:
        value = told.get(name)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            again = value.get(name)
            return again if isinstance(again, dict) and len(value) == 1 else value
    return {}


def text(value: Any) -> str | None:  # noqa: ANN401 - JSON
    """The characters of an element or attribute; None where it has none."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):
        value = value.get("#text")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return str(value).strip() or None


def sure(value: Any) -> Any:  # noqa: ANN401 - JSON
    """The attribute `Likelihood` of an element; 1 where the element is there and does not tell."""
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return None
    return value.get("@Likelihood", 1) if isinstance(value, dict) else 1
