"""The contract of drivers that offer nothing and tell of the world: positions, the ignition, a trigger.

class TestMine(ObserverConformance):
def bench(self, tmp_path):
return MyBench(tmp_path)
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agent.capture import Standing, canonical
from agent.testing.rig import descriptors, ended, running, until

if TYPE_CHECKING:
    from pathlib import Path

    from agent.capture import Device, Observation
    from agent.driver import Driver, Readable

__all__ = ["ObserverBench", "ObserverConformance", "Watcher"]


class Watcher:
    """See `agent.driver.Intake`: notes everything."""

    def __init__(self) -> None:
        self.sighted: list[Device] = []
        self.observed: list[Observation] = []

    def of(self, kind: str) -> list[Observation]:
        """What was told of this kind."""
        return [one for one in self.observed if one.kind == kind]

    async def sight(self, device: Device, /) -> None:
        """Note it."""
        self.sighted.append(device)

    async def observe(self, observation: Observation, /) -> None:
        """Note it, after a look at whether it can stand in a journal."""
        canonical(dict(observation.detail))
        assert observation.observed_at.utcoffset() == timedelta(0), "a time has a zone, and it is UTC"
        known = {device.id for device in self.sighted}
        assert observation.device in known, f"{observation.device} told something before it was sighted"
        self.observed.append(observation)

    async def take(self, offer: Readable, /) -> Standing:
        """Nothing is offered by what only observes."""
        raise AssertionError(f"{offer.capture.key} was offered")


class ObserverBench:
    """A device with its driver, as its author makes them for a test."""

    def driver(self) -> Driver:
        """Return a new driver. Let it look again soon: `rescan` of 0.05."""
        raise NotImplementedError

    def begin(self) -> None:
        """The device is plugged in and says something that is told, again and again. Called inside the event loop."""
        raise NotImplementedError

    def unplug(self) -> None:
        """Take it away."""
        raise NotImplementedError

    def plug_in(self) -> None:
        """Bring it back."""
        raise NotImplementedError

    async def end(self) -> None:
        """The test is over."""


class ObserverConformance:
    """Every test is one sentence of the contract. A new bench is made for each."""

    pytestmark = pytest.mark.asyncio

    def bench(self, tmp_path: Path) -> ObserverBench:
        """Return a device, plugged in."""
        raise NotImplementedError

    async def test_it_is_sighted_and_tells(self, tmp_path: Path) -> None:
        """First the device is sighted, then it tells; each observation can stand in a journal."""
        bench, watcher = self.bench(tmp_path), Watcher()
        bench.begin()
        try:
            async with running(bench.driver(), watcher):
                await until(lambda: bool(watcher.observed))
        finally:
            await bench.end()

    async def test_unplugging_does_not_end_it(self, tmp_path: Path) -> None:
        """More than once; and when the device is back, it tells again under the same id."""
        bench, watcher = self.bench(tmp_path), Watcher()
        bench.begin()
        try:
            async with running(bench.driver(), watcher) as task:
                for _ in range(3):
                    count = len(watcher.observed)
                    await until(lambda count=count: len(watcher.observed) > count)  # type: ignore[misc]
                    bench.unplug()
                    await asyncio.sleep(0.2)
                    assert not task.done(), "unplugging ended the driver"
                    bench.plug_in()
        finally:
            await bench.end()
        assert len({one.device for one in watcher.observed}) == 1, "one device told under several ids"

    async def test_what_was_never_there_does_not_end_it(self, tmp_path: Path) -> None:
        """It waits, tells nothing, and finds the device when it comes."""
        bench, watcher = self.bench(tmp_path), Watcher()
        bench.unplug()
        bench.begin()
        bench.unplug()
        try:
            async with running(bench.driver(), watcher) as task:
                await asyncio.sleep(0.3)
                assert not task.done()
                assert not watcher.observed
                bench.plug_in()
                await until(lambda: bool(watcher.observed))
        finally:
            await bench.end()

    async def test_cancelled_at_any_await_it_leaves_nothing_behind(self, tmp_path: Path) -> None:
        """Neither descriptors nor a line that the next one cannot open."""
        bench = self.bench(tmp_path)
        bench.begin()
        try:
            before = left = 0
            for steps in range(0, 60, 3):
                task = asyncio.create_task(bench.driver().run(Watcher()))
                for _ in range(steps):
                    await asyncio.sleep(0)
                await ended(task)
                if steps == 30:  # noqa: PLR2004 - what is made once is made by now
                    await asyncio.sleep(0.2)
                    before = descriptors()
            for _ in range(200):
                if (left := descriptors()) <= before:
                    break
                await asyncio.sleep(0.02)
            assert left <= before, "descriptors were left open"
            watcher = Watcher()
            async with running(bench.driver(), watcher):
                await until(lambda: bool(watcher.observed))
        finally:
            await bench.end()
