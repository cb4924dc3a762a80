"""One stream of an interview: connected, watched, lost, asked for again, for as long as the interview goes on."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import Json, Observation, rfc3339
from agent.errors import DeviceGone, DeviceRefused
from drivers.interview_room.live.ffmpeg import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent.driver import Intake
    from drivers.interview_room.live.interview import Interview
    from drivers.interview_room.live.options import LiveOptions, StreamOptions

__all__ = ["StreamRecorder"]

_FIRST_PAUSE: Final = 0.25
_PAUSE_MAX: Final = 5.0
"""Seconds between two tries: a minute of an interview is worth more than a camera's rest."""


class StreamRecorder:
    """See the module. `state` is for people: `recording`, or why not."""

    def __init__(
        self,
        options: LiveOptions,
        stream: StreamOptions,
        interview: Interview,
        device: str,
        nudge: Callable[[], None],
    ) -> None:
        """`nudge` is called when something may be ready to be held."""
        self._options, self._stream, self._interview = options, stream, interview
        self._device, self._nudge = device, nudge
        self._log = structlog.get_logger("driver").bind(driver=options.name, stream=stream.name)
        self.stream_name = stream.name
        self.state = "connecting"
        self.settled = asyncio.Event()
        """Something is known: frames come, or why not."""
        self.timed = False
        """It is known when the connection that stands began: before that none of its segments may be held."""
        self.first: int | None = None
        """Number of the first segment of the connection that stands; those before it are written by nobody."""

    async def run(self, intake: Intake) -> None:
        """Record until cancelled. What was written is finished then, as far as ffmpeg lets us."""
        pause = _FIRST_PAUSE
        while True:
            worked = await self._connect(intake)
            pause = _FIRST_PAUSE if worked else min(_PAUSE_MAX, pause * 2)
            await asyncio.sleep(pause)

    async def _connect(self, intake: Intake) -> bool:
        options, stream = self._options, self._stream
        # From here on its files are known to be written to: the first may be there before we are told that it runs.
        self.first, self.timed = (first := self._next()), False
        try:
            connection = await _begun(
                Connection.begin(
                    stream,
                    self._interview.folder,
                    first,
                    seconds=options.segment,
                    silence=options.silence,
                    container=options.container,
                )
            )
        except DeviceRefused as error:
            await self._lost(intake, None, f"{error}. {error.what_to_do}")
            return False
        why = "the interview ended"
        try:
            watching = asyncio.create_task(connection.watch(options.silence))
            begun = asyncio.create_task(connection.first_frame.wait())
            try:
                await asyncio.wait({watching, begun}, return_when=asyncio.FIRST_COMPLETED)
                if connection.first_frame.is_set() and connection.began_at is not None:
                    await self._begun(intake, connection, first)
                    await self._settle_time(connection, watching)
                why = await watching
            finally:
                for task in (watching, begun):
                    task.cancel()
        finally:
            await asyncio.shield(self._finish(connection))
        await self._lost(intake, connection.last_frame_at, why)
        return connection.first_frame.is_set()

    async def _begun(self, intake: Intake, connection: Connection, first: int) -> None:
        """The first frames are here: the connection, and the end of the gap before it, stand on the disk."""
        track, began_at = self._interview.tracks[self._stream.name], connection.began_at or datetime.now(UTC)
        track.runs.append({"first": first, "began_at": rfc3339(began_at)})
        gap = self._interview.gap_ends(self._stream.name, began_at)
        await self._interview.save()
        self.state = "recording"
        self.settled.set()
        if gap is not None:
            detail: dict[str, Json] = {"gap": gap, "interview": self._interview.id, "stream": self._stream.name}
            await intake.observe(Observation(self._device, "room.stream_back", began_at, detail))
            self._log.info("room_stream_back", interview=self._interview.id, since=gap["from"])

    async def _settle_time(self, connection: Connection, watching: asyncio.Task[str]) -> None:
        """The first frames come in a swarm, so the first guess of the beginning is late; soon it is good."""
        await asyncio.wait({watching}, timeout=min(5.0, self._options.segment / 2))
        run = self._interview.tracks[self._stream.name].runs[-1]
        if connection.began_at is not None and run["began_at"] != rfc3339(connection.began_at):
            self._interview.began_earlier(self._stream.name, connection.began_at)
            await self._interview.save()
        self.timed = True
        self._nudge()

    def _next(self) -> int:
        """Number of the next segment: after all that lie here, were held, or were begun."""
        track = self._interview.tracks[self._stream.name]
        numbers = [number for name, number, _ in self._interview.segment_files() if name == self._stream.name]
        return max([0, *numbers, *(one.number for one in track.segments)]) + 1

    async def _finish(self, connection: Connection) -> None:
        await connection.end()
        self.first = None
        with suppress(DeviceGone):  # the disk is away: the next save has all of it, and one who is told to end must end
            await self._interview.save()
        self._nudge()

    async def _lost(self, intake: Intake, last: datetime | None, why: str) -> None:
        self.state = f"no stream: {why}"
        self.settled.set()
        since = last or (self._interview.began if not self._interview.tracks[self._stream.name].runs else None)
        at = since or datetime.now(UTC)
        if not self._interview.gap_begins(self._stream.name, at, why):
            return
        await self._interview.save()
        detail: dict[str, Json] = {"interview": self._interview.id, "stream": self._stream.name, "why": why[:500]}
        await intake.observe(Observation(self._device, "room.stream_lost", at, detail))
        todo = "Look at the camera and at the network; recording goes on by itself."
        self._log.warning("room_stream_lost", interview=self._interview.id, why=why, todo=todo)

    def writes(self, number: int) -> bool:
        """Whether this segment is one of the connection that stands, and may still be written to."""
        return self.first is not None and number >= self.first

    def waits(self, number: int) -> bool:
        """Whether it is not known yet when this segment began."""
        return self.writes(number) and not self.timed


async def _begun(beginning: Coroutine[object, object, Connection]) -> Connection:
    """A connection that was begun; who is cancelled meanwhile leaves no program behind that nobody watches."""
    task = asyncio.ensure_future(beginning)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(DeviceRefused):
            await (await task).end()
        raise
