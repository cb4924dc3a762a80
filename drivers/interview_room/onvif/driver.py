"""The driver: searches a recorder, and offers every slice of every recording, replayed and written by ffmpeg."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from agent.capture import Capture, Observation, Priority, rfc3339
from agent.driver import BLOCK_LENGTH
from agent.errors import CannotResume, DeviceGone, DeviceRefused, in_words
from drivers.interview_room.onvif.device import Found, Recorder
from drivers.interview_room.onvif.options import OnvifOptions
from drivers.interview_room.onvif.relay import Relay
from drivers.interview_room.onvif.rtsp import Login
from drivers.interview_room.polling import FORGETS, Polling
from drivers.interview_room.room import device_of
from drivers.interview_room.rounds import Grid
from drivers.interview_room.times import later

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agent.capture import Device, Json
    from agent.driver import ClockReading, Intake, Notice

__all__ = ["OnvifRecorder", "grid", "slices"]

_SETTLED: Final = timedelta(minutes=1)
_GAPS_TOLD: Final = 100


class Slice(NamedTuple):
    """One replay."""

    found: Found
    number: int | None
    begins: datetime
    ends: datetime | None
    """None: to the end of the recording."""
    short: int | None = None
    """Its seconds, where it is the end of a recording: a recorder may record on under the same token."""

    @property
    def key(self) -> str:
        """The capture's name."""
        name = self.found.token if self.number is None else f"{self.found.token}/{self.number:05}"
        return name if self.short is None else f"{name}-{self.short}s"


def ended(found: Found) -> bool:
    """Whether nothing is added to it any more."""
    return found.status == "Stopped" and found.ended_at is not None


