"""The driver: asks the camera what it has recorded, and offers every slice, again and again."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import Capture, Priority
from agent.driver import ClockReading, Notice, offer_all, reckoning
from agent.errors import DeviceError, DeviceGone
from drivers.interview_room.room import device_of
from drivers.interview_room.vapix.camera import Camera
from drivers.interview_room.vapix.options import VapixOptions
from drivers.interview_room.vapix.slices import Slice, slices
from firmware_specs.formats.matroska_reach import Reach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.capture import Device, Json
    from agent.driver import Intake

__all__ = ["Vapix"]

_STAY: Final = 5.0
_IN_FLIGHT: Final = 2
"""Exports at once: a camera has a slow processor, and records beside it."""
_SHORT: Final = timedelta(seconds=10)
"""By so much an export may end before what was asked for: the last group of pictures."""
_TYPES: Final = {"matroska": "video/x-matroska", "mp4": "video/mp4"}
_FORGETS: Final = "overwrites its oldest recordings by itself"


class Export:
    """An offer of one slice. It has no `release`: nothing is ever deleted on a camera."""

    def __init__(self, device: Device, one: Slice, camera: Camera, options: VapixOptions) -> None:
        self._slice, self._camera, self._options = one, camera, options
        self.capture = described(device, one, options)

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The export from `offset` on.

        A cut HTTP/1.0 answer ends as if it were whole. So it is looked at how far the film reaches: one that ends early
        is `DeviceGone`, and taken anew. Two exports of a recording need not be the same bytes: what was continued is
        compared by the agent where it overlaps.
        """
        wanted = self._wanted()
        if self._slice.number is not None:
            # The camera begins at the key frame before: asked first, so that the export says what it is of.
            told = await self._camera.properties(wanted)
            wanted |= {"starttime": _utc(told.began_at), "stoptime": _utc(told.ended_at)}
        reach = Reach() if not offset and self._options.format == "matroska" else None
        async for block in self._camera.export(wanted, offset):
            if reach is not None:
                reach.feed(block)
            yield block
        if reach is not None:
            self._check(reach)

    def _check(self, reach: Reach) -> None:
        wanted = self._slice.ends - self._slice.begins
        if not reach.matroska or not reach.began:
            raise DeviceGone(f"{self.capture.key}: what the camera exported is no Matroska film")
        slack = max(_SHORT, wanted / 10)
        if reach.inside or (reach.seconds is not None and timedelta(seconds=reach.seconds) < wanted - slack):
            seconds = 0.0 if reach.seconds is None else reach.seconds
            raise DeviceGone(
                f"{self.capture.key}: the export breaks off at {seconds:.0f} s of {wanted.total_seconds():.0f} s",
                hint="Nothing to do: it is exported again. If it stays so, look at the camera's storage.",
            )

    def _wanted(self) -> dict[str, str]:
        one = self._slice
        wanted = {"schemaversion": "1", "recordingid": one.recording.id, "exportformat": self._options.format}
        if one.recording.disk:
            wanted["diskid"] = one.recording.disk
        if one.number is not None:
            wanted |= {"starttime": _utc(one.begins), "stoptime": _utc(one.ends)}
        return wanted


class Vapix:
    """An Axis camera or recorder with edge storage. See `Options`."""

    class Options(VapixOptions):
        """The `[[driver]]` table with `use = "interview_room.vapix"`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._device = device_of(options, maker="Axis", place=options.url)
        self._log = structlog.get_logger("driver").bind(driver=options.name)
        self._trouble: DeviceError | None = None
        self._ahead: timedelta | None = None
        self._sums = ""

    async def run(self, intake: Intake, /) -> None:
        """Offer everything that can be taken, again and again, until cancelled."""
        while True:
            began = time.monotonic()
            try:
                async with Camera(self._options) as camera:
                    await self._look(camera, intake)
            except DeviceError as error:
                if self._trouble is None or str(self._trouble) != str(error):
                    self._log.warning("camera_not_asked", error=str(error), todo=error.what_to_do)
                self._trouble = error
            rest = max(self._options.rescan, time.monotonic() - began)
            for _ in range(int(rest // _STAY)):
                if self._trouble is None:
                    await intake.sight(self._device)
                await asyncio.sleep(_STAY)
            await asyncio.sleep(rest % _STAY)

    async def _look(self, camera: Camera, intake: Intake) -> None:
        recordings = await camera.recordings()
        self._ahead = camera.ahead
        if self._trouble is not None:
            self._log.info("camera_asked", device=self._device.id)
            self._trouble = None
        await intake.sight(self._device)
        now = datetime.now(UTC) + (camera.ahead or timedelta())
        length = timedelta(minutes=self._options.slice)
        offers = [
            Export(self._device, one, camera, self._options)
            for recording in recordings
            for one in slices(recording, length, now)
        ]
        staying = asyncio.create_task(self._stay(intake))
        try:
            standings = await offer_all(intake, offers, in_flight=_IN_FLIGHT)
        finally:
            staying.cancel()
        # A recording that goes on has an end that is not offered yet: then the list is not all that there is.
        complete = all(one.status == "completed" for one in recordings)
        sums = reckoning.counted(len(offers), 0, standings, complete=complete)
        self._sums = f"{len(recordings)} recordings in {len(offers)} exports, {sums['safe']} safe"
        await intake.observe(reckoning.observation(self._device.id, sums))

    async def _stay(self, intake: Intake) -> None:
        while True:
            await asyncio.sleep(_STAY)
            await intake.sight(self._device)

    async def read_clock(self, device: Device, /) -> ClockReading:
        """See `agent.driver.ReadsClock`: the `Date` of the camera's last answer."""
        if self._ahead is None or device.id != self._device.id:
            raise DeviceGone("the camera has not told its time")
        return ClockReading(datetime.now(UTC) + self._ahead, timedelta(seconds=1))

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        return {self._options.url: self._sums or "not asked yet" if self._trouble is None else str(self._trouble)}

    def notices(self) -> list[Notice]:
        """See `agent.driver.RaisesNotices`."""
        if self._trouble is None:
            return []
        what = f"room {self._options.name}"
        return [Notice("room.camera_away", "problem", what, str(self._trouble), self._trouble.what_to_do)]


def described(device: Device, one: Slice, options: VapixOptions) -> Capture:
    """The capture as the camera's list tells it."""
    recording = one.recording
    claims: dict[str, Json] = {
        "export": {
            "ends": _utc(one.ends),
            "format": options.format,
            "made_by": "the camera, when it was asked: another export of the same recording has other bytes",
            "slice": one.number,
        },
        "recording": {name: word[:200] for name, word in sorted(recording.words.items())[:40]},
    }
    return Capture(
        device=device,
        key=one.key,
        began_at=one.begins,
        media_type=_TYPES[options.format],
        group=recording.id,
        clip=one.number,
        priority=Priority.INTERVIEW,
        forgets=_FORGETS,
        claims=claims,
    )


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
