"""A device that hangs, whatever lies on it, holds up itself alone: others are taken and released meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.capture import Standing
from agent.driver import GATHERED_LENGTH
from agent.ingest import SMALL
from agent.ingest.hand import TINY
from agent.places import Places
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


@pytest.mark.parametrize(("length", "count"), [(10, 200), (TINY + 1, 40), (SMALL + 1, 40), (GATHERED_LENGTH + 1, 70)])
async def test_others_are_taken_however_many_hang(
    station: Station, bench: BenchDevice, length: int, count: int
) -> None:
    """More devices than would share the places among them."""
    async with AsyncExitStack() as hanging:
        for bay in range(6):
            hung = Hanging(f"bench:hung-{bay}")
            for number in range(count):
                hung.record(f"{number}", b"", says=length)
            await hanging.enter_async_context(docked(station, hung))
        for number in range(20):
            bench.record(f"{number}", some_bytes(length, number))
        async with asyncio.timeout(WITHIN):
            assert await station.dock(bench) == {Standing.HELD: 20}


async def test_a_place_goes_to_each_device_in_turn() -> None:
    places, order, ends = Places(2, 2), list[str](), asyncio.Event()

    async def one(device: str) -> None:
        async with places.of(device):
            order.append(device)
            await ends.wait()

    async with asyncio.TaskGroup() as group:
        for device in "aaaaaabbbc":
            group.create_task(one(device))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["a", "a", "b", "b", "c"], "two of all beside the one of each"
        ends.set()
    assert sorted(order[5:]) == ["a", "a", "a", "a", "b"]
    assert "b" in order[5:8], "one with many waits its turn"
    assert not places._devices
    assert not places._turns
    assert places._left == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 4)), max_size=30))
def test_who_is_cancelled_keeps_no_place(plan: list[tuple[str, int, int]]) -> None:
    """(device, turns of the loop for which it has its place, turns after which it is cancelled; 0: never)."""

    async def run() -> None:
        places, inside = Places(2, 2), Counter[str]()

        async def one(device: str, turns: int) -> None:
            async with places.of(device):
                inside[device] += 1
                assert inside[device] <= 2
                assert sum(max(0, count - 1) for count in inside.values()) <= 2
                try:
                    for _ in range(turns):
                        await asyncio.sleep(0)
                finally:
                    inside[device] -= 1

        async def cancelled(task: asyncio.Task[None], after: int) -> None:
            for _ in range(after):
                await asyncio.sleep(0)
            task.cancel()

        tasks: list[asyncio.Task[None]] = []
        for device, turns, after in plan:
            tasks.append(task := asyncio.create_task(one(device, turns)))
            if after:
                tasks.append(asyncio.create_task(cancelled(task, after)))
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert error is None or isinstance(error, asyncio.CancelledError)
        assert (places._left, places._devices, places._turns) == (2, {}, {})

    asyncio.run(asyncio.wait_for(run(), 30))


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