def grid(found: Found, length: timedelta, now: datetime, begins: datetime | None = None) -> Grid:
    """What of a recording can be taken; `now` by the recorder's clock. `begins`: where it began once."""
    stopped, begins = ended(found), begins or found.began_at
    ends = found.ended_at if stopped and found.ended_at is not None else now - _SETTLED
    return Grid(begins, ends, length, stopped, (found.began_at - begins) // length)


def slices(found: Found, of: Grid, numbers: range) -> Iterator[Slice]:
    """Those slices of it; one that is short is replayed to its end, wherever that is."""
    for number in numbers:
        if of.single:
            yield Slice(found, None, of.begins, None, of.short(number))
        else:
            yield Slice(found, number, *of.at(number), of.short(number))


class Replay:
    """An offer of one slice. It has no `release`: nothing is ever deleted on a recorder."""

    def __init__(
        self, device: Device, one: Slice, recorder: Recorder, options: OnvifOptions, intake: Intake, members: int
    ) -> None:
        self._device, self._slice, self._recorder, self._options = device, one, recorder, options
        self._intake = intake
        self.capture = described(device, one, recorder, members)

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The film. `DeviceGone` where the replay did not come to its end: silence alone is none."""
        if offset:
            raise CannotResume("a replay begins at its beginning")
        options, one = self._options, self._slice
        uri = await self._recorder.replay_uri(one.found.token)
        login = Login(options.user, self._recorder.password)
        # A recording may be a little longer than the search says, and not by more than a slice.
        latest = later(one.found.ended_at or one.begins, timedelta(minutes=options.slice))
        async with Relay(uri, login, one.begins, one.ends, answer=options.answer, latest=latest) as relay:
            process = await _ffmpeg(relay.url)
            try:
                async for block in _blocks(process):
                    yield block
                await process.wait()
            finally:
                await _end(process)
            if relay.trouble is not None:
                raise relay.trouble
            if not relay.seen.packets or not (relay.seen.ended or relay.reached):
                hint = "Nothing to do: it is replayed again."
                raise DeviceGone(f"{self.capture.key}: the replay broke off", hint=hint)
            if process.returncode != 0:
                raise DeviceRefused(f"{self.capture.key}: ffmpeg cannot write what the recorder replays")
            await self._tell(relay)

    async def _tell(self, relay: Relay) -> None:
        """Gaps are told as gaps: what was not recorded is no loss of ours."""
        seen = relay.seen
        detail: dict[str, Json] = {
            "asked": {
                "from": rfc3339(self._slice.begins),
                "to": None if (ends := self._slice.ends or self._slice.found.ended_at) is None else rfc3339(ends),
            },
            "capture": self.capture.key,
            "first": None if seen.first is None else rfc3339(seen.first),
            "gaps": [{"from": rfc3339(a), "to": rfc3339(b)} for a, b in seen.gaps[:_GAPS_TOLD]],
            "gaps_counted": len(seen.gaps),
            "last": None if seen.latest is None else rfc3339(seen.latest),
            "packets": seen.packets,
            "packets_missing": seen.lost,
        }
        at = seen.first or self._slice.begins
        await self._intake.observe(Observation(self._device.id, "room.replayed", at, detail))


class OnvifRecorder:
    """A recorder of ONVIF Profile G. See `Options`."""

    class Options(OnvifOptions):
        """The `[[driver]]` table with `use = "interview_room.onvif"`."""

    def __init__(self, options: Options, *, offer: type[Replay] = Replay) -> None:
        self._options, self._offer = options, offer
        self._device = device_of(options, place=options.url)
        self._polling = Polling(options, self._device)
        self._begins: dict[str, datetime] = {}
        """Where each recording began when it was first seen. A recorder that overwrites the oldest minutes of one tells
        a later beginning each time, and slices that moved with it would each be another capture."""

    async def run(self, intake: Intake, /) -> None:
        """Offer everything that can be taken, again and again, until cancelled."""

        async def look() -> None:
            async with Recorder(self._options) as recorder:
                await self._look(recorder, intake)

        await self._polling.run(look, intake)

    async def _look(self, recorder: Recorder, intake: Intake) -> None:
        await recorder.greet()
        recordings = await recorder.recordings()
        now = await self._polling.answered(intake, recorder.ahead, unlisted=recorder.unlisted)
        length = timedelta(minutes=self._options.slice)
        known = self._begins
        self._begins = {one.token: min(one.began_at, known.get(one.token, one.began_at)) for one in recordings}
        grids = [grid(one, length, now, self._begins[one.token]) for one in recordings]
        offers = [
            self._offer(self._device, one, recorder, self._options, intake, grids[index].members)
            for index, numbers in self._polling.round(grids)
            for one in slices(recordings[index], grids[index], numbers)
        ]
        complete = all(one.status == "Stopped" for one in recordings)
        await self._polling.offer(intake, offers, grids, in_flight=1, complete=complete)

    async def read_clock(self, device: Device, /) -> ClockReading:
        """See `agent.driver.ReadsClock`."""
        return self._polling.clock(device)

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        return self._polling.health()

    def notices(self) -> list[Notice]:
        """See `agent.driver.RaisesNotices`."""
        return self._polling.notices()


def described(device: Device, one: Slice, recorder: Recorder, members: int) -> Capture:
    """The capture as the search tells it. `members`: slices of its recording; 0 while it goes on."""
    claims: dict[str, Json] = {
        "replay": {
            "ends": None if one.ends is None else rfc3339(one.ends),
            "made_by": "this station, of what the recorder replays: it is not the recorder's file",
            "slice": one.number,
        },
        "recorder": dict(recorder.words),
        "recording": {**one.found.words, "status": one.found.status, "token": one.found.token},
    }
    return Capture(
        device=device,
        key=one.key,
        began_at=one.begins,
        media_type="video/quicktime",
        group=one.found.token,
        members=members,
        clip=one.number,
        priority=Priority.INTERVIEW,
        forgets=FORGETS,
        claims=claims,
    )


async def _ffmpeg(url: str) -> asyncio.subprocess.Process:
    """Copies what comes, and encodes nothing."""
    words = ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-protocol_whitelist", "tcp,rtp,pipe"]
    words += ["-fflags", "+genpts", "-rtsp_transport", "tcp", "-i", url, "-map", "0:v", "-map", "0:a?", "-c", "copy"]
    words += ["-fflags", "+bitexact", "-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-f", "mov", "pipe:1"]
    try:
        return await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise DeviceRefused(
            f"ffmpeg cannot be started: {in_words(error)}", hint="Install it: apt install ffmpeg."
        ) from error


async def _blocks(process: asyncio.subprocess.Process) -> AsyncIterator[bytes]:
    if process.stdout is not None:
        while block := await process.stdout.read(BLOCK_LENGTH):
            yield block


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
