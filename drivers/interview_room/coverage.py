"""Several copies of one interview, laid beside each other: when each recorded, where gaps are, which copy has what.

Two recorders of one room never agree to the byte: what is compared is time. Pieces belong to one interview where they
overlap, or follow each other within `JOINS`. Times are the recorders' own, and may be off against each other: the
difference of their beginnings is shown, and nothing is shifted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from agent.capture import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "JOINS",
    "TOUCHES",
    "Copy",
    "Interview",
    "Piece",
    "interviews",
    "piece_from",
    "piece_of",
    "piece_told",
    "told_of",
]

JOINS: Final = timedelta(minutes=2)
"""Silence of all copies within which an interview goes on."""

_WORD_MAX: Final = 1024
_STATIONS_MAX: Final = 100

TOUCHES: Final = timedelta(seconds=1)
"""Pieces of one camera this near to each other are taken for one: segments are cut at key frames."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One capture that holds some of the time of an interview."""

    capture: str
    recorder: str
    """Id of the device that recorded it."""
    camera: str
    begins: datetime
    ends: datetime
    standing: str
    sha256: str
    stations: tuple[str, ...]
    """Custody logs that hold it."""
    interview: str = ""
    """Which interview it is of, where its recorder was told when one begins and ends."""


@dataclass(slots=True)
class Copy:
    """What one camera of one recorder has of an interview."""

    recorder: str
    camera: str
    spans: list[tuple[datetime, datetime]]
    """Times that it has, joined and in order."""
    gaps: list[tuple[datetime, datetime]]
    """Times of the interview that it has not."""
    pieces: list[Piece]

    @property
    def covered(self) -> timedelta:
        """How much of the interview it has."""
        return sum((end - begin for begin, end in self.spans), timedelta())


@dataclass(slots=True)
class Interview:
    """One interview, with all its copies."""

    room: str
    begins: datetime
    ends: datetime
    copies: list[Copy] = field(default_factory=list)

    @property
    def lacking(self) -> list[tuple[datetime, datetime]]:
        """Times that no copy has."""
        return _without(joined([span for copy in self.copies for span in copy.spans]), self.begins, self.ends)

    @property
    def single(self) -> list[tuple[datetime, datetime, str]]:
        """(from, to, recorder) of the times that one recorder alone has: its copy cannot be replaced by another."""
        by_recorder = self.by_recorder()
        edges = sorted({edge for spans in by_recorder.values() for span in spans for edge in span})
        found: list[tuple[datetime, datetime, str]] = []
        for begin, end in pairwise(edges):
            having = [name for name, spans in by_recorder.items() if any(a <= begin and end <= b for a, b in spans)]
            if len(having) != 1:
                continue
            if found and found[-1][1:] == (begin, having[0]):
                found[-1] = (found[-1][0], end, having[0])
            else:
                found.append((begin, end, having[0]))
        return found

    def by_recorder(self) -> dict[str, list[tuple[datetime, datetime]]]:
        """What each recorder has with any of its cameras."""
        names = dict.fromkeys(copy.recorder for copy in self.copies)
        return {
            name: joined([span for copy in self.copies if copy.recorder == name for span in copy.spans])
            for name in names
        }


def interviews(pieces: Iterable[Piece]) -> list[Interview]:
    """Every interview that these pieces are of, by room and time. A piece that two stations hold counts once."""
    rooms: dict[str, dict[str, Piece]] = {}
    for piece in pieces:
        known = rooms.setdefault(room_of(piece.recorder), {})
        if (same := known.get(piece.capture)) is not None:
            piece = replace(piece, stations=tuple(dict.fromkeys((*same.stations, *piece.stations))))  # noqa: PLW2901
        known[piece.capture] = piece
    found: list[Interview] = []
    for room, known in sorted(rooms.items()):
        here: list[Piece] = []
        for piece in sorted(known.values(), key=lambda one: (one.begins, one.ends, one.capture)):
            if here and _another(piece, here):
                found.append(_interview(room, here))
                here = []
            here.append(piece)
        if here:
            found.append(_interview(room, here))
    return sorted(found, key=lambda one: one.begins)


def _another(piece: Piece, here: Sequence[Piece]) -> bool:
    """Whether a piece begins another interview than those before it: after silence, or as its recorder was told."""
    silence = piece.begins - max(one.ends for one in here)
    told = {one.interview for one in here if one.recorder == piece.recorder} - {""}
    return silence > JOINS or (silence > timedelta() and piece.interview not in {"", *told} and bool(told))


def _interview(room: str, pieces: Sequence[Piece]) -> Interview:
    begins, ends = min(one.begins for one in pieces), max(one.ends for one in pieces)
    cameras: dict[tuple[str, str], list[Piece]] = {}
    for one in pieces:
        cameras.setdefault((one.recorder, one.camera), []).append(one)
    copies = []
    for (recorder, camera), mine in sorted(cameras.items()):
        spans = joined([(one.begins, one.ends) for one in mine])
        copies.append(Copy(recorder, camera, spans, _without(spans, begins, ends), mine))
    return Interview(room, begins, ends, copies)


