"""Who is docked: each coming and going is an entry, and at each coming the device's clock is compared with ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import Device, Json, Observation, rfc3339
from agent.clock import Clock, Comparison, compare
from agent.driver import INDEX, ReadsClock, SetsClock
from agent.errors import DeviceError
from agent.journal import Desk, Event, facts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from agent.config import Config
    from agent.driver import ClockReading, Driver

__all__ = ["GONE_AFTER", "Presence", "Sighting", "clocks_set"]

GONE_AFTER: Final = 15.0
"""Seconds without being sighted after which a device is taken to have left."""

_DEVICES_MAX: Final = 10_000


@dataclass(slots=True)
class Sighting:
    """A device as it was last seen, for whoever watches."""

    device: Device
    first_at: datetime
    last_at: datetime
    last_mono: float
    present: bool = True
    index: Mapping[str, Json] | None = None
    """The sum of the last whole look at it: what its own index lists, and how much of that is held."""
    clock: Mapping[str, Json] | None = None
    """How far its clock was off when it was compared, and whether it was set then."""


def clocks_set(config: Config) -> timedelta | None:
    """How far a device's clock may be off before it is set; None where the policy sets none."""
    return config.policy.clocks_differ if config.policy.clocks == "set" else None


class Presence:
    """The devices of one station."""

    def __init__(
        self, desk: Desk, clock: Clock, drivers: Mapping[str, Driver], *, sets_clocks: timedelta | None = None
    ) -> None:
        """`sets_clocks`: a device's clock that is off by more is set; None: none ever is."""
        self._desk, self._clock, self._drivers = desk, clock, dict(drivers)
        self._sets_clocks = sets_clocks
        self._log = structlog.get_logger("presence")
        self.devices: dict[str, Sighting] = {}
        self._indexes: dict[str, Mapping[str, Json]] = {}

    def serve(self, drivers: Mapping[str, Driver], *, sets_clocks: timedelta | None = None) -> None:
        """These are the drivers from now on."""
        self._drivers, self._sets_clocks = dict(drivers), sets_clocks

    async def sight(self, device: Device) -> bool:
        """Note that this device is here now. True: it was not a moment ago, or it says something else of itself now."""
        now, known = datetime.now(UTC), self.devices.get(device.id)
        if known is not None and known.present and known.device == device:
            known.last_at, known.last_mono = now, monotonic()
            return False
        first_at = now if known is None else known.first_at
        self.devices[device.id] = Sighting(device, first_at, now, monotonic())
        self._indexes.pop(device.id, None)
        while len(self.devices) > _DEVICES_MAX:
            oldest = next(iter(self.devices))
            del self.devices[oldest]
            self._indexes.pop(oldest, None)
        detail: dict[str, Json] = {"device": device.claims}
        await self._desk.write(lambda journal: journal.record(Event.DEVICE_ATTACHED, detail))
        self._log.info("device_attached", device=device.id, driver=device.driver, place=device.place)
        await self._compare_clock(device)
        return True

    async def observe(self, observation: Observation) -> bool:
        """The sum of a look becomes an entry where the last look had another. False: it is none, and not ours."""
        if observation.kind != INDEX:
            return False
        if self._indexes.get(observation.device) != observation.detail:
            if observation.device in self.devices:
                self._indexes[observation.device] = dict(observation.detail)
                self.devices[observation.device].index = dict(observation.detail)
            await self._keep(observation)
        return True

    async def _keep(self, observation: Observation) -> None:
        await self._desk.write(lambda journal: facts.keep(journal, observation))

    async def notice_gone(self) -> bool:
        """Call it every few seconds: what was not sighted for a while has left. True: it was the last one here."""
        left = False
        for sighting in list(self.devices.values()):
            if sighting.present and monotonic() - sighting.last_mono > GONE_AFTER:
                sighting.present = False
                detail: dict[str, Json] = {
                    "device": sighting.device.claims,
                    "last_seen_at": rfc3339(sighting.last_at),
                }
                await self._desk.write(lambda journal, told=detail: journal.record(Event.DEVICE_DETACHED, told))  # type: ignore[misc]
                self._log.info("device_detached", device=sighting.device.id)
                left = True
        return left and not any(sighting.present for sighting in self.devices.values())

    async def _compare_clock(self, device: Device) -> None:
        driver: object = self._drivers.get(device.driver)
        if not isinstance(driver, ReadsClock) or (found := await self._read(driver, device)) is None:
            return
        reading, off = found
        await self._keep(Observation(device.id, "clock.compared", reading.at, off.claims))
        self._note_clock(device, off)
        least = self._sets_clocks
        # A clock is set to one that is known to be right, or not at all.
        if isinstance(driver, SetsClock) and least is not None and off.ours.synchronised and abs(off.offset) > least:
            await self._set_clock(driver, device, off)

    async def _read(self, driver: ReadsClock, device: Device) -> tuple[ClockReading, Comparison] | None:
        before = self._clock.stamp()
        try:
            reading = await driver.read_clock(device)
        except DeviceError as error:
            self._log.warning("clock_not_read", device=device.id, error=str(error), todo=error.what_to_do)
            return None
        return reading, compare(before, reading, self._clock.stamp())

    async def _set_clock(self, driver: SetsClock, device: Device, off: Comparison) -> None:
        """Set it between two entries: one that says so before, and one with what the device says then.

        If power fails between them: the comparison stands, and the next docking compares anew.
        """
        await self._keep(Observation(device.id, "clock.to_be_set", off.ours.at, {"before": off.claims}))
        try:
            await driver.set_clock(device)
        except DeviceError as error:
            self._log.warning("clock_not_set", device=device.id, error=str(error), todo=error.what_to_do)
            return
        after = await self._read(driver, device) if isinstance(driver, ReadsClock) else None
        told: dict[str, Json] = {"after": None if after is None else after[1].claims, "before": off.claims}
        await self._keep(Observation(device.id, "clock.set", off.ours.at, told))
        self._log.info("clock_set", device=device.id, was_off=str(off.offset))
        if after is not None:
            self._note_clock(device, after[1], was=off)

    def _note_clock(self, device: Device, off: Comparison, was: Comparison | None = None) -> None:
        if (seen := self.devices.get(device.id)) is not None:
            seen.clock = {
                "at": rfc3339(off.ours.at),
                "offset_us": off.claims["offset_us"],
                "uncertainty_us": off.claims["uncertainty_us"],
                "was_off_us": None if was is None else was.claims["offset_us"],
            }
