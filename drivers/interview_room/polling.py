"""A camera or recorder with a list that is asked again and again: in what rhythm, and what is told of it meanwhile."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation when the program runs
from typing import TYPE_CHECKING, Annotated, Final

import structlog
from pydantic import Field

from agent.capture import rfc3339
from agent.driver import ClockReading, Notice, offer_all, reckoning
from agent.errors import DeviceError, DeviceGone
from drivers.interview_room.room import RoomOptions
from drivers.interview_room.rounds import Rounds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from agent.capture import Device
    from agent.driver import Intake, Readable
    from drivers.interview_room.rounds import Grid

__all__ = ["BYTES_A_SECOND", "FORGETS", "PolledOptions", "Polling"]

FORGETS: Final = "overwrites its oldest recordings by itself"

BYTES_A_SECOND: Final = 32 << 20
"""More than any camera has for a second of picture and sound: what goes beyond it comes to no end."""
_STAY: Final = 5.0
"""Seconds between two sights of a camera that answered."""


class PolledOptions(RoomOptions):
    """What the `[[driver]]` tables of cameras with a list of their recordings have in common."""

    url: Annotated[str, Field(max_length=512, pattern=r"^https?://[!-~]+$")]
    """Of the camera or recorder, without user and password."""
    user: Annotated[str, Field(min_length=1, max_length=128)]
    password_file: Path
    """Read at each look, so it may be renewed."""
    ca_file: Path | None = None
    """With `https`: PEM of the authority of its certificate. Left out: those of the system."""
    slice: Annotated[float, Field(ge=1, le=240)] = 10.0
    """Minutes of one capture: a longer recording is taken in several."""
    rescan: Annotated[float, Field(ge=0.05, le=86400)] = 60.0
    """Seconds between two looks at the list."""
    answer: Annotated[float, Field(ge=1, le=600)] = 30.0
    """Seconds in which it must answer, and for which a transfer may stand still."""


class Polling:
    """The rounds of one driver. Its `health`, `notices` and `read_clock` are the driver's."""

    def __init__(self, options: PolledOptions, device: Device) -> None:
        self._options, self._device = options, device
        self._log = structlog.get_logger("driver").bind(driver=options.name)
        self._trouble: DeviceError | None = None
        self._ahead: timedelta | None = None
        self._sums = ""
        self._unlisted = 0
        self._rounds, self._long = Rounds(), False
        self._answered_at: float | None = None

    async def run(self, look: Callable[[], Awaitable[None]], intake: Intake) -> None:
        """Look, rest for as long as its list took to come, and look again, until cancelled.

        What is taken then does not count: who copied for a day must not be blind for another one; cameras overwrite.
        """
        while True:
            began, self._answered_at = time.monotonic(), None
            try:
                await look()
            except DeviceError as error:
                if self._trouble is None or str(self._trouble) != str(error):
                    self._log.warning("camera_not_asked", error=str(error), todo=error.what_to_do)
                self._trouble = error
            rest = max(self._options.rescan, (self._answered_at or time.monotonic()) - began)
            for _ in range(int(rest // _STAY)):
                if self._trouble is None:
                    await intake.sight(self._device)
                await asyncio.sleep(_STAY)
            await asyncio.sleep(rest % _STAY)

    async def answered(self, intake: Intake, ahead: timedelta | None, *, unlisted: int) -> datetime:
        """It gave its list, but for so many; what its clock, which is `ahead` of ours, shows now."""
        self._ahead, self._unlisted, self._answered_at = ahead, unlisted, time.monotonic()
        if self._trouble is not None:
            self._log.info("camera_asked", device=self._device.id)
            self._trouble = None
        await intake.sight(self._device)
        return datetime.now(UTC) + (ahead or timedelta())

    def round(self, grids: Sequence[Grid]) -> Iterator[tuple[int, range]]:
        """What this look offers: (index of a recording, numbers of its slices)."""
        total = sum(one.count for one in grids)
        at_once = self._rounds.at_once
        if total > at_once and not self._long:
            began_at = rfc3339(max(grids, key=lambda one: one.count).begins)
            self._log.warning(
                "camera_in_rounds", device=self._device.id, captures=total, at_once=at_once, longest_began_at=began_at
            )
        self._long = total > at_once
        return self._rounds.next(grids)

    async def offer(
        self, intake: Intake, offers: Sequence[Readable], grids: Sequence[Grid], *, in_flight: int, complete: bool
    ) -> None:
        """Offer what it has; it is here for as long as it is read. `complete`: no recording of it goes on."""
        staying = asyncio.create_task(self._stay(intake))
        try:
            standings = await offer_all(intake, offers, in_flight=in_flight)
        finally:
            staying.cancel()
        sums = reckoning.counted(len(offers), 0, standings, complete=complete and not self._long and not self._unlisted)
        total = sum(one.count for one in grids)
        of = f" of the {len(offers)} of this round" if self._long else ""
        self._sums = f"{len(grids)} recordings in {total} captures, {sums['safe']}{of} safe"
        await intake.observe(reckoning.observation(self._device.id, sums))

    async def _stay(self, intake: Intake) -> None:
        while True:
            await asyncio.sleep(_STAY)
            await intake.sight(self._device)

    # -- for people ---------------------------------------------------------------------------------------------------

    def clock(self, device: Device) -> ClockReading:
        """See `agent.driver.ReadsClock`: by its last answer."""
        if self._ahead is None or device.id != self._device.id:
            raise DeviceGone(f"{self._device.id} has not told its time")
        return ClockReading(datetime.now(UTC) + self._ahead, timedelta(seconds=1))

    def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        return {self._options.url: self._sums or "not asked yet" if self._trouble is None else str(self._trouble)}

    def notices(self) -> list[Notice]:
        """See `agent.driver.RaisesNotices`."""
        what = f"room {self._options.name}"
        if self._trouble is not None:
            return [Notice("room.camera_away", "problem", what, str(self._trouble), self._trouble.what_to_do)]
        if self._unlisted:
            detail = f"it has {self._unlisted} recordings more than are read of one camera: these are not taken"
            todo = "Have old recordings deleted on the camera that are safe here; or give each of its disks a table."
            return [Notice("room.list_too_long", "problem", what, detail, todo)]
        return []
