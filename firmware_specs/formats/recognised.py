"""Which format a file is of, by its bytes and not by its name, and what can be told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from firmware_specs import SpecError
from firmware_specs.formats import axis_body_worn, blackvue_track, enote, gpmf
from firmware_specs.formats.firmware import dfu, rauc, uimage
from firmware_specs.formats.fit import tree
from firmware_specs.formats.media import claims, film
from firmware_specs.formats.mender import artifact
from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from firmware_specs.formats.source import Source

__all__ = ["Recognised", "recognise"]

_WHOLE_MAX: Final = 16 << 20
"""Bytes of a small format that are read at once."""
_BLOCK: Final = 512
_TOLD: Final = 20
"""Entries of a notebook that are told one by one."""
_USTAR: Final = 257
"""Where in its first block a tar says that it is one."""
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
    if named := [name for magic, name in _MAGIC if head.startswith(magic)]:
        return Recognised(named[0], None, {})
    if (image := _image(source, head)) is not None:
        return image
    for begins, read in (
        (head[:4] == b"DEVC", _gpmf),
        (head[:1] == b"[" and b"$G" in head, _blackvue_positions),
        (any(word in head for word in (b'"payload"', b'"protected"', b'"signature"')), _notes),
        (head.lstrip()[:1] == b"{", _trail),
    ):
        if begins:
            return read(source)
    return _film(source)


def _film(source: Source) -> Recognised:
    try:
        found = film(source)
    except Malformed as error:
        if (told := _accelerations(source)) is not None:
            return told
        raise SpecError(f"no format that is known: {error}") from error
    boxes = tuple((box.offset, box.end - box.offset, box.name) for box in found.outside.boxes)
    return Recognised("ISO base media (MP4, MOV)", found.outside.verdict.value, claims(found), boxes)


def _image(source: Source, head: bytes) -> Recognised | None:
    """A firmware image; a DFU suffix can stand behind any of the others, and then that is what it is."""
    found = dfu(source)
    if found is None:
        if head[:4] == b"\x27\x05\x19\x56":
            found = uimage(source)
        elif head[:4] == b"\xd0\x0d\xfe\xed":
            found = tree(source)
        elif head[:4] == b"hsqs":
            found = rauc(source)
        elif source.length > _BLOCK and head[:8] == b"version\0" and source.read(_USTAR, 5) == b"ustar":
            found = artifact(source)
    if found is None:
        return None
    verdict = "damaged" if found.wrong else "complete" if found.checked else None
    return Recognised(found.format, verdict, {**found.said, **({"wrong": found.wrong} if found.wrong else {})})


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


def _notes(source: Source) -> Recognised:
    """Envelopes of electronic notes, one a line. Whose they are is not asked here: no key is known."""
    told: list[dict[str, Any]] = []
    sound = True
    for line in enote.lines(_whole(source).strip()):
        found = enote.envelope(line)
        entry, wrong, canonical = enote.payload_of(found)
        sound = sound and canonical and not wrong and not found.wrong
        names = ("notebook", "note", "op", "rev", "seq")
        told.append({name: entry[name] for name in names} if entry is not None and not wrong else {})
    verdict = "complete" if sound else "damaged"
    return Recognised("enote/1", verdict, {"entries": told[:_TOLD], "number": len(told)})


def _trail(source: Source) -> Recognised:
    points = axis_body_worn.trail(_whole(source))
    first = points[0] if points else None
    told: dict[str, Any] = {"points": len(points)}
    if first is not None:
        told["first"] = {"latitude": f"{first.latitude:.7f}", "longitude": f"{first.longitude:.7f}"}
    return Recognised("Axis location trail", None, told)
