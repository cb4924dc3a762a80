"""The driver: asks the camera what it has recorded, and offers every slice, again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.capture import Capture, Priority
from agent.errors import DeviceGone
from drivers.interview_room.polling import FORGETS, Polling
from drivers.interview_room.room import device_of
from drivers.interview_room.vapix.camera import Camera
from drivers.interview_room.vapix.options import VapixOptions
from drivers.interview_room.vapix.slices import Slice, grid, slices
from firmware_specs.formats.matroska_reach import Reach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.capture import Device, Json
    from agent.driver import ClockReading, Intake, Notice

__all__ = ["Vapix"]

_IN_FLIGHT: Final = 2
"""Exports at once: a camera has a slow processor, and records beside it."""
_SHORT: Final = timedelta(seconds=10)
"""By so much an export may end before what was asked for: the last group of pictures."""
_TYPES: Final = {"matroska": "video/x-matroska", "mp4": "video/mp4"}


class Export:
    """An offer of one slice. It has no `release`: nothing is ever deleted on a camera."""

    def __init__(self, device: Device, one: Slice, camera: Camera, options: VapixOptions, members: int) -> None:
        self._slice, self._camera, self._options = one, camera, options
        self.capture = described(device, one, options, members)

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
        async for block in self._camera.export(wanted, offset, self._slice.ends - self._slice.begins):
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
        self._polling = Polling(options, self._device)

    async def run(self, intake: Intake, /) -> None:
        """Offer everything that can be taken, again and again, until cancelled."""

        async def look() -> None:
            async with Camera(self._options) as camera:
                await self._look(camera, intake)

        await self._polling.run(look, intake)

    async def _look(self, camera: Camera, intake: Intake) -> None:
        recordings = await camera.recordings()
        now = await self._polling.answered(intake, camera.ahead, unlisted=camera.unlisted)
        length = timedelta(minutes=self._options.slice)
        grids = [grid(one, length, now) for one in recordings]
        offers = [
            Export(self._device, one, camera, self._options, grids[index].members)
            for index, numbers in self._polling.round(grids)
            for one in slices(recordings[index], grids[index], numbers)
        ]
        # A recording that goes on has an end that is not offered yet: then the list is not all that there is.
        complete = all(one.status == "completed" for one in recordings)
        await self._polling.offer(intake, offers, grids, in_flight=_IN_FLIGHT, complete=complete)

    async def read_clock(self, device: Device, /) -> ClockReading:
        """See `agent.driver.ReadsClock`: the `Date` of the camera's last answer."""
        return self._polling.clock(device)

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        return self._polling.health()

    def notices(self) -> list[Notice]:
        """See `agent.driver.RaisesNotices`."""
        return self._polling.notices()


def described(device: Device, one: Slice, options: VapixOptions, members: int) -> Capture:
    """The capture as the camera's list tells it. `members`: slices of its recording; 0 while it goes on."""
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
        members=members,
        clip=one.number,
        priority=Priority.INTERVIEW,
        forgets=FORGETS,
        claims=claims,
    )


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