def joined(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """The same time in as few spans as there are, in order."""
    found: list[tuple[datetime, datetime]] = []
    for begin, end in sorted(spans):
        if found and begin - found[-1][1] <= TOUCHES:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _without(
    spans: Sequence[tuple[datetime, datetime]], begins: datetime, ends: datetime
) -> list[tuple[datetime, datetime]]:
    found, at = [], begins
    for begin, end in spans:
        if begin - at > TOUCHES:
            found.append((at, begin))
        at = max(at, end)
    if ends - at > TOUCHES:
        found.append((at, ends))
    return found


def room_of(device: str) -> str:
    """`room-1` of `room:room-1:backup`."""
    return device.split(":")[1] if device.startswith("room:") and device.count(":") >= 2 else device  # noqa: PLR2004


def piece_of(capture: Mapping[str, Any], claims: Mapping[str, Any]) -> Piece | None:
    """What a capture holds of an interview's time; None where it is no film, or nobody says how long it is.

    A piece that this station recorded says exactly when; a file says how long it is (`media`), and began when its name
    says so, or so long before its time of change, which is when its recorder closed it.
    """
    live, said = claims.get("live"), claims.get("name_says")
    seconds = _seconds(live, claims.get("media"))
    at = _moment(capture.get("began_at"))
    if seconds is None or at is None or not str(capture.get("device", "")).startswith("room:"):
        return None
    camera = ""
    length = timedelta(seconds=seconds)
    if isinstance(live, dict):
        camera, begins = str(live.get("stream", "")), at
    else:
        named = said if isinstance(said, dict) else {}
        camera = str(named.get("camera", ""))
        begins = _moment(named.get("began_at")) or at - length
    return Piece(
        capture=str(capture["id"]),
        recorder=str(capture["device"]),
        camera=camera,
        begins=begins,
        ends=begins + length,
        standing=str(capture["standing"]),
        sha256=str(capture["sha256"]),
        stations=(str(capture["log"]),),
        interview=str(live.get("interview", "")) if isinstance(live, dict) else "",
    )


def _seconds(live: object, media: object) -> float | None:
    if isinstance(live, dict):
        times = live.get("seconds")
        if isinstance(times, list) and len(times) == 2:  # noqa: PLR2004 - begin and end
            return _number(times[1], minus=_number(times[0]) or 0.0)
    return _number(media.get("duration")) if isinstance(media, dict) else None


def _number(value: object, *, minus: float = 0.0) -> float | None:
    try:
        found = float(str(value)) - minus
    except ValueError:
        return None
    return found if 0 <= found < 10 * 86400 else None


def _moment(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def piece_told(piece: Piece) -> dict[str, Any]:
    """As JSON, for another station to lay beside its own."""
    return {
        "begins": piece.begins.isoformat(),
        "camera": piece.camera,
        "capture": piece.capture,
        "ends": piece.ends.isoformat(),
        "interview": piece.interview,
        "recorder": piece.recorder,
        "sha256": piece.sha256,
        "standing": piece.standing,
        "stations": list(piece.stations),
    }


def piece_from(told: Mapping[str, Any]) -> Piece:
    """What `piece_told` wrote; `ValueError` or `KeyError` for what it did not."""
    begins, ends = _moment(told["begins"]), _moment(told["ends"])
    if begins is None or ends is None or not begins <= ends or ends - begins > timedelta(days=10):
        raise ValueError("a piece has no times")
    words = {
        name: printable(str(told[name]))[:_WORD_MAX]
        for name in ("camera", "capture", "interview", "recorder", "sha256", "standing")
    }
    stations = tuple(printable(str(one))[:_WORD_MAX] for one in told["stations"][:_STATIONS_MAX])
    return Piece(begins=begins, ends=ends, stations=stations, **words)


def told_of(one: Interview) -> dict[str, Any]:
    """An interview as JSON; lengths in seconds."""

    def spans(found: Iterable[tuple[datetime, datetime]]) -> list[dict[str, str]]:
        return [{"from": begin.isoformat(), "to": end.isoformat()} for begin, end in found]

    return {
        "begins": one.begins.isoformat(),
        "copies": [
            {
                "camera": copy.camera,
                "captures": [piece.capture for piece in copy.pieces],
                "covered": round(copy.covered.total_seconds(), 3),
                "gaps": spans(copy.gaps),
                "recorder": copy.recorder,
                "stations": list(dict.fromkeys(name for piece in copy.pieces for name in piece.stations)),
            }
            for copy in one.copies
        ],
        "ends": one.ends.isoformat(),
        "lacking": spans(one.lacking),
        "one_copy": [{"from": a.isoformat(), "recorder": who, "to": b.isoformat()} for a, b, who in one.single],
        "room": one.room,
    }
