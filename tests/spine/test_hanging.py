"""A device that hangs, whatever lies on it, holds up itself alone: others are taken and released meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agent.capture import Standing
from agent.driver import GATHERED_LENGTH
from agent.ingest import SMALL
from agent.ingest.hand import TINY
from agent.testing.devices import BenchDevice, Clip, some_bytes
from agent.testing.rig import WITHIN
from agent.testing.uplinks import BenchUplink
from tests.spine.docked import releasing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.testing.station import Station


class Hanging(BenchDevice):
    """Its reads do not come back, from the moment on at which it hangs."""

    hangs = True

    async def read(self, clip: Clip, offset: int) -> AsyncIterator[bytes]:
        if self.hangs:
            await asyncio.Event().wait()
        async for block in super().read(clip, offset):
            yield block


@asynccontextmanager
async def docked(station: Station, device: BenchDevice) -> AsyncIterator[None]:
    """Everything on it is offered at once, for as long as the block lasts."""
    offering = [asyncio.create_task(station.take(offer)) for offer in device.offers()]
    await asyncio.sleep(0.1)
    try:
        yield
    finally:
        for one in offering:
            one.cancel()
        await asyncio.gather(*offering, return_exceptions=True)


@pytest.mark.parametrize(("length", "count"), [(10, 600), (TINY + 1, 200), (SMALL + 1, 40), (GATHERED_LENGTH + 1, 70)])
async def test_others_are_taken(station: Station, bench: BenchDevice, length: int, count: int) -> None:
    hung = Hanging("bench:hung")
    for number in range(count):
        hung.record(f"{number}", b"", says=length)
    bench.record("a", some_bytes(length))
    async with docked(station, hung), asyncio.timeout(WITHIN):
        assert await station.dock(bench) == {Standing.HELD: 1}


@releasing()
@pytest.mark.parametrize(("length", "count"), [(10, 200), (SMALL + 1, 40)])
async def test_others_are_released(station: Station, bench: BenchDevice, length: int, count: int) -> None:
    hung = Hanging("bench:hung")
    hung.hangs = False
    for number in range(count):
        hung.record(f"{number}", some_bytes(length, number))
    bench.record("a", some_bytes(length))
    station.connect(BenchUplink())
    await station.dock(hung, bench)
    await station.send()
    hung.hangs = True
    async with docked(station, hung), asyncio.timeout(WITHIN):
        assert await station.dock(bench) == {Standing.RELEASED: 1}
