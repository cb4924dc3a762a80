"""Axis License Plate Verifier: the push over HTTP, JSON alone or with one picture in a multipart body.

Known:        the maker's field list (protocol 1.6) and one real camera's JSON. Numbers are strings; `imageFile` and
              `imagesURI` name plates in their paths; the picture may be absent or empty.
Not verified: whether the camera keeps and repeats a push that failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from firmware_specs import SpecError
from firmware_specs.formats import json_spans, multipart

__all__ = ["EXAMPLE", "Event", "event"]

EXAMPLE: Final = (50.418114, 30.476213)
"""The position of the maker's documentation, which a real camera sends as its own."""
PICTURE_MAX: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """One message about one vehicle."""

    told: dict[str, Any]
    picture: tuple[int, int, int] | None = None
    """(number of its part, start, end) in the body."""
    picture_name: str = ""
    empty_picture: bool = False
    too_large: tuple[int, int] | None = None
    closed: bool = True

    def said(self, name: str) -> str:
        """A member as text; empty where it is none."""
        value = self.told.get(name)
        return str(value).strip() if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def event(body: bytes, content_type: str) -> Event:
    """Read one. Raises `SpecError`."""
    boundary = None if body[:64].lstrip()[:1] == b"{" else multipart.boundary_of(content_type, body)
    if boundary is None:
        return Event(_told(body))
    found = multipart.parse(body, boundary)
    number = next((at for at, part in enumerate(found.parts) if part.name == "event"), None)
    if number is None:
        number = next((at for at, part in enumerate(found.parts) if body[part.start : part.start + 1] == b"{"), None)
    if number is None:
        raise SpecError("no part of the message is an event")
    told = _told(found.parts[number].content(body))
    for at, part in enumerate(found.parts):
        if at == number:
            continue
        if part.start == part.end:
            return Event(told, empty_picture=True, closed=found.closed)
        if part.end - part.start > PICTURE_MAX:
            return Event(told, too_large=(part.start, part.end), closed=found.closed)
        return Event(told, (at, part.start, part.end), part.filename or part.name, closed=found.closed)
    return Event(told, closed=found.closed)


def _told(data: bytes) -> dict[str, Any]:
    told = json_spans.loads(data)
    if (
        not isinstance(told, dict)
        or not {"carID", "carState", "plateUTF8", "plateUnicode", "packetCounter"} & told.keys()
    ):
        raise SpecError("the event is none of License Plate Verifier")
    return told
