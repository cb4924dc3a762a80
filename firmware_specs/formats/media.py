"""What a film says of itself: whether it is whole, how long, which codecs, when, where; without a picture decoded.

Everything here is the device's word. Each part that cannot be read is left out with the reason, and the others stay: a
damaged index makes no telemetry unreadable, and unknown telemetry no film.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from firmware_specs.formats import blackvue_track, camm, freegps, gpmf
from firmware_specs.formats.bmff import RECOVERY, Structure, Verdict, structure
from firmware_specs.formats.movie import Movie, Track, movie, samples
from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from firmware_specs.formats.source import Source

__all__ = ["Film", "Place", "Telemetry", "claims", "film"]

PAYLOAD_MAX: Final = 1 << 20
_EXACT: Final = 1 << 53
_STREAMS_MAX: Final = 8
"""Streams of telemetry of one film that are read; two lenses have two."""
SAMPLES_MAX: Final = 32
"""Samples of a track of telemetry that are read: its first ones, for a place and a time, and its last."""


@dataclass(frozen=True, slots=True)
class Place:
    """A position that the device tells."""

    latitude: float
    longitude: float
    at: datetime | None = None
    altitude: float | None = None


@dataclass(slots=True)
class Telemetry:
    """One stream of telemetry."""

    format: str
    count: int
    """Payloads, records or blocks, as the format counts."""
    first: Place | None = None
    last: Place | None = None
    words: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Film:
    """A file of the ISO base media family."""

    outside: Structure
    movie: Movie | None = None
    telemetry: list[Telemetry] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """What could not be read, in sentences."""

    @property
    def recovery(self) -> str:
        """What can be done with it."""
        return RECOVERY[self.outside.verdict]


def film(source: Source) -> Film:
    """Read a film. Raises `Malformed` where it is none, or where its outside cannot be true."""
    outside = structure(source)
    if outside.verdict is Verdict.NOT_BMFF:
        raise Malformed("no ISO base media file: it does not begin with a box")
    found = Film(outside)
    _try(found, "the index", lambda: _index(source, found))
    if found.movie is not None:
        for track in found.movie.tracks:
            _try(found, f"track {track.number}", lambda track=track: _track(source, track, found))  # type: ignore[misc]
        _try(found, "the index of freeGPS blocks", lambda: _free_gps(source, found))
    for box in outside.frees:
        _try(found, f"the box free at byte {box.offset}", lambda box=box: _blackvue(source, box, found))  # type: ignore[misc]
    return found


def _try(found: Film, what: str, work: Callable[[], None]) -> None:
    try:
        work()
    except Malformed as error:
        found.unread.append(f"{what}: {error}")


def _index(source: Source, found: Film) -> None:
    found.movie = movie(source, found.outside)


def _track(source: Source, track: Track, found: Film) -> None:
    if track.codec not in ("gpmd", "camm") or not track.samples or len(found.telemetry) >= _STREAMS_MAX:
        return
    places = [one for one in samples(source, track) if one[1] <= PAYLOAD_MAX]
    told = Telemetry("GPMF" if track.codec == "gpmd" else "CAMM", len(places))
    read = _gpmf if track.codec == "gpmd" else _camm
    for at, length in [*places[:SAMPLES_MAX], *places[SAMPLES_MAX:][-SAMPLES_MAX:]]:
        read(source.read(at, length), told)
    found.telemetry.append(told)


def _gpmf(data: bytes, told: Telemetry) -> None:
    payload = gpmf.telemetry(data)
    told.words |= {"devices": ", ".join(dict.fromkeys(payload.names))} if payload.names else {}
    if payload.clock and "clock" not in told.words:
        told.words["clock"] = payload.clock
    if (fix := payload.first) is not None and payload.fix != 0:
        told.last = Place(fix.latitude, fix.longitude, fix.at, fix.altitude)
        told.first = told.first or told.last


def _camm(data: bytes, told: Telemetry) -> None:
    record = camm.record(data)
    if (place := record.position) is None:
        return
    told.last = Place(place[0], place[1], None, place[2])
    told.first = told.first or told.last
    if record.kind == 6 and "time" not in told.words:  # noqa: PLR2004 - the one with a time
        gps, unix = (None if one is None else one.isoformat() for one in camm.readings(record.values[0]))
        told.words["time"] = f"{record.values[0]!r} s: {gps} as GPS time, {unix} as Unix time"


def _free_gps(source: Source, found: Film) -> None:
    if found.movie is None or found.movie.gps_index is None:
        return
    listed = list(freegps.blocks(source, found.movie.gps_index))
    told = Telemetry("freeGPS", len(listed))
    unknown = 0
    for offset, length in [*listed[:SAMPLES_MAX], *listed[SAMPLES_MAX:][-SAMPLES_MAX:]]:
        position = freegps.block(source.read(offset, min(length, freegps.BLOCK_MAX)))
        if position is None:
            unknown += 1
        elif position.valid:
            told.words["variant"] = position.variant
            told.last = Place(position.latitude, position.longitude, position.at)
            told.first = told.first or told.last
    if unknown:
        told.words["unknown_variant"] = f"{unknown} blocks; nothing is guessed of them"
    found.telemetry.append(told)


def _blackvue(source: Source, box: Any, found: Film) -> None:  # noqa: ANN401 - a Box
    if len(found.telemetry) >= _STREAMS_MAX or (inside := blackvue_track.inside(source, box)) is None:
        return
    told = Telemetry("BlackVue", len(inside.sentences) + inside.accelerations)
    told.words = {"boxes": " ".join(inside.kinds)}
    told.words |= {name: word for name, word in (("camera", inside.words), ("name", inside.name)) if word}
    if inside.clock_ms is not None:
        told.words["clock_ms"] = str(inside.clock_ms)
    for one in inside.sentences:
        if one.latitude is not None and one.longitude is not None:
            told.last = Place(one.latitude, one.longitude, one.at)
            told.first = told.first or told.last
    found.telemetry.append(told)


# -- as claims ---------------------------------------------------------------------------------------------------------


def claims(found: Film) -> dict[str, Any]:
    """The film's words as JSON without fractions, as a manifest or an entry holds them. All of it: the device says."""
    told: dict[str, Any] = {
        "source": "says the device",
        "structure": {
            "boxes": {name: count for name, count in sorted(found.outside.counts.items()) if name.isascii()},
            "brand": found.outside.brand,
            "recovery": found.recovery,
            "verdict": found.outside.verdict.value,
        },
    }
    if found.outside.cut_at is not None:
        told["structure"] |= {"cut_at": found.outside.cut_at, "missing": _exact(found.outside.missing)}
    if found.outside.tail:
        told["structure"]["tail"] = found.outside.tail
    if (inner := found.movie) is not None:
        told["duration"] = _number(inner.seconds)
        told["tracks"] = [
            {"codec": track.codec, "duration": _number(track.seconds), "handler": track.handler, "number": track.number}
            | ({"size": f"{track.width:g}x{track.height:g}"} if track.width else {})
            for track in inner.tracks
        ]
        told["times"] = [
            {
                "doubts": list(clock.doubts),
                "raw": clock.raw if isinstance(clock.raw, str) else _exact(clock.raw),
                "reading": None if clock.reading is None else clock.reading.isoformat(),
                "where": clock.where,
            }
            for clock in inner.clocks
        ]
        told["words"] = [{"name": name, "said": said} for name, said in inner.words.items()]
    told["telemetry"] = [
        {
            "count": one.count,
            "first": _place(one.first),
            "format": one.format,
            "last": _place(one.last),
            "words": one.words,
        }
        for one in found.telemetry
    ]
    if found.unread:
        told["unread"] = found.unread
    return told


def _exact(number: int) -> int | str:
    """Not every reader of JSON keeps integers of 2^53 and more exact: those stand as text."""
    return number if number < _EXACT else str(number)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _place(place: Place | None) -> dict[str, str | None] | None:
    if place is None:
        return None
    return {
        "altitude": _number(place.altitude),
        "at": None if place.at is None else place.at.isoformat(),
        "latitude": f"{place.latitude:.7f}",
        "longitude": f"{place.longitude:.7f}",
    }
