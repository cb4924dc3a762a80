"""One interview as it is recorded: what began, was marked, broke and ended, on the disk before anybody is told."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from agent import durable
from agent.capture import printable, rfc3339
from agent.errors import DeviceGone, DeviceRefused, in_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MARKS_MAX", "NOTES", "Interview", "Segment", "Track", "found_in"]

NOTES: Final = "interview.json"
"""The file that says all this; it is held as the interview's last capture."""

MARKS_MAX: Final = 10_000
_NOT_TOLD: Final = frozenset({"folder", "tracks", "_saving"})
_NOTES_MAX: Final = 64 * 1024 * 1024
_ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_SEGMENT: Final = re.compile(r"(.+)-([0-9]{6})\.(?:mov|mp4)")
_BY_HAND: Final = "Move that folder elsewhere, keep it, and look at its segments by hand."


@dataclass(slots=True)
class Segment:
    """One piece of one stream, held."""

    file: str
    number: int
    began_at: str
    seconds: str
    length: int
    sha256: str
    cut: bool
    """It was still being written when its recording ended."""


@dataclass(slots=True)
class Track:
    """One stream of the interview."""

    url: str
    runs: list[dict[str, Any]] = field(default_factory=list)
    """Each connection: number of its first segment, and when its first frame came, by this station's clock."""
    gaps: list[dict[str, Any]] = field(default_factory=list)
    """Each time in which no frame came: from, to (None: until the end), and why."""
    segments: list[Segment] = field(default_factory=list)


@dataclass(slots=True)
class Interview:
    """All that is known of one. Every change is followed by `save`."""

    folder: Path
    id: str
    room: str
    recorder: str
    began_at: str
    began_by: str
    note: str
    container: str
    tracks: dict[str, Track]
    marks: list[dict[str, str]] = field(default_factory=list)
    ended_at: str | None = None
    ended_by: str | None = None
    made_with: dict[str, str] = field(default_factory=dict)
    _saving: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)

    @classmethod
    def begin(
        cls, root: Path, *, room: str, recorder: str, by: str, note: str, container: str, streams: dict[str, str],
        made_with: dict[str, str] | None = None,
    ) -> Interview:  # fmt: skip
        """Begin one now. Blocks until it stands on the disk; `DeviceGone` where that does not take it.

        `streams`: address without password, by name.
        """
        now = datetime.now(UTC)
        id_ = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        tracks = {name: Track(url) for name, url in streams.items()}
        made = cls(
            root / id_, id_, room, recorder, rfc3339(now), by, note, container, tracks, made_with=made_with or {}
        )
        _write(made.folder, made.notes(), begins=True)
        return made

    async def save(self) -> None:
        """Bring it to the disk, as it is at this moment or a later one; in the order in which it is asked for.

        `DeviceGone` where the disk does not take it.
        """
        async with self._saving:
            await asyncio.to_thread(_write, self.folder, self.notes())

    def notes(self) -> bytes:
        """As it stands in the file."""
        told: dict[str, Any] = {
            "format": "evidock-interview/1",
            "tracks": {k: asdict(v) for k, v in self.tracks.items()},
        }
        told |= {one.name: getattr(self, one.name) for one in fields(self) if one.name not in _NOT_TOLD}
        return json.dumps(told, indent=1, sort_keys=True).encode() + b"\n"

    @property
    def began(self) -> datetime:
        """When it began."""
        return datetime.fromisoformat(self.began_at)

    def gap_begins(self, stream: str, at: datetime, why: str) -> bool:
        """No frame comes any more; False where that is known already."""
        gaps = self.tracks[stream].gaps
        if gaps and gaps[-1]["to"] is None:
            return False
        gaps.append({"from": rfc3339(at), "to": None, "why": printable(why)[:500]})
        return True

    def gap_ends(self, stream: str, at: datetime) -> dict[str, Any] | None:
        """Frames come again; the gap that this ends, or None."""
        gaps = self.tracks[stream].gaps
        if not gaps or gaps[-1]["to"] is not None:
            return None
        began = datetime.fromisoformat(gaps[-1]["from"])
        gaps[-1]["to"] = rfc3339(max(at, began))
        return dict(gaps[-1])

    def began_earlier(self, stream: str, at: datetime) -> None:
        """The connection that stands began at this moment, before the first guess; so the gap before it ended then."""
        track = self.tracks[stream]
        run, gap = track.runs[-1], track.gaps[-1] if track.gaps else None
        if gap is not None and gap["to"] == run["began_at"]:
            gap["to"] = max(gap["from"], rfc3339(at))
        run["began_at"] = rfc3339(at)

    def run_of(self, stream: str, number: int) -> dict[str, Any] | None:
        """The connection to which a segment belongs."""
        runs = [run for run in self.tracks[stream].runs if run["first"] <= number]
        return runs[-1] if runs else None

    def segment_files(self) -> Iterator[tuple[str, int, Path]]:
        """(stream, number, path) of every segment that lies in the folder, in order."""
        for path in sorted(self.folder.iterdir()):
            found = _SEGMENT.fullmatch(path.name)
            if found and found[1] in self.tracks and path.is_file() and not path.is_symlink():
                yield found[1], int(found[2]), path

    def reached(self, stream: str) -> datetime:
        """When the last thing was recorded that lies here or is held, by this station's clock. Blocks."""
        track, known = self.tracks[stream], [self.began]
        known += [datetime.fromisoformat(run["began_at"]) for run in track.runs]
        for one in track.segments:
            known.append(datetime.fromisoformat(one.began_at) + timedelta(seconds=float(one.seconds or 0)))
        for name, _, path in self.segment_files():
            if name == stream:
                known.append(datetime.fromtimestamp(path.stat().st_mtime, UTC))  # ffmpeg writes each second
        return min(datetime.now(UTC), max(known))

    def times(self, stream: str, number: int) -> tuple[float, float] | None:
        """(begin, end) of a segment in seconds of its connection, as ffmpeg wrote them when it had finished it."""
        for path in self.folder.glob(f"{stream}-[0-9]*.csv"):
            for line in path.read_text("ascii", "replace").splitlines():
                name, _, rest = line.partition(",")
                begin, _, end = rest.partition(",")
                if name.rpartition(".")[0] == f"{stream}-{number:06}" and end:
                    with suppress(ValueError):
                        return float(begin), float(end)
        return None

    def began_of(self, stream: str, number: int) -> datetime:
        """When a segment began, by this station's clock: it was the recorder."""
        run = self.run_of(stream, number)
        begin = datetime.fromisoformat(run["began_at"]) if run else self.began
        if (times := self.times(stream, number)) is not None:
            return begin + timedelta(seconds=times[0])
        before = self.times(stream, number - 1)
        if before is not None and self.run_of(stream, number - 1) is run:
            return begin + timedelta(seconds=before[1])
        return begin


