"""A destination with nothing that may go asks the journal when something happened, and not all the time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent import forward
from agent.capture import Priority
from agent.errors import UplinkDown
from agent.gate import Gate
from agent.testing.uplinks import BenchUplink
from agent.traffic import LinkClass, Traffic
from tests.spine.docked import queued, sent
from tests.spine.test_turns import sending, until

if TYPE_CHECKING:
    from agent.capture import Receipt
    from agent.testing.station import Station
    from agent.uplink import Sending


@pytest.fixture
def waits(station: Station, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long each look at the queue was to be the last one."""
    found, wait = list[float](), forward.Forward._wait

    async def noted(self: forward.Forward, seconds: float) -> None:
        found.append(seconds)
        await wait(self, seconds)

    monkeypatch.setattr(forward.Forward, "_wait", noted)
    station.gate = Gate(station.desk, Traffic())
    return found


async def test_one_that_failed_and_may_not_go_now_is_not_looked_for_all_the_time(
    station: Station, waits: list[float]
) -> None:
    """A car that leaves the station in the middle of an upload has no network, and only its battery."""
    uplink = BenchUplink()
    uplink.fails.append(UplinkDown("the link broke"))
    station.connect(uplink)
    await queued(station, a=[Priority.ROUTINE])
    async with sending(station):
        await until(lambda: uplink.order)
        station.gate.move(LinkClass.OFFLINE)
        await until(lambda: waits and waits[-1] == forward._IDLE)
        station.gate.move(LinkClass.WIRED)
        async with asyncio.timeout(30):
            while not await sent(station, 1):  # noqa: ASYNC110 - another task makes it so
                await asyncio.sleep(0.005)


async def test_one_that_failed_and_is_on_its_way_again_is_not_looked_for_all_the_time(
    station: Station, waits: list[float]
) -> None:
    goes_on = asyncio.Event()

    class Slow(BenchUplink):
        async def send(self, sending: Sending, /) -> Receipt:
            if self.order:
                self.order.append(sending.holding.origin.key)
                await goes_on.wait()
            return await super().send(sending)

    uplink = Slow()
    uplink.fails.append(UplinkDown("the link broke"))
    station.connect(uplink)
    await queued(station, a=[Priority.ROUTINE])
    async with sending(station):
        await until(lambda: len(uplink.order) == 2)
        await until(lambda: waits and waits[-1] == forward._IDLE)
        goes_on.set()
        async with asyncio.timeout(30):
            while not await sent(station, 1):  # noqa: ASYNC110 - another task makes it so
                await asyncio.sleep(0.005)
