"""Which format a file is of, by its bytes and not by its name, and what can be told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from firmware_specs import SpecError
from firmware_specs.formats import axis_body_worn, blackvue_track, gpmf
from firmware_specs.formats.media import claims, film
from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from firmware_specs.formats.source import Source

__all__ = ["Recognised", "recognise"]

_WHOLE_MAX: Final = 16 << 20
"""Bytes of a small format that are read at once."""
_MAGIC: Final = (
    (b"\x1a\x45\xdf\xa3", "Matroska"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"RIFF", "RIFF (AVI, WAV)"),
    (b"\x89PNG", "PNG"),
)


@dataclass(frozen=True, slots=True)
class Recognised:
    """A file whose format is known."""

    format: str
    verdict: str | None
    """Whether it is whole, where that can be told."""
    told: dict[str, Any]
    """What is in it, as JSON without fractions; all of it is the device's word."""
    boxes: tuple[tuple[int, int, str], ...] = ()
    """(offset, length as its header says, name) of the parts on its outside, the first of them."""


def recognise(source: Source) -> Recognised:
    """Name the format and read what can be read. Raises `SpecError` for what is of no known format, or damaged."""
    head = source.read(0, min(64, source.length))
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return Recognised(name, None, {})
    if head[:4] == b"DEVC":
        return _gpmf(source)
    if head[:1] == b"[" and b"$G" in head:
        return _blackvue_positions(source)
    if head.lstrip()[:1] == b"{":
        return _trail(source)
    try:
        found = film(source)
    except Malformed as error:
        if (told := _accelerations(source)) is not None:
            return told
        raise SpecError(f"no format that is known: {error}") from error
    boxes = tuple((box.offset, box.end - box.offset, box.name) for box in found.outside.boxes)
    return Recognised("ISO base media (MP4, MOV)", found.outside.verdict.value, claims(found), boxes)


def _whole(source: Source) -> bytes:
    if source.length > _WHOLE_MAX:
        raise Malformed(f"{source.length} bytes are too many for this format")
    return source.read(0, source.length)


def _gpmf(source: Source) -> Recognised:
    found = gpmf.telemetry(_whole(source))
    told: dict[str, Any] = {
        "clock": found.clock,
        "devices": list(dict.fromkeys(found.names)),
        "fix": found.fix,
        "records": dict(sorted(found.records.items())),
        "streams": found.streams,
    }
    if found.first is not None:
        told["first"] = {"latitude": f"{found.first.latitude:.7f}", "longitude": f"{found.first.longitude:.7f}"}
    return Recognised("GPMF", None, told)


def _blackvue_positions(source: Source) -> Recognised:
    found = blackvue_track.sentences(_whole(source))
    wrong = sum(not one.right for one in found)
    return Recognised("BlackVue .gps", None, {"sentences": len(found), "wrong_checksum": wrong})


def _accelerations(source: Source) -> Recognised | None:
    """`.3gf` has no mark of its own: ten bytes a record, whose first is near the start and which go forward in time."""
    if not source.length or source.length % 10 or source.length > _WHOLE_MAX:
        return None
    found = blackvue_track.accelerations(_whole(source))
    times = [one[0] for one in found]
    if not times or times[0] > 1000 or times != sorted(set(times)):  # noqa: PLR2004
        return None
    return Recognised("BlackVue .3gf", None, {"last_ms": times[-1], "records": len(found)})


def _trail(source: Source) -> Recognised:
    points = axis_body_worn.trail(_whole(source))
    first = points[0] if points else None
    told: dict[str, Any] = {"points": len(points)}
    if first is not None:
        told["first"] = {"latitude": f"{first.latitude:.7f}", "longitude": f"{first.longitude:.7f}"}
    return Recognised("Axis location trail", None, told)