def _write(folder: Path, notes: bytes, *, begins: bool = False) -> None:
    try:
        if begins:
            durable.make_folder(folder)
        durable.replace_file(folder / NOTES, notes)
    except OSError as error:
        hint = "Make room on the disk of the room's `folder`, and look whether the service may write there."
        raise DeviceGone(f"the notes of an interview cannot be written down: {error.strerror}", hint=hint) from error


def found_in(root: Path) -> tuple[list[Interview], list[str]]:
    """Every interview of which something lies in this folder, the oldest first, and why others cannot be read."""
    found, unread = list[Interview](), list[str]()
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if _ID.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            try:
                found.append(_read(folder))
            except DeviceRefused as error:
                unread.append(str(error))
    return found, unread


def _read(folder: Path) -> Interview:
    """`DeviceRefused` where its notes cannot be read: nobody but we writes there."""
    try:
        with (folder / NOTES).open("rb") as file:
            told = json.loads(file.read(_NOTES_MAX))
        told.pop("format")
        tracks = {
            name: Track(**{**one, "segments": [Segment(**segment) for segment in one["segments"]]})
            for name, one in told.pop("tracks").items()
        }
        return Interview(folder=folder, tracks=tracks, **told)
    except FileNotFoundError:
        if any(_SEGMENT.fullmatch(path.name) for path in folder.iterdir()):
            raise DeviceRefused(f"{folder / NOTES} is not there, and segments are", hint=_BY_HAND) from None
        # Power failed between making the folder and writing the file: nothing was promised, and nothing recorded.
        at = rfc3339(datetime.strptime(folder.name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC))
        return Interview(folder, folder.name, "", "", at, "", "", "mov", {}, ended_at=at, ended_by="power cut")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DeviceRefused(f"{folder / NOTES} cannot be read: {in_words(error)}", hint=_BY_HAND) from error
