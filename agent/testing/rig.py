"""A device with its driver, as its author makes them for a test, and the ways in which a test runs them."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest

from agent.testing.probe import Probe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.capture import Stamp
    from agent.driver import Driver, Intake, Offer
    from agent.testing.probe import Look
    from agent.testing.station import Station

__all__ = ["WITHIN", "Rig", "WantsAll", "descriptors", "ended", "examined", "held", "not_given", "running", "until"]

WITHIN = 30.0
"""Seconds in which a driver must do what is waited for."""


class Rig:
    """One device with its driver, as its author makes them for a test. `driver` and `record` must be given."""

    keeps = True
    """False for a device that forgets a capture as soon as `take` returned (it pushes, or streams)."""
    forgets = False
    """True for a device that nobody can ask to forget: its offers have no `release`."""
    screened: str | None = None
    """Whose screens are asked, where its offers are `Screened`; most sentences are shown with one that wants all."""

    def driver(self) -> Driver:
        """Return a new driver, as after a restart of the agent. Let it look again soon: `rescan` of 0.05."""
        raise NotImplementedError

    def record(self, name: str, data: bytes) -> str:
        """Let the device make a capture, complete; return its key. The same name again: as cameras reuse names."""
        raise NotImplementedError

    def content(self, key: str, data: bytes) -> bytes:  # noqa: ARG002 - for devices that wrap what they record
        """What a capture of it holds, where that is not `data` itself: a message around a picture, for instance."""
        return data

    def holds(self, key: str) -> bool:
        """Say whether the device still has it."""
        not_given("holds", key)

    def unplug(self) -> None:
        """Take the device away, also in the middle of a reading."""
        not_given("unplug")

    def plug_in(self) -> None:
        """Bring the device back."""
        not_given("plug_in")

    def shorten(self, key: str) -> None:
        """Make the capture's bytes fewer than what the device's own index, which does not change, says."""
        not_given("shorten", key)

    def answered(self, key: str) -> bool:
        """Say whether the device was told that this capture is safe, and forgot it."""
        not_given("answered", key)

    def screens(self) -> list[object]:
        """Screens with which a station keeps what this device offers."""
        return [] if self.screened is None else [WantsAll(self.screened)]


class WantsAll:
    """A screen that keeps whatever is offered."""

    def __init__(self, screens: str) -> None:
        self.screens = screens

    def screen(self, offer: Offer, stamp: Stamp, /) -> Offer | None:  # noqa: ARG002 - it wants it at any time
        """See `agent.driver.Screen`."""
        return offer


def not_given(what: str, *_: object) -> NoReturn:
    """Skip a test that needs something that this rig does not have."""
    pytest.skip(f"this rig has no `{what}`")


@asynccontextmanager
async def running(driver: Driver, intake: Intake) -> AsyncIterator[asyncio.Task[None]]:
    """Run a driver for as long as the block lasts; it must not end before, and must end soon after."""
    task: asyncio.Task[None] = asyncio.create_task(driver.run(intake))
    try:
        yield task
        if task.done():
            await task
            raise AssertionError("the driver ended by itself")
    finally:
        await ended(task)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel it and wait; what it raised before is raised here."""
    task.cancel()
    await asyncio.wait({task}, timeout=WITHIN)
    assert task.done(), f"a cancelled driver still ran after {WITHIN:.0f} s"
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


async def examined(rig: Rig, look: Look) -> None:
    """Run the driver until everything that it offered first was looked at."""
    probe = Probe(look)
    async with running(rig.driver(), probe):
        await until(lambda: 0 < len(probe.offered) == len(probe.done))
    for error in (*probe.wrong, *probe.failures):
        raise error


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    try:
        async with asyncio.timeout(WITHIN):
            while not true():  # noqa: ASYNC110 - a driver tells nobody
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"what was waited for did not happen in {WITHIN:.0f} s") from None


async def held(station: Station, count: int) -> None:
    """Wait until a station holds so many captures."""
    async with asyncio.timeout(WITHIN):
        while len(await station.holdings()) < count:  # noqa: ASYNC110 - a journal tells nobody
            await asyncio.sleep(0.01)


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208
