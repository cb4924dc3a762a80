"""Hikvision number plate cameras over ISAPI: the event that is pushed, with pictures, and the list of plates.

Known:        a real camera's XML (2024), the shape of its multipart from public logs, the list of plates from a public
              emulator of the camera. Parts lie about their types, come in any order, may be empty, and may hold people.
Not verified: the unit of `plateRect` (it reads like thousandths of the picture); the digits after the seconds in
              `captureTime` and `picName`; whether and when a firmware sends an event again.
Occupants:    pictures and fields about driver and passengers are told apart here, so that nobody has to keep them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from firmware_specs import SpecError
from firmware_specs.formats import json_spans, multipart, plain_xml

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Event", "Picture", "Span", "Stored", "TooMany", "event", "poll", "stored"]

EVENT_MAX: Final = 1 << 20
PICTURE_MAX: Final = 8 << 20
STORED_MAX: Final = 10_000

_ROLES: Final = (
    (("pilot", "driver", "passenger", "face", "seat"), "occupant"),
    (("licenseplate", "plate"), "plate"),
    (("vehicle",), "vehicle"),
    (("detection", "background", "scene", "image"), "overview"),
)
_PEOPLE: Final = re.compile(
    r"(?i)(?:vice|co)?pilot.*|driver.*|passenger.*|uphone|smoking|smoke|helmet|frontchild|facerect.*|(?:main|slave)seat.*"
)
"""Elements about who sits in the vehicle."""
_PICTURE: Final = re.compile(r"(?i)\.(jpe?g|png|bmp)$|picture|^image")
_NUMBER: Final = re.compile(r"\d{1,40}", re.ASCII)


class TooMany(SpecError):
    """A list that is longer than is read."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the body that is about occupants."""

    start: int
    end: int
    what: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture part."""

    role: str
    """`plate`, `vehicle` or `overview`."""
    name: str
    part: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Event:
    """One `EventNotificationAlert`."""

    type: str
    """`eventType` as sent."""
    active: bool
    told: dict[str, Any]
    """Its elements by local name; repeated ones are a list."""
    pictures: tuple[Picture, ...] = ()
    empty_pictures: int = 0
    too_large: tuple[Span, ...] = ()
    """Picture parts that are longer than is kept."""
    occupant_parts: tuple[Span, ...] = ()
    occupant_fields: tuple[Span, ...] = ()
    closed: bool = True
    """Its last delimiter was there."""

    def said(self, *paths: str) -> str:
        """The first of these paths that says something; empty where none does."""
        return next((text for path in paths if (text := _said(self.told, path))), "")


def event(body: bytes, content_type: str) -> Event:
    """Read a pushed message: multipart, or the event alone. Raises `SpecError`."""
    boundary = multipart.boundary_of(content_type, body)
    if boundary is None:
        told, people = _described(body, 0)
        return _event(told, occupant_fields=people)
    found = multipart.parse(body, boundary)
    described, number = None, -1
    for at, part in enumerate(found.parts):
        content = part.content(body)
        if content[:256].lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"<", b"{") and len(content) <= EVENT_MAX:
            described, number = _described(content, part.start), at
            break
    if described is None:
        raise SpecError("no part of the message is an event")
    told, people = described
    kinds: dict[str, list[Any]] = {"pictures": [], "too_large": [], "occupant_parts": []}
    empty = 0
    for at, part in enumerate(found.parts):
        if at == number:
            continue
        name = part.filename or part.name
        role = _role(name, part.name, told)
        end = found.parts[at + 1].begins if at + 1 < len(found.parts) else part.end
        if role == "occupant":
            kinds["occupant_parts"].append(Span(part.begins, end, f"occupant picture {_plain(part.name or name)}"))
        elif part.start == part.end:
            empty += bool(_PICTURE.search(name) or part.content_type.startswith("image/"))
        elif part.end - part.start > PICTURE_MAX:
            kinds["too_large"].append(Span(part.start, part.end, "picture over the limit"))
        else:
            kinds["pictures"].append(Picture(role or "overview", name, at, part.start, part.end))
    return _event(
        told,
        **{kind: tuple(spans) for kind, spans in kinds.items()},
        empty_pictures=empty,
        occupant_fields=people,
        closed=found.closed,
    )


def _event(told: dict[str, Any], **more: Any) -> Event:  # noqa: ANN401 - fields of the dataclass
    kind = _said(told, "eventType")
    if not kind and "ANPR" in told:
        kind = "ANPR"
    if not kind:
        raise SpecError("an event without a type")
    return Event(kind[:64], _said(told, "eventState").lower() != "inactive", told, **more)


def _described(data: bytes, offset: int) -> tuple[dict[str, Any], tuple[Span, ...]]:
    """(what an event says, where in the body it speaks of occupants)."""
    if data.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"{":
        told = json_spans.loads(data)
        told = told.get("EventNotificationAlert", told) if isinstance(told, dict) else None
        if not isinstance(told, dict):
            raise SpecError("an event is no object")
        people = tuple(
            Span(offset + start, offset + end, f"occupant field {_plain(path[-1])}")
            for path, start, end in json_spans.values(data)
            if path and isinstance(path[-1], str) and _PEOPLE.fullmatch(path[-1])
        )
        return _cleaned(told), _outermost(people)
    root = plain_xml.parse(data)
    people = tuple(
        Span(offset + one.start, offset + one.end, f"occupant field {_plain(one.name)}")
        for one in root.walk()
        if _PEOPLE.fullmatch(one.name) and (one.text or one.children)
    )
    return _cleaned(_tree(root)), _outermost(people)


def _tree(element: plain_xml.Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for child in element.children:
        value: Any = _tree(child) if child.children else child.text
        if child.name not in found:
            found[child.name] = value
        elif isinstance(found[child.name], list):
            found[child.name].append(value)
        else:
            found[child.name] = [found[child.name], value]
    return found


def _cleaned(told: Any) -> Any:  # noqa: ANN401 - JSON
    """Without what is about occupants."""
    if isinstance(told, dict):
        return {key: _cleaned(value) for key, value in told.items() if not _PEOPLE.fullmatch(key)}
    return [_cleaned(one) for one in told] if isinstance(told, list) else told


def _outermost(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    kept: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return tuple(kept)


def _said(told: Any, path: str) -> str:  # noqa: ANN401 - JSON
    for name in path.split("/"):
        if isinstance(told, list):
            told = told[0] if told else None
        told = told.get(name) if isinstance(told, dict) else None
    if isinstance(told, bool):
        return "true" if told else "false"
    return str(told).strip() if isinstance(told, (str, int, float)) else ""


def infos(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each `pictureInfo` of an event; one is not a list."""
    listed = told.get("ANPR", {})
    listed = listed.get("pictureInfoList") if isinstance(listed, dict) else None
    found = listed.get("pictureInfo") if isinstance(listed, dict) else listed
    yield from (one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict))


