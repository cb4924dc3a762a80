"""The members of an `enote/1` entry: which ones each act has, and what may stand in them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

__all__ = ["OPS", "TEXTS", "problems"]

OPS: Final = ("create", "append", "correct", "attach", "finalize", "supplement", "review", "void_page")
TEXTS: Final = frozenset({"create", "append", "correct", "supplement"})
"""Acts that bring text."""

_PROBLEMS: Final = 8
"""Most problems of one entry that are told."""
_ATTACHMENTS: Final = 1000
_OPS_MAX: Final = 1000
_SAFE: Final = (1 << 53) - 1
_UTC_MS: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_OFFSET: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


def _time(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError("is no time of RFC 3339 in the form that is asked for")
    datetime.fromisoformat(text)  # a 30th of February
    return text


def _recorded(text: str) -> str:
    return _time(_UTC_MS, text)


def _occurred(text: str) -> str:
    return _time(_OFFSET, text)


Count = Annotated[int, Field(ge=1, le=_SAFE)]
Length = Annotated[int, Field(ge=0, le=_SAFE)]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[int, Field(ge=-_SAFE, le=_SAFE)] | float
Urn = Annotated[str, Field(pattern=r"^(?i:urn):[A-Za-z0-9][A-Za-z0-9-]{0,31}:\S{1,400}$")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class Author(_Part):
    """Who acts."""

    badge: Annotated[str, Field(min_length=1, max_length=64)]
    name: Annotated[str, Field(max_length=256)] | None = None


class Tablet(_Part):
    """What it was written on, by its own word."""

    id: Annotated[str, Field(min_length=1, max_length=128)]
    app: Annotated[str, Field(max_length=128)]
    app_version: Annotated[str, Field(max_length=64)]


class Clock(_Part):
    """How well the tablet's clock was kept: offset = tablet - reference."""

    source: Literal["network", "gnss", "manual", "unknown"]
    offset_ms: Number | None
    uncertainty_ms: Number | None


class Point(_Part):
    """RFC 7946: longitude, latitude, perhaps a height."""

    type: Literal["Point"]
    coordinates: Annotated[list[Number], Field(min_length=2, max_length=3)]

    @model_validator(mode="after")
    def _on_earth(self) -> Point:
        if not (-180 <= self.coordinates[0] <= 180 and -90 <= self.coordinates[1] <= 90):  # noqa: PLR2004
            raise ValueError("is no place on earth")
        return self


class Strike(_Part):
    """A half-open range of Unicode code points of the superseded text, and what stands in its place."""

    op: Literal["strike"]
    at: Annotated[list[Length], Field(min_length=2, max_length=2)]
    with_: Annotated[str, Field(alias="with")]


class Attachment(_Part):
    """A file that travels by itself."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    media_type: Annotated[str, Field(min_length=1, max_length=255)]
    length: Length
    sha256: Hex
    blake3: Hex


class _Entry(_Part):
    typ: Literal["enote-entry"]
    v: Annotated[int, Field(ge=1, le=1)]
    notebook: Annotated[str, Field(pattern=r"^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
    seq: Count
    prev: Annotated[str, Field(pattern=r"^sha-256:[0-9a-f]{64}$")] | None
    note: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
    rev: Count
    author: Author
    occurred_at: Annotated[str, AfterValidator(_occurred)] | None
    recorded_at: Annotated[str, AfterValidator(_recorded)]
    device: Tablet
    clock: Clock
    incident: Urn | Annotated[list[Urn], Field(min_length=1, max_length=100)] | None = None
    location: Point | None = None
    accuracy_m: Number | None = None
    late: Literal[True] | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _together(self) -> _Entry:
        if (self.seq == 1) != (self.prev is None):
            raise ValueError("prev is null at seq 1, and nowhere else")
        if self.late and not self.reason:
            raise ValueError("a late entry needs a reason")
        if self.accuracy_m is not None and self.location is None:
            raise ValueError("accuracy_m goes with a location")
        return self


class Create(_Entry):
    """The first text of a note."""

    op: Literal["create"]
    kind: Annotated[str, Field(max_length=64)]
    text: str


class Append(_Entry):
    """More text, right behind the text that there is."""

    op: Literal["append"]
    text: str


class Correct(_Entry):
    """Strike and replace."""

    op: Literal["correct"]
    text: str
    reason: Annotated[str, Field(min_length=1)]
    supersedes: Count
    ops: Annotated[list[Strike], Field(max_length=_OPS_MAX)]


class Attach(_Entry):
    """Files by digest."""

    op: Literal["attach"]
    attachments: Annotated[list[Attachment], Field(min_length=1, max_length=_ATTACHMENTS)]


class Finalize(_Entry):
    """Locks the text."""

    op: Literal["finalize"]
    text_sha256: Hex


class Supplement(_Entry):
    """A later addition to what is final."""

    op: Literal["supplement"]
    text: str
    supplements: Count


class Review(_Entry):
    """A supervisor's word."""

    op: Literal["review"]
    verdict: Literal["approved", "returned"]
    comment: str | None = None


class VoidPage(_Entry):
    """Opened by mistake; its content stays readable."""

    op: Literal["void_page"]
    reason: Annotated[str, Field(min_length=1)]


_ANY: Final[TypeAdapter[Any]] = TypeAdapter(
    Annotated[Create | Append | Correct | Attach | Finalize | Supplement | Review | VoidPage, Field(discriminator="op")]
)


def problems(entry: dict[str, Any]) -> tuple[str, ...]:
    """What is wrong with an entry, in a few words each; none where it keeps the rules. Unknown members are allowed."""
    try:
        _ANY.validate_python(entry)
    except ValidationError as error:
        told = error.errors(include_url=False, include_context=False, include_input=False)
        return tuple(_said(one["loc"], one["msg"]) for one in told[:_PROBLEMS])
    return ()


def _said(where: tuple[int | str, ...], what: str) -> str:
    place = ".".join(str(part) for part in where if part not in OPS)
    return f"{place}: {what}"[:200] if place else what[:200]
