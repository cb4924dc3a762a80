"""Stations that a device was docked at: what is held there, what is receipted, and what may be let go."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agent.capture import Holding, Priority, Standing, Strength
from agent.clock import Clock
from agent.config import Policy
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.uplinks import BenchUplink

if TYPE_CHECKING:
    from agent.capture import Stamp
    from agent.testing.station import Station

LETS_GO = Policy(device="release", receipt="digest", spool_keep=timedelta(0))


def releasing(**changes: object) -> pytest.MarkDecorator:
    return pytest.mark.evidock_station(policy=LETS_GO.model_copy(update=changes))


class Clocks:
    """All clocks of a station: time passes, the wall clock is set, power goes, and somebody keeps it right or not."""

    def __init__(self) -> None:
        self.lived, self.ahead, self.boot, self.kept = timedelta(0), timedelta(0), 0, True
        self._booted_at, self._began = timedelta(0), Clock().stamp().at

    def stamp(self) -> Stamp:
        return dataclasses.replace(
            Clock().stamp(),
            at=self._began + self.lived + self.ahead,
            boot_id=f"boot-{self.boot}",
            mono_ns=int((self.lived - self._booted_at).total_seconds() * 1_000_000_000),
            synchronised=self.kept,
        )

    def reboot(self, *, off: timedelta = timedelta(0)) -> None:
        self.lived, self.boot = self.lived + off, self.boot + 1
        self._booted_at = self.lived


async def receipted(
    station: Station, bench: BenchDevice, length: int = 100, strength: Strength = Strength.DIGEST, **fields: object
) -> Holding:
    bench.record("a", some_bytes(length), **fields)
    station.connect(BenchUplink(strength=strength))
    await station.dock(bench)
    await station.send()
    return await station.only()


async def filled(station: Station, bench: BenchDevice, count: int) -> None:
    for number in range(count):
        bench.record(f"{number}", some_bytes(100, number))
    await station.dock(bench)


async def sent(station: Station, count: int) -> bool:
    """Whether so many are receipted."""
    return await station.count(Standing.RECEIPTED) == count


async def queued(station: Station, **devices: list[Priority]) -> None:
    """Captures of these classes on each device, taken one after another."""
    for name, priorities in devices.items():
        device = BenchDevice(f"bench:{name}")
        for number, priority in enumerate(priorities):
            device.record(f"{name}{number}", some_bytes(10, f"{name}{number}"), priority=priority)
            await station.dock(device)  # one after another: the order of taking is the test's