def _role(name: str, field_name: str, told: dict[str, Any]) -> str | None:
    """By what the part is called, and where it is called by an id, by what the event says of that."""
    for info in infos(told):
        identity = _said(info, "pId")
        if (identity and identity in name) or (name and name == _said(info, "fileName")):
            return _role_of(_said(info, "type") or _said(info, "fileName"))
    return _role_of(field_name) or _role_of(name)


def _role_of(word: str) -> str | None:
    lower = word.lower()
    return next((role for parts, role in _ROLES if any(part in lower for part in parts)), None)


def _plain(name: object) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", str(name))[:40]


# -- the list of plates that a camera keeps ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stored:
    """One `Plate` of the list. `pic_name` is text: it has more digits than most programs can count."""

    pic_name: str
    told: dict[str, Any] = field(repr=False)
    start: int = 0
    end: int = 0
    """Where it lies in the answer."""

    def said(self, name: str) -> str:
        """What it says under a name."""
        return _said(self.told, name)


def poll(after: str) -> bytes:
    """The question for what is newer than a `picName`."""
    if not _NUMBER.fullmatch(after):
        raise SpecError("a picTime has digits alone")
    return b"<AfterTime><picTime>" + after.encode() + b"</picTime></AfterTime>"


def stored(body: bytes) -> list[Stored]:
    """The plates of an answer, oldest first; entries without a number are left out. Raises `SpecError`, `TooMany`."""
    text = body.lstrip(b"\xef\xbb\xbf \r\n\t")
    found: list[Stored] = []
    if text[:1] == b"{":
        told = json_spans.loads(body, once=frozenset({"Plates", "Plate"}))
        told = told.get("Plates", told) if isinstance(told, dict) else None
        listed = told.get("Plate", []) if isinstance(told, dict) else []
        spans = {path[-1]: (start, end) for path, start, end in json_spans.values(body) if "Plate" in path[-2:]}
        for at, one in enumerate(listed if isinstance(listed, list) else [listed]):
            if isinstance(one, dict):
                found.append(Stored(_said(one, "picName"), one, *spans.get(at, spans.get("Plate", (0, 0)))))
    else:
        root = plain_xml.parse(body)
        if root.name != "Plates":
            raise SpecError("the answer is no list of plates")
        found = [
            Stored(one.said("picName"), _tree(one), one.start, one.end) for one in root.children if one.name == "Plate"
        ]
    if len(found) > STORED_MAX:
        raise TooMany(f"a list of more than {STORED_MAX} plates")
    return sorted((one for one in found if _NUMBER.fullmatch(one.pic_name)), key=lambda one: int(one.pic_name))
