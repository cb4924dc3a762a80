"""Who is docked: each coming and going is an entry, and at each coming the device's clock is compared with ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import Device, Json, Observation, rfc3339
from agent.clock import Clock, compare
from agent.driver import INDEX, ReadsClock
from agent.errors import DeviceError
from agent.journal import Desk, Event, facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.driver import Driver

__all__ = ["GONE_AFTER", "Presence", "Sighting"]

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


class Presence:
    """The devices of one station."""

    def __init__(self, desk: Desk, clock: Clock, drivers: Mapping[str, Driver]) -> None:
        self._desk, self._clock, self._drivers = desk, clock, dict(drivers)
        self._log = structlog.get_logger("presence")
        self.devices: dict[str, Sighting] = {}
        self._indexes: dict[str, Mapping[str, Json]] = {}

    def serve(self, drivers: Mapping[str, Driver]) -> None:
        """These are the drivers from now on."""
        self._drivers = dict(drivers)

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
        if not isinstance(driver, ReadsClock):
            return
        before = self._clock.stamp()
        try:
            reading = await driver.read_clock(device)
        except DeviceError as error:
            self._log.warning("clock_not_read", device=device.id, error=str(error), todo=error.what_to_do)
            return
        found = compare(before, reading, self._clock.stamp())
        await self._keep(Observation(device.id, "clock.compared", reading.at, found.claims))
