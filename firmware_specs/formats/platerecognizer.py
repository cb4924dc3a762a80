"""Plate Recognizer Stream: the webhook, as JSON, as a form, or as a multipart form with the uploaded frame.

Known:        the maker's documentation, and an independent sender's request (the samples). Plates come in lower case; a
              message has several results and no id; the part `json` has no type.
Not verified: buffering in Stream; the shape of events other than `recognition`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from firmware_specs import SpecError
from firmware_specs.formats import json_spans, multipart

__all__ = ["RESULTS_MAX", "Hook", "hook"]

RESULTS_MAX: Final = 200
PICTURE_MAX: Final = 8 << 20
_FIELDS_MAX: Final = 64
_ONCE: Final = frozenset({"data", "results"})


@dataclass(frozen=True, slots=True)
class Hook:
    """One message."""

    event: str
    told: dict[str, Any]
    results: tuple[tuple[int, int], ...] = ()
    """Where each of several results lies in the body; empty where that cannot be said (a form escapes its text)."""
    picture: tuple[int, int, int] | None = None
    """(number of its part, start, end) in the body."""
    picture_name: str = ""
    too_large: tuple[int, int] | None = None
    closed: bool = True

    @property
    def data(self) -> dict[str, Any]:
        """The member `data`."""
        found = self.told.get("data")
        return found if isinstance(found, dict) else {}

    @property
    def listed(self) -> list[Any]:
        """The results."""
        found = self.data.get("results")
        return found if isinstance(found, list) else []


def hook(body: bytes, content_type: str) -> Hook:
    """Read one. Raises `SpecError`."""
    if body[:64].lstrip()[:1] == b"{":
        return _hook(body, body, 0)
    boundary = multipart.boundary_of(content_type, body)
    if boundary is None:
        try:
            fields = parse_qsl(body.decode("ascii"), max_num_fields=_FIELDS_MAX)
        except ValueError as error:
            raise SpecError("the message is no JSON and no form") from error
        text = next((value for name, value in fields if name == "json"), None)
        if text is None:
            raise SpecError("a form without the field json")
        return _hook(text.encode("utf-8", "surrogatepass"), None, 0)
    found = multipart.parse(body, boundary)
    document = next((part for part in found.parts if part.name == "json"), None)
    if document is None:
        raise SpecError("a multipart form without the part json")
    more: dict[str, Any] = {"closed": found.closed}
    for at, part in enumerate(found.parts):
        if part is document or part.start == part.end or (part.name != "upload" and not part.filename):
            continue
        if part.end - part.start > PICTURE_MAX:
            more["too_large"] = (part.start, part.end)
        elif "picture" not in more:
            more |= {"picture": (at, part.start, part.end), "picture_name": part.filename or part.name}
    return _hook(document.content(body), body, document.start, **more)


def _hook(document: bytes, body: bytes | None, offset: int, **more: Any) -> Hook:  # noqa: ANN401 - fields of a Hook
    told = json_spans.loads(document, once=_ONCE)
    named = told.get("hook") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(named, dict):
        raise SpecError("the message has no hook")
    event = named.get("event")
    made = Hook(event[:64] if isinstance(event, str) else "recognition", told, **more)
    if len(made.listed) > RESULTS_MAX or not all(isinstance(one, dict) for one in made.listed):
        raise SpecError(f"results that are none, or more than {RESULTS_MAX}")
    if len(made.listed) < 2 or body is None:  # noqa: PLR2004 - nothing to tell apart
        return made
    spans = tuple((offset + start, offset + end) for start, end in json_spans.entries(document, "data", "results"))
    return Hook(made.event, told, spans, **more)
