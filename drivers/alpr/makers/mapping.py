"""Where in a message what stands: for makers that let the operator write the message, a table in agent.toml."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from importlib import resources
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from drivers.alpr.makers.heard import epoch
from drivers.alpr.read import number

__all__ = ["Mapping", "Picture", "captured", "known"]

Path = Annotated[str, Field(min_length=1, max_length=200)]
Role = Literal["plate", "vehicle", "overview", "frame"]


class Picture(BaseModel):
    """One picture of the message: Base64 text at a path, or a part of a multipart body by its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    role: Role = "frame"


_NEEDED: Final = {"required": [], "anyOf": [{"required": ["like"]}, {"required": ["encoding", "plate"]}]}
"""What a table must have, for editors that check agent.toml by the schema."""


@cache
def known() -> dict[str, dict[str, Any]]:
    """Mappings of publicly known messages, by name: `mappings.toml` beside this file says where each is known from."""
    text = (resources.files("drivers.alpr.makers") / "mappings.toml").read_text("utf-8")
    found: dict[str, dict[str, Any]] = tomllib.loads(text)["mapping"]
    return found


class Mapping(BaseModel):
    """The `mapping` of a camera. Paths: `$.a.b[0]` in JSON, `Root/Element@attribute` in XML, a field's name else."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=lambda schema: schema.update(_NEEDED))

    like: str | None = None
    """Name of a mapping of `known()` that this one begins with; what stands beside it goes before."""
    encoding: Literal["xml", "json", "form", "multipart", "lines"]
    """`multipart`: each part is a field. `lines`: `name=value` or `name: value`, one a line."""
    part: str | None = None
    """The part of a multipart body that holds the document, where it is one."""
    each: Path | None = None
    """A list in the document of which each entry is a read; paths that begin with `.` are looked up in the entry."""
    plate: Path
    no_plate: tuple[str, ...] = ("unknown", "none", "noplate", "no plate", "-", "n/a")
    """What the device writes where it could read none; letters of either case."""
    captured_at: Path | tuple[Path, ...] = ()
    """One path, or several whose texts are joined by a blank."""
    captured_format: str | None = None
    """As of strptime; default: ISO 8601, or a number of seconds or milliseconds since 1970."""
    captured_zone: str = "unknown"
    """For times without an offset: `UTC`, `America/Toronto`, or `unknown`."""
    device: Path | None = None
    channel: Path | None = None
    event: Path | None = None
    """An id that the device gives to each read."""
    likelihood: Path | None = None
    likelihood_scale: Annotated[float, Field(gt=0)] = 1.0
    country: Path | None = None
    issuer: Path | None = None
    region: Path | None = None
    """A code such as `ca-on`, of which country and issuer are taken too."""
    plate_color: Path | None = None
    candidates: Path | None = None
    """A list of other readings: texts, or objects with `plate` and `confidence`."""
    lat: Path | None = None
    lon: Path | None = None
    heading: Path | None = None
    direction: Path | None = None
    lane: Path | None = None
    speed: Path | None = None
    speed_unit: Literal["mps", "kmh", "mph"] | None = None
    """Without it a speed is kept as the device's word."""
    vehicle_type: Path | None = None
    vehicle_brand: Path | None = None
    vehicle_model: Path | None = None
    vehicle_color: Path | None = None
    image_b64: Path | None = None
    """Short for one picture of the role `frame`."""
    image: tuple[Picture, ...] = ()
    drop: Annotated[tuple[Path, ...], Field(max_length=32)] = ()
    """Facts of people: what stands at these paths, and below them, is cut out of what is kept."""
    heartbeat: Path | None = None
    """A message without a plate in which this path is there is a sign of life."""
    ok_body: Annotated[str, Field(max_length=1000)] = ""
    """What the device expects to read back."""
    ok_status: Literal[200, 201, 202, 204] = 200
    cannot: Literal["503", "close"] = "503"
    """How it is told that nothing could be kept, so that it sends again."""

    @model_validator(mode="before")
    @classmethod
    def _begun(cls, told: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
        if not isinstance(told, dict) or told.get("like") is None:
            return told
        if told["like"] not in known():
            raise ValueError(f"no mapping is named {told['like']}; there are: {', '.join(known())}")
        return {**known()[told["like"]], **told}

    @field_validator("captured_zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        if zone != "unknown":
            try:
                ZoneInfo(zone)
            except (KeyError, ValueError, OSError) as error:
                raise ValueError(f"{zone} is no time zone") from error
        return zone

    @model_validator(mode="after")
    def _drops(self) -> Mapping:
        if self.drop and self.encoding == "form":
            raise ValueError("nothing can be cut out of a form: let the device send JSON, XML or parts")
        return self

    @field_validator("captured_format")
    @classmethod
    def _parses(cls, form: str | None) -> str | None:
        if form is not None:
            try:
                datetime.strptime(datetime(2026, 11, 22, tzinfo=UTC).strftime(form), form)  # noqa: DTZ007 - only tried
            except ValueError as error:
                raise ValueError(f"{form} is no format of a time") from error
        return form


_LATIN: Final = 64


def captured(mapping: Mapping, text: str) -> dict[str, Any]:
    """The fields of a read that tell its time, and in `flags` what is wrong with it."""
    found = _parsed(mapping, text[:_LATIN])
    if found is None:
        return {}
    if found.utcoffset() is None:
        zone: tzinfo | None = None if mapping.captured_zone == "unknown" else ZoneInfo(mapping.captured_zone)
        if zone is None:
            digits = "milliseconds" if found.microsecond else "seconds"
            return {"captured_local": found.isoformat(timespec=digits)}
        found = found.replace(tzinfo=zone)
    try:
        return {"captured_at": found.astimezone(UTC)}
    except OverflowError:
        return {}


def _parsed(mapping: Mapping, text: str) -> datetime | None:
    try:
        if mapping.captured_format is not None:
            return datetime.strptime(text, mapping.captured_format)  # noqa: DTZ007 - its zone is looked at by the caller
        if (since := number(text)) is not None:
            return epoch(since)[0]
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def ambiguous(mapping: Mapping, local: datetime) -> bool:
    """The hour that comes twice when summer time ends, or never when it begins."""
    if mapping.captured_zone == "unknown":
        return False
    zone = ZoneInfo(mapping.captured_zone)
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return first != second
