"""Who is docked: each coming and going is an entry, and at each coming the device's clock is compared with ours.

Two devices can claim to be the same one: makers give a serial number twice, and one device can be reached in two ways.
Each is told of once, a notice asks a person to look, and until then what one of them shows says nothing of the other.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import Device, Json, Observation, rfc3339
from agent.clock import Clock, Comparison, compare
from agent.driver import INDEX, ReadsClock, SetsClock
from agent.errors import DeviceError, JournalFull
from agent.journal import Desk, Event, facts
from agent.repairs import repair

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from agent.config import Config
    from agent.driver import ClockReading, Driver

__all__ = ["GONE_AFTER", "Presence", "Sighting", "clocks_set"]

GONE_AFTER: Final = 15.0
"""Seconds without being sighted after which a device is taken to have left."""

_DEVICES_MAX: Final = 10_000
_SAID_MAX: Final = 64
"""Ways in which one device says what it is that are remembered."""
_TWICE_AFTER: Final = 3
"""Changes from one place to another after which both hold one: a camera that is docked elsewhere and back changes two
times, and then stays."""
_TWICE_MAX: Final = 100
_TWICE_TODO: Final = (
    "Undock one of the two; if it is one that is reached in two ways, take one of its drivers out of agent.toml. "
    "Both are taken from, each capture of either is held, and nothing is deleted on either as long as both are here. "
    "Have one of them given another serial number, or dock them one after the other."
)


@dataclass(slots=True)
class Sighting:
    """A device as it was last seen, for whoever watches."""

    device: Device
    first_at: datetime
    last_at: datetime
    said: dict[Device, tuple[float, datetime]] = field(default_factory=dict)
    """What it said of itself lately, usually one thing, and when it was last seen to say so, by both clocks."""
    changes: int = 0
    """How often it was sighted at another place than the time before, since it was at one alone."""
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
        self._indexes: dict[str, list[Mapping[str, Json]]] = {}
        self._untold: set[Device] = set()
        """Those that came while the disk had no room for an entry that says so: told when there is, if still here."""
        self._left: deque[dict[str, Json]] = deque(maxlen=_DEVICES_MAX)
        """Of those that left: entries that are to be written."""

    def serve(self, drivers: Mapping[str, Driver], *, sets_clocks: timedelta | None = None) -> None:
        """These are the drivers from now on."""
        self._drivers, self._sets_clocks = dict(drivers), sets_clocks

    async def sight(self, device: Device) -> bool:
        """Note that this device is here now. True: it was not a moment ago, or it says something else of itself now."""
        now, known = datetime.now(UTC), self.devices.get(device.id)
        if known is not None and known.present:
            if not self._again(known, device, now) and device not in self._untold:
                return False
        else:
            first_at = now if known is None else known.first_at
            self.devices[device.id] = Sighting(device, first_at, now, {device: (monotonic(), now)})
            self._indexes.pop(device.id, None)
        while len(self.devices) > _DEVICES_MAX:
            oldest = next(iter(self.devices))
            del self.devices[oldest]
            self._indexes.pop(oldest, None)
        detail: dict[str, Json] = {"device": device.claims}
        try:
            await self._desk.write(lambda journal: journal.record(Event.DEVICE_ATTACHED, detail), waits=False)
        except JournalFull:
            self._untold.add(device)
            return False
        self._untold.discard(device)
        self._log.info("device_attached", device=device.id, driver=device.driver, place=device.place)
        await self._compare_clock(device)
        return True

    def _again(self, known: Sighting, device: Device, now: datetime) -> bool:
        """Note that a device that is here was sighted. True: it says what it has not said lately."""
        new = known.said.pop(device, None) is None
        known.said[device] = monotonic(), now
        known.changes += _apart(known.device, device)
        known.device, known.last_at = device, now
        if new:
            known.index = known.clock = None
            self._indexes.pop(device.id, None)
            while len(known.said) > _SAID_MAX:
                del known.said[next(iter(known.said))]
        return new

    def twice(self, device: str) -> bool:
        """Whether two that are here claim to be this one: what one of them shows says nothing about the other."""
        return (known := self.devices.get(device)) is not None and known.present and known.changes >= _TWICE_AFTER

    def settled(self, device: str) -> bool:
        """Whether it was at one place alone lately: what it lists now is all that it has."""
        return (known := self.devices.get(device)) is None or not known.changes

    def notices(self) -> Iterator[dict[str, str | None]]:
        """Repair notices."""
        for id_ in [id_ for id_ in self.devices if self.twice(id_)][:_TWICE_MAX]:
            places = sorted({f"{one.driver} ({one.place or 'no place told'})" for one in self.devices[id_].said})
            detail = f"two devices say that they are {id_}, or one is reached in two ways: {', '.join(places)}"
            yield repair("device.twice", "problem", f"device {id_}", detail, _TWICE_TODO)

    async def observe(self, observation: Observation) -> bool:
        """The sum of a look becomes an entry where the last look had another. False: it is none, and not ours."""
        if observation.kind != INDEX:
            return False
        told = self._indexes.get(observation.device, [])
        if observation.detail not in told:
            if (seen := self.devices.get(observation.device)) is not None:
                # Of two that claim to be one, each has a sum of its own.
                self._indexes[observation.device] = [*told, dict(observation.detail)][-len(seen.said) :]
                seen.index = dict(observation.detail)
            try:
                await self._desk.write(lambda journal: facts.keep(journal, observation), waits=False)
            except JournalFull:
                self._indexes.pop(observation.device, None)  # the next look says the same
        return True

    async def _keep(self, observation: Observation) -> None:
        await self._desk.write(lambda journal: facts.keep(journal, observation))

    async def notice_gone(self) -> bool:
        """Call it every few seconds: what was not sighted for a while has left. True: it was the last one here."""
        left = False
        for sighting in list(self.devices.values()):
            if not sighting.present:
                continue
            now, twice = monotonic(), self.twice(sighting.device.id)
            silent = {device: at for device, (mono, at) in sighting.said.items() if now - mono > GONE_AFTER}
            for device in silent:
                del sighting.said[device]
            sighting.present = bool(sighting.said)
            if not any(_apart(sighting.device, device) for device in sighting.said):
                sighting.changes = 0
            # Of one device the last word counts: what it said before, or where it stood, is not another one that left.
            gone = silent if twice else {} if sighting.present else {sighting.device: sighting.last_at}
            for device, at in gone.items():
                left = True
                if device in self._untold:  # nothing says that it came
                    self._untold.discard(device)
                    continue
                self._left.append({"device": device.claims, "last_seen_at": rfc3339(at)})
                self._log.info("device_detached", device=device.id)
        with suppress(JournalFull):
            await self._tell_who_left()
        return left and not any(sighting.present for sighting in self.devices.values())

    async def _tell_who_left(self) -> None:
        while self._left:
            told = self._left[0]
            await self._desk.write(lambda journal, told=told: journal.record(Event.DEVICE_DETACHED, told), waits=False)  # type: ignore[misc]
            self._left.popleft()

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


def _apart(one: Device, other: Device) -> bool:
    """Whether they are at different places, or are told of by different drivers."""
    return one.driver != other.driver or (one.place != other.place and None not in (one.place, other.place))
