"""What is held of an interview: its segments one by one while it goes on, and at its end the notes about all of it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agent.capture import Capture, Priority, Standing
from agent.driver import BLOCK_LENGTH
from agent.errors import BadCapture, CannotResume, DeviceGone
from drivers.interview_room.live.interview import NOTES, Segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.capture import Device, Json
    from agent.driver import Intake
    from drivers.interview_room.live.interview import Interview

__all__ = ["Piece", "hold_notes", "hold_segment"]

_TYPES: Final = {"mov": "video/quicktime", "mp4": "video/mp4"}


class Piece:
    """An `Offer` of one file of ours that nobody writes any more. We forget it when it is held."""

    def __init__(self, capture: Capture, path: Path) -> None:
        self.capture, self._path = capture, path

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The bytes from `offset` on."""
        length = self.capture.length or 0
        if not 0 <= offset <= length:
            raise CannotResume(f"{self.capture.key} has {length} bytes and cannot be read from byte {offset} on")
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                while block := await asyncio.to_thread(file.read, BLOCK_LENGTH):
                    offset += len(block)
                    yield block
                if offset != length or os.fstat(file.fileno()).st_size != length:
                    raise BadCapture(f"{self.capture.key} changed while it was read")
        except OSError as error:
            raise DeviceGone(f"{self.capture.key} cannot be read: {error.strerror}") from error

    async def release(self) -> None:
        """Nothing: it was forgotten when it was held."""


async def hold_segment(
    intake: Intake, device: Device, interview: Interview, stream: str, number: int, path: Path, *, cut: bool
) -> Standing:
    """Have one segment held, note it, and forget our copy; returns where it stands. Raises what `take` raised."""
    length = (await asyncio.to_thread(path.stat)).st_size
    times = interview.times(stream, number)
    began = interview.began_of(stream, number)
    run = interview.run_of(stream, number)
    claims: dict[str, Json] = {
        "live": {
            "cut": cut,
            "interview": interview.id,
            "made_with": dict(interview.made_with),
            "stream": stream,
            "url": interview.tracks[stream].url,
            "connection_began_at": None if run is None else str(run["began_at"]),
            "seconds": None if times is None else [f"{times[0]:.6f}", f"{times[1]:.6f}"],
            "time": {"source": "station"},
        }
    }
    capture = Capture(
        device,
        f"{interview.id}/{path.name}",
        began,
        length,
        _TYPES[interview.container],
        group=interview.id,
        clip=number,
        members=0,  # the notes say how many there were
        priority=Priority.INTERVIEW,
        volatile=True,
        claims=claims,
    )
    standing = await intake.take(Piece(capture, path))
    if standing is Standing.UNKNOWN:
        return standing
    track = interview.tracks[stream]
    if not any(one.file == path.name for one in track.segments):
        digest = await asyncio.to_thread(_sha256, path)
        seconds = "" if times is None else f"{times[1] - times[0]:.6f}"
        began_at = began.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        track.segments.append(Segment(path.name, number, began_at, seconds, length, digest, cut))
        await interview.save()  # before our copy goes: else the notes would lack it after a power cut
    await asyncio.to_thread(_forget, path)
    return standing


async def hold_notes(intake: Intake, device: Device, interview: Interview) -> Standing:
    """Have the notes of an ended interview held, and forget its folder."""
    if interview.tracks:
        path = interview.folder / NOTES
        await interview.save()  # the disk may have been full when something was noted last
        capture = Capture(
            device,
            f"{interview.id}/{NOTES}",
            interview.began,
            (await asyncio.to_thread(path.stat)).st_size,
            "application/json",
            group=interview.id,
            members=sum(len(track.segments) for track in interview.tracks.values()) + 1,
            priority=Priority.INTERVIEW,
            volatile=True,
            claims={"live": {"interview": interview.id, "notes": True, "time": {"source": "station"}}},
        )
        if (standing := await intake.take(Piece(capture, path))) is Standing.UNKNOWN:
            return standing
    await asyncio.to_thread(_remove, interview.folder)
    return Standing.HELD


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _forget(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


def _remove(folder: Path) -> None:
    """The lists of ffmpeg and the notes; anything else that lies there keeps the folder, and is somebody's."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".csv" or path.name == NOTES:
            path.unlink()
    with suppress(OSError):
        folder.rmdir()
