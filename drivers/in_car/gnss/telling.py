"""Fixes become observations: positions at most so often, and each coming and going of the fix."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from agent.capture import Device, Observation, printable, rfc3339
from agent.clock import Clock
from agent.driver import DriverOptions
from drivers.in_car.gnss.timing import TimeJudge

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from agent.capture import Json, Stamp
    from agent.driver import Intake
    from drivers.in_car.gnss.fix import Fix

__all__ = ["GnssOptions", "Teller"]

SIGHT_SECONDS: Final = 5.0
"""Between two sights of a receiver that speaks."""
LOST_SECONDS: Final = 10.0
"""Without a fix after which it is lost: a bridge is not worth an entry."""


class GnssOptions(DriverOptions):
    """What both ways to a receiver have."""

    device: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")] | None = None
    """The receiver's id in the record; default `gnss:` and the name. Of several cars each its own."""
    every: Annotated[float, Field(ge=0, le=3600)] = 1.0
    """Seconds between two positions at least. 0: every one."""

    @property
    def device_id(self) -> str:
        """The id that observations bear."""
        return self.device or f"gnss:{self.name}"


class Teller:
    """Tells of one receiver as long as it is there."""

    def __init__(self, options: GnssOptions, intake: Intake, *, stamp: Callable[[], Stamp] | None = None) -> None:
        self._options, self._intake = options, intake
        self._stamp = stamp or Clock().stamp
        self._judge = TimeJudge(self._stamp)
        self._sighted: tuple[Device, float] | None = None
        self._last = -1e9
        self._fixed: tuple[int, str, str | None] | None = None
        self._receiver: str | None = None
        self._without_since: float | None = None
        self.state = "no fix yet"

    async def sight(self, device: Device) -> None:
        """It spoke, a moment ago."""
        now = _now()
        if self._sighted is None or self._sighted[0] != device or now - self._sighted[1] >= SIGHT_SECONDS:
            self._sighted = device, now
            await self._intake.sight(device)

    async def tell(self, fix: Fix, receiver: str | None = None) -> None:
        """Tell what is new in it. `receiver`: which one it is of, where there may be several."""
        if receiver != self._receiver:
            self._judge.lost()  # whether its time is right says nothing of another one's
            self._receiver = receiver
        if fix.dimensions:
            self._without_since = None
            self.state = f"{fix.dimensions}D fix, {fix.status}"
            await self._changed(fix.dimensions, fix.status)
            await self._position(fix)
            return
        self._judge.lost()
        self.state = "no fix" if fix.satellites is None else f"no fix, {fix.satellites} satellites"
        self._without_since = self._without_since or _now()
        if self._fixed is None or _now() - self._without_since >= LOST_SECONDS:
            await self._changed(0, "none")

    async def _changed(self, dimensions: int, status: str) -> None:
        if (fixed := (dimensions, status, self._receiver)) == self._fixed:
            return
        self._fixed = fixed
        detail: dict[str, Json] = {"fix": dimensions, "status": status}
        if self._receiver is not None:
            detail["receiver"] = printable(self._receiver)[:200]
        await self._intake.observe(Observation(self._options.device_id, "gnss.fix", self._stamp().at, detail))

    async def _position(self, fix: Fix) -> None:
        judged = self._judge.judge(fix.at)
        now = _now()
        # A tenth less: receivers and our clock do not count seconds alike.
        if now - self._last < self._options.every * 0.9:
            return
        self._last = now
        time: dict[str, Json] = {"source": judged.source}
        if judged.source != "gnss" and fix.at is not None:
            time["said"] = rfc3339(fix.at)
        if judged.rollover is not None:
            time["week_rollover"] = judged.rollover
        if judged.doubt is not None:
            time["doubt"] = judged.doubt
        detail: dict[str, Json] = {
            "basis": "gnss",
            "fix": fix.dimensions,
            "format": fix.format,
            "latitude": _told(fix.latitude),
            "longitude": _told(fix.longitude),
            "status": fix.status,
            "time": time,
        }
        if fix.satellites is not None:
            detail["satellites"] = fix.satellites
        told = {
            "accuracy_m": fix.accuracy,
            "altitude_m": fix.altitude,
            "course_deg": fix.track,
            "hdop": fix.hdop,
            "speed_mps": fix.speed,
        }
        detail |= {name: _told(value) for name, value in told.items() if value is not None}
        await self._intake.observe(Observation(self._options.device_id, "position", judged.at, detail))


def _told(value: Decimal | None) -> str | None:
    """A journal entry holds no fractions: they are written out."""
    return None if value is None else f"{value:f}"


def _now() -> float:
    return asyncio.get_running_loop().time()
