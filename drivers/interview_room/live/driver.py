"""The driver: starts and stops interviews when it is told to, and has each segment held as soon as it is finished."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import structlog

from agent import durable
from agent.capture import Observation, printable, rfc3339
from agent.driver import Notice
from agent.driver.unhurried import Unhurried
from agent.errors import AgentError, DeviceGone, JournalFull, Refusal
from drivers.interview_room.live.buttons import Buttons, late, now
from drivers.interview_room.live.ffmpeg import command, version_of
from drivers.interview_room.live.holding import Holder
from drivers.interview_room.live.interview import MARKS_MAX, Interview, found_in
from drivers.interview_room.live.options import LiveOptions
from drivers.interview_room.live.schedule import Hours
from drivers.interview_room.live.stream import StreamRecorder
from drivers.interview_room.room import device_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agent.capture import Json
    from agent.driver import Intake, Record

__all__ = ["LiveRoom"]

_STARTING: Final = 3.0
"""Seconds that an order waits for a driver that just begins."""
_SURE: Final = 10.0
"""Seconds that whoever starts an interview waits to hear whether frames come."""
_STAY: Final = 5.0
_SCHEDULE: Final = 5.0
_NOTE_MAX: Final = 500
_STREAM_TODO: Final = "Look at the camera and at the network; recording goes on by itself when it answers."


class LiveRoom:
    """A room whose cameras this station records itself. See `Options`."""

    class Options(LiveOptions):
        """The `[[driver]]` table with `use = "interview_room.live"`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._device = device_of(options)
        self._zone = ZoneInfo(options.zone)
        self._hours = tuple(Hours.parse(one) for one in options.schedule)
        self._buttons = Buttons(options, self)
        self._log = structlog.get_logger("driver").bind(driver=options.name)
        self._intake: Intake | None = None
        self._ready = asyncio.Event()
        self._current: Interview | None = None
        self._recorders: list[StreamRecorder] = []
        self._changed = asyncio.Event()
        self._acting, self._idle = asyncio.Lock(), asyncio.Event()
        self._idle.set()
        self._unread: list[str] = []
        self._unheeded: tuple[float, Notice] | None = None
        self._holder = Holder(self._device, options.rescan, self._log, self._now)

    # -- the life of the driver ---------------------------------------------------------------------------------------

    async def run(self, intake: Intake, /) -> None:
        """Record whenever it is asked for, until cancelled; what is recorded then goes on at the next start."""
        await asyncio.to_thread(durable.make_folder, self._options.folder)
        await self._find()
        self._intake = intake = Unhurried(intake)  # whatever the disk does: a room goes on, and ends
        self._ready.set()
        try:
            await intake.sight(self._device)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._staying(intake))
                group.create_task(self._holder.run(intake))
                group.create_task(self._buttons.run())
                if self._hours:
                    group.create_task(self._keeping_hours())
                while True:
                    if (interview := self._current) is None:
                        self._changed.clear()
                        await self._changed.wait()
                    else:
                        await self._record(interview, intake)
        finally:
            self._intake = None
            self._ready.clear()

    async def _find(self) -> None:
        """What an earlier run left: at most one interview goes on, and the others are held to their end."""
        found, self._unread = await asyncio.to_thread(found_in, self._options.folder)
        self._holder.waiting = []
        for interview in found:
            if interview.ended_at is None and self._current is None:
                self._current = interview
                self._idle.clear()
                for name in interview.tracks:
                    at = await asyncio.to_thread(interview.reached, name)
                    interview.gap_begins(name, at, "the station was not running")
            else:
                self._holder.waiting.append(interview)

    def _now(self) -> tuple[Interview | None, list[StreamRecorder]]:
        """What is recorded at this moment, and by whom."""
        return self._current, self._recorders

    async def _record(self, interview: Interview, intake: Intake) -> None:
        """Record all streams until the interview ends."""
        recorders = [
            StreamRecorder(self._options, stream, interview, self._device.id, self._holder.look.set)
            for stream in self._options.stream
            if stream.name in interview.tracks
        ]
        self._recorders = recorders
        tasks = [asyncio.create_task(one.run(intake)) for one in recorders]
        ended = asyncio.create_task(self._until_ended(interview))
        try:
            await asyncio.wait({ended, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ended, *tasks):
                task.cancel()
            await _settled({ended, *tasks})
            self._recorders = []
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        self._holder.waiting.append(interview)
        self._current = None
        self._idle.set()
        self._holder.look.set()

    async def _until_ended(self, interview: Interview) -> None:
        while interview.ended_at is None:
            self._changed.clear()
            await self._changed.wait()

    async def _staying(self, intake: Intake) -> None:
        while True:
            await intake.sight(self._device)
            await asyncio.sleep(_STAY)

    # -- orders -------------------------------------------------------------------------------------------------------

    async def order(self, word: str, arguments: Mapping[str, Json], /, *, actor: str, record: Record) -> Json:
        """See `agent.driver.TakesOrders`: `start`, `stop`, `mark`, `status`."""
        note = arguments.get("note", "")
        if not isinstance(note, str) or len(note) > _NOTE_MAX or set(arguments) - {"note"}:
            raise Refusal(f"an interview takes a `note` of at most {_NOTE_MAX} characters, and nothing else")
        note = printable(note).replace("%25", "%")
        with suppress(TimeoutError):
            async with asyncio.timeout(_STARTING):
                await self._ready.wait()
        self._here()
        match word:
            case "start":
                if self._current is not None:
                    raise Refusal(
                        f"{self._current.id} is being recorded in this room", hint="End it first: evidock room stop."
                    )
                await asyncio.to_thread(version_of)  # without ffmpeg nothing begins, and nothing is written down
                await record({"note": note, "room": self._room})
                await self.start(actor, note)
                await self._be_sure()
            case "stop":
                interview = self._running()
                with suppress(JournalFull):  # `stop` tells it as well, when there is room
                    await record({"interview": interview.id, "note": note, "room": self._room})
                await self.stop(actor, note)
                await self._finished()
            case "mark":
                interview = self._running()
                await record({"interview": interview.id, "note": note, "room": self._room})
                await self.mark(actor, note)
            case "status":
                pass
            case _:
                raise Refusal(f"a room knows start, stop, mark and status, and not {printable(word)[:40]}")
        return self.status()

    def _running(self) -> Interview:
        if self._current is None or self._current.ended_at is not None:
            raise Refusal("no interview is being recorded in this room", hint="Begin one: evidock room start.")
        return self._current

    @property
    def _room(self) -> str:
        return self._options.room or self._options.name

    @asynccontextmanager
    async def _turn(self, at: float | None) -> AsyncIterator[Intake]:
        """One act at a time; one that was asked for too long ago is none any more. `at`: when, by `buttons.now`."""
        at = now() if at is None else at
        async with self._acting:
            late(at)
            yield self._here()
            self._unheeded = None

    async def start(self, by: str, note: str = "", *, at: float | None = None) -> None:
        """Begin an interview; where one goes on already, nothing happens. It stands on the disk when this returns."""
        async with self._turn(at) as intake:
            if self._current is not None and self._current.ended_at is not None:
                await self._finished()  # the one before still ends
            if self._current is not None:
                return
            options = self._options
            streams = {one.name: one.url for one in options.stream}
            version = await asyncio.to_thread(version_of)
            words = command(options.stream[0], 1, seconds=options.segment, container=options.container, source="LIST")
            # In one step: an interview that stands on the disk and was refused all the same would begin at a restart.
            interview = await asyncio.to_thread(
                Interview.begin, options.folder, room=self._room, recorder=options.recorder, by=by, note=note,
                container=options.container, streams=streams,
                made_with={"program": version, "command": " ".join(words)},
            )  # fmt: skip
            self._current = interview
            self._idle.clear()
            self._changed.set()
            self._holder.look.set()
            await self._tell(intake, "room.started", interview, by, note)

    async def stop(self, by: str, note: str = "", *, at: float | None = None) -> None:
        """End it; where none goes on, nothing happens."""
        async with self._turn(at) as intake:
            interview = self._current
            if interview is None or interview.ended_at is not None:
                return
            interview.ended_at, interview.ended_by = rfc3339(datetime.now(UTC)), by
            if note:
                interview.marks.append({"at": interview.ended_at, "by": by, "note": note})
            try:
                # Whatever the disk does: the room is not recorded any longer. The log has it, and the notes will.
                with suppress(DeviceGone):
                    await interview.save()
            finally:
                self._changed.set()
            await self._tell(intake, "room.stopped", interview, by, note)

    async def mark(self, by: str, note: str = "", *, at: float | None = None) -> None:
        """Note that something was said or happened at this moment."""
        async with self._turn(at) as intake:
            interview = self._current
            if interview is None or interview.ended_at is not None:
                return
            if len(interview.marks) >= MARKS_MAX:
                raise Refusal(f"an interview takes {MARKS_MAX} marks")
            interview.marks.append({"at": rfc3339(datetime.now(UTC)), "by": by, "note": note})
            try:
                await interview.save()
            except DeviceGone:
                interview.marks.pop()  # whoever asked is told so, and asks again
                raise
            await self._tell(intake, "room.marked", interview, by, note)

    def _here(self) -> Intake:
        if self._intake is None:
            hint = "Look at the service's journal: journalctl -u evidock EVIDOCK_EVENT=driver_failed."
            raise DeviceGone("the driver of this room is not running", hint=hint)
        return self._intake

    async def _tell(self, intake: Intake, kind: str, interview: Interview, by: str, note: str) -> None:
        detail: dict[str, Json] = {"by": by, "interview": interview.id, "note": note, "room": self._room}
        detail["time"] = {"source": "station"}
        await intake.observe(Observation(self._device.id, kind, datetime.now(UTC), detail))
        self._log.info("room_told", what=kind, interview=interview.id, by=by)

    async def pressed(self, word: str, by: str, at: float, /) -> None:
        """See `buttons.Room`."""
        match word:
            case "start":
                await self.start(by, at=at)
            case "stop":
                await self.stop(by, at=at)
            case "toggle":
                await (self.stop if self._is_recording else self.start)(by, at=at)
            case _:
                await self.mark(by, at=at)

    async def unheeded(self, word: str, by: str, why: str, todo: str, /) -> None:
        """See `buttons.Room`."""
        if word in {"start", "stop"} and self._is_recording is (word == "start"):
            return  # it is as whoever pressed wanted it
        self._log.warning("room_button_failed", word=word, by=by, error=why, todo=todo)
        detail = f"somebody pressed {word} ({by}), and it was not done: {why}"
        self._unheeded = now(), Notice("room.unheeded", "problem", f"room {self._room}", detail, todo)
        if (intake := self._intake) is not None:
            told: dict[str, Json] = {"asked": word, "by": by, "room": self._room, "why": why[:_NOTE_MAX]}
            await intake.observe(Observation(self._device.id, "room.unheeded", datetime.now(UTC), told))

    @property
    def _is_recording(self) -> bool:
        return self._current is not None and self._current.ended_at is None

    def heard(self, observation: Observation, /) -> None:
        """See `agent.driver.HearsObservations`: a switch that another driver observes."""
        self._buttons.heard(observation)

    async def _finished(self) -> None:
        """Wait until an interview that was ended is written to its end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SURE):
                await self._idle.wait()

    async def _be_sure(self) -> None:
        """Wait a little until it is known of every stream whether frames come."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SURE):
                while not self._recorders:  # noqa: ASYNC110 - they are made by the driver's own task in a moment
                    await asyncio.sleep(0.02)
                for one in self._recorders:
                    await one.settled.wait()

    async def _keeping_hours(self) -> None:
        """Start when the hours begin and stop when they end; between, a person's word counts."""
        was: bool | None = None
        while True:
            now = any(one.open_at(datetime.now(self._zone)) for one in self._hours)
            try:
                if now and not was:
                    await self.start("schedule")
                elif was and not now and self._current is not None and self._current.began_by == "schedule":
                    await self.stop("schedule")  # what a person began, a person ends
                was = now
            except AgentError as error:
                self._log.warning("room_button_failed", word="schedule", error=str(error), todo=error.what_to_do)
            await asyncio.sleep(_SCHEDULE)

    # -- for people ---------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Json]:
        """What goes on in the room."""
        interview = self._current
        told: dict[str, Json] = {
            "interview": None if interview is None else interview.id,
            "recorder": self._options.recorder,
            "room": self._room,
            "since": None if interview is None else interview.began_at,
            "started_by": None if interview is None else interview.began_by,
            "to_be_held": len(self._holder.waiting),
        }
        streams: dict[str, Json] = {}
        for one in self._recorders:
            if interview is not None:
                track = interview.tracks[one.stream_name]
                streams[one.stream_name] = {
                    "gaps": len(track.gaps),
                    "held": len(track.segments),
                    "state": one.state,
                }
        told["streams"] = streams
        return told

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        if self._current is None:
            return {self._room: "nothing is recorded"}
        states = {f"{self._room} {one.stream_name}": one.state for one in self._recorders}
        return {self._room: f"records {self._current.id} since {self._current.began_at}", **states}

    def notices(self) -> list[Notice]:
        """See `agent.driver.RaisesNotices`."""
        what, found = f"room {self._room}", list[Notice]()
        for one in self._recorders:
            if one.state.startswith("no stream"):
                found.append(Notice("room.no_stream", "problem", f"{what} {one.stream_name}", one.state, _STREAM_TODO))
        if self._current is not None and datetime.now(UTC) - self._current.began > timedelta(hours=self._options.long):
            detail = f"{self._current.id} goes on since {self._current.began_at}"
            todo = "If the interview is over: evidock room stop."
            found.append(Notice("room.long", "warning", what, detail, todo))
        if (refused := self._holder.refused) is not None:
            detail = f"what was recorded cannot be held: {refused}"
            todo = "Make room for the spool, and look at the disk; what was recorded waits, and is held then."
            found.append(Notice("room.not_held", "problem", what, detail, todo))
        if self._unread:
            todo = "Move the folder that is named elsewhere, keep it, and look at its segments by hand."
            found.append(Notice("room.unread", "problem", what, "; ".join(self._unread[:3]), todo))
        if self._unheeded is not None and now() - self._unheeded[0] < self._options.long * 3600:
            found.append(self._unheeded[1])
        if (trouble := self._buttons.trouble) is not None:
            todo = "Look at the broker and at [driver.mqtt]; until then: evidock room start."
            found.append(Notice("room.button", "warning", what, trouble, todo))
        return found


async def _settled(tasks: set[asyncio.Task[None]]) -> None:
    """Wait until all of them have ended, whoever is cancelled meanwhile: each has a program to bring to its end."""
    waiting = asyncio.ensure_future(asyncio.wait(tasks))
    cancelled = False
    while not waiting.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
