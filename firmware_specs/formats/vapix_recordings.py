"""Axis VAPIX edge storage: the list of recordings, what an export will be, and errors that come with HTTP 200.

Source: VAPIX Library, "Edge storage API" (Recording API and Export Recording API, AXIS OS 5.60 and later). Known from
its examples and from answers that users published; never compared with a camera here. Times are UTC in ISO 8601, with
or without fractions; the local ones beside them are not used. Not known: what a camera answers whose storage fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from firmware_specs import SpecError
from firmware_specs.formats.plain_xml import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from firmware_specs.formats.plain_xml import Element

__all__ = ["ERRORS", "Export", "Listing", "Recording", "error_in", "export_formats", "export_properties", "listing"]

ERRORS: Final[Mapping[int, str]] = {
    10: "processing error",
    20: "invalid request",
    40: "version not supported",
    110: "recording not found",
    120: "invalid start time",
    130: "invalid stop time",
    140: "start after stop",
    150: "start after the end of the recording",
    160: "stop before the start of the recording",
    170: "invalid export format",
    180: "the format does not fit the media",
    250: "invalid encryption format",
    280: "incompatible encryption format",
}

_TEXT_MAX: Final = 128
_RECORDINGS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Recording:
    """One `recording` element."""

    id: str
    disk: str
    began_at: datetime
    ended_at: datetime | None
    """None while it is being recorded, or where the camera does not say."""
    status: str
    """`recording`, `completed` or `unknown`."""
    words: Mapping[str, str] = field(default_factory=dict)
    """All its attributes, as they are."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of the list."""

    recordings: tuple[Recording, ...]
    matching: int
    """Recordings that match, on all pages (`numberofrecordings`)."""


@dataclass(frozen=True, slots=True)
class Export:
    """What an export would be (`properties.cgi`)."""

    format: str
    began_at: datetime
    """The key frame at or before the start that was asked for."""
    ended_at: datetime
    kilobytes: int | None
    """An estimate; None where the camera has none."""


def listing(data: bytes) -> Listing:
    """Read an answer of `list.cgi`. `SpecError` where it is none."""
    found = parse(data).find("recordings")
    if found is None:
        raise SpecError("no list of recordings")
    rows = [one for one in found.children if one.name == "recording"]
    if len(rows) > _RECORDINGS_MAX:
        raise SpecError(f"a list of {len(rows)} recordings on one page")
    return Listing(tuple(_recording(one) for one in rows), _count(found.attributes.get("numberofrecordings", "")))


def _recording(one: Element) -> Recording:
    words = one.attributes
    name, disk = words.get("recordingid", ""), words.get("diskid", "")
    if not name or max(len(name), len(disk)) > _TEXT_MAX or not (name + disk).isprintable():
        raise SpecError("a recording without an id of a sensible length")
    began_at = _time(words.get("starttime", ""))
    if began_at is None:
        raise SpecError(f"the recording {words['recordingid']} does not say when it began")
    ended_at = _time(words.get("stoptime", ""))
    if ended_at is not None and ended_at < began_at:
        raise SpecError(f"the recording {words['recordingid']} ends before it begins")
    status = words.get("recordingstatus", "unknown")
    return Recording(words["recordingid"], words.get("diskid", ""), began_at, ended_at, status, dict(words))


def export_properties(data: bytes) -> Export:
    """Read an answer of `properties.cgi`. `SpecError` where it is none."""
    found = parse(data).find("PropertiesSuccess/ExportProperties")
    if found is None:
        raise SpecError("no properties of an export")
    words = found.attributes
    began_at, ended_at = _time(words.get("Starttime", "")), _time(words.get("Stoptime", ""))
    if began_at is None or ended_at is None or ended_at < began_at:
        raise SpecError("an export without a time")
    size = words.get("EstimatedFileSize", "-1")
    kilobytes = int(size) if _is_number(size) and len(size) < 13 else None  # noqa: PLR2004 - a terabyte of kilobytes
    return Export(words.get("ExportFormat", "")[:_TEXT_MAX], began_at, ended_at, kilobytes)


def export_formats(data: bytes) -> tuple[str, ...]:
    """Read an answer of `capabilities.cgi`. `SpecError` where it is none."""
    root = parse(data)
    found = [one.attributes.get("ExportFormat", "") for one in root.walk() if one.name == "ExportCapabilities"]
    found += [one.text for one in root.walk() if one.name == "ExportFormat"]
    names = tuple(name[:_TEXT_MAX] for text in found for name in text.replace(",", " ").split())
    if not names:
        raise SpecError("no export format is named")
    return names


def error_in(data: bytes) -> tuple[int, str] | None:
    """(code, words) of an error document; None where it is none."""
    found = next((one for one in parse(data).walk() if one.name == "GeneralError"), None)
    if found is None:
        return None
    code = found.said("ErrorCode")
    number = int(code) if _is_number(code) and len(code) < 6 else 0  # noqa: PLR2004 - codes have two or three digits
    return number, found.said("ErrorDescription")[:_TEXT_MAX] or ERRORS.get(number, "an error without a name")


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text[:40])
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _count(text: str) -> int:
    return int(text) if _is_number(text) and len(text) < 10 else 0  # noqa: PLR2004 - more recordings than seconds of a life
