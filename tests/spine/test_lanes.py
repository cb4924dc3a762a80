"""Lanes: in order, apart by no more than is allowed, and what was given is done whatever else happens."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from agent.spool.lanes import Lanes, Road
from agent.tasks import whole

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKS = [bytes([number]) for number in range(100)]


@pytest.fixture
def road() -> Iterator[Road]:
    with ThreadPoolExecutor(3) as threads:
        yield Road(threads)


async def test_every_lane_gets_every_block_in_order(road: Road) -> None:
    seen: list[list[bytes]] = [[], [], []]
    lanes = Lanes(road, [one.append for one in seen])
    for block in BLOCKS:
        await lanes.give(block)
    await lanes.finish()
    await lanes.settle()
    assert seen == [BLOCKS, BLOCKS, BLOCKS]


async def test_a_lane_that_stands_still_holds_up_the_giver_and_not_the_other_lanes(road: Road) -> None:
    go_on, seen = threading.Event(), list[bytes]()
    lanes = Lanes(road, [lambda _: go_on.wait() and None, seen.append])
    given = 0

    async def give_all() -> None:
        nonlocal given
        for block in BLOCKS:
            await lanes.give(block)
            given += 1

    giving = asyncio.create_task(give_all())
    await asyncio.sleep(0.05)
    assert given <= road.share
    assert len(seen) <= road.share
    go_on.set()
    await giving
    await lanes.settle()
    assert seen == BLOCKS


async def test_many_copies_share_what_may_be_under_way(road: Road) -> None:
    alone = road.share
    copies = [Lanes(road, [lambda _: None]) for _ in range(60)]
    assert (alone > 1, road.share) == (True, 1)
    await asyncio.gather(*(lanes.give(b"a") for lanes in copies))
    await asyncio.gather(*(lanes.settle() for lanes in copies))
    assert road.share == alone


async def test_nothing_follows_a_block_that_failed(road: Road) -> None:
    seen, others = list[bytes](), list[bytes]()

    def full(block: bytes) -> None:
        if block == BLOCKS[3]:
            raise OSError(28, "full")
        seen.append(block)

    lanes = Lanes(road, [full, others.append])

    async def give_all() -> None:
        for block in BLOCKS:
            await lanes.give(block)

    with pytest.raises(OSError, match="full"):
        await give_all()
    with pytest.raises(OSError, match="full"):
        await lanes.finish()
    await lanes.settle()
    assert seen == BLOCKS[:3]
    assert others == BLOCKS[: len(others)]


async def test_what_was_given_is_done_before_a_cancelled_giver_goes(road: Road) -> None:
    go_on, seen = threading.Event(), list[bytes]()

    def slowly(block: bytes) -> None:
        go_on.wait()
        seen.append(block)

    lanes = Lanes(road, [slowly])

    async def give_all() -> None:
        try:
            for block in BLOCKS:
                await lanes.give(block)
        finally:
            await whole(lanes.settle())

    giving = asyncio.create_task(give_all())
    await asyncio.sleep(0.01)
    giving.cancel()
    await asyncio.sleep(0.01)
    giving.cancel()
    await asyncio.sleep(0.01)
    assert not giving.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await giving
    assert seen == BLOCKS[: len(seen)]
    assert len(seen) >= 1
