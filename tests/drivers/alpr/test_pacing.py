"""Who is too fast waits, nobody is passed by for ever, and who gives up leaves nothing behind."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from drivers.alpr.pacing import Memory, Pace
from drivers.alpr.watching import Seen


async def test_memory_is_given_in_order_and_comes_back() -> None:
    memory, order = Memory(100), list[str]()
    leave = asyncio.Event()

    async def visit(name: str, length: int) -> None:
        async with memory.room("front", length):
            order.append(name)
            await leave.wait()

    tasks = [
        asyncio.create_task(visit(name, length)) for name, length in (("a", 60), ("b", 60), ("c", 10), ("d", 1000))
    ]
    await asyncio.sleep(0.01)
    assert order == ["a"], "who needs little does not pass by who needs much"
    leave.set()
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "c", "d"], "who needs more than there is gets all there is"


async def test_a_camera_that_sends_slowly_leaves_room_for_the_others() -> None:
    """It keeps what it has for as long as it likes: one message, and half of what there would be for it alone."""
    memory, inside = Memory(1000), list[str]()

    async def visit(camera: str, length: int) -> None:
        async with memory.room(camera, length):
            inside.append(camera)
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(visit("slow", 100)) for _ in range(20)]
    tasks += [asyncio.create_task(visit("large", 480)) for _ in range(3)]
    tasks += [asyncio.create_task(visit("other", 10)) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert (inside.count("slow"), inside.count("large"), inside.count("other")) == (5, 1, 1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (memory._free, memory._of, memory._waiting) == (1000, {}, {})


async def test_who_is_cancelled_while_waiting_keeps_no_memory() -> None:
    memory = Memory(100)
    async with memory.room("front", 100):
        waiting = [asyncio.create_task(_enter(memory)) for _ in range(3)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        waiting[1].cancel()
        await asyncio.gather(*waiting[:2], return_exceptions=True)
    await asyncio.wait_for(waiting[2], 10)
    async with memory.room("front", 100):
        pass


async def test_who_is_cancelled_inside_gives_it_back() -> None:
    memory = Memory(100)
    task = asyncio.create_task(_enter(memory, asyncio.Event()))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(_enter(memory), 10)


async def _enter(memory: Memory, until: asyncio.Event | None = None) -> None:
    async with memory.room("front", 100):
        if until is not None:
            await until.wait()


async def test_a_burst_goes_at_once_and_what_follows_waits() -> None:
    pace, began = Pace(rate=20, burst=10, at_once=100), monotonic()

    async def one() -> float:
        async with pace.turn():
            return monotonic() - began

    times = sorted(await asyncio.gather(*(one() for _ in range(20))))
    assert times[9] < times[-1]
    assert times[-1] >= 0.45, "ten more at twenty a second"


async def test_only_so_many_at_once() -> None:
    pace, inside, most = Pace(rate=10_000, burst=1000, at_once=3), 0, 0

    async def one() -> None:
        nonlocal inside, most
        async with pace.turn():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(30)))
    assert most == 3


@pytest.mark.parametrize("life", [86_400.0, 0.0])
def test_what_was_seen_is_known_for_a_while_and_holds_no_word_of_it(life: float) -> None:
    seen = Seen(most=10, life=life)
    assert not seen.add("EVDK042", "x")
    assert seen.has("EVDK042", "x") is (life > 0)
    assert not seen.has("EVDK042x")
    assert "EVDK042" not in repr(vars(seen))
    for number in range(20):
        seen.add(f"{number}")
    assert not seen.has("EVDK042", "x"), "it is bounded"
    other = Seen(most=10)
    other.add("EVDK042", "x")
    assert set(seen._seen) & set(other._seen) == set(), "digests of one run say nothing to another"
