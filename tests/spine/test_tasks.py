"""Work as a task of its own: no cancellation is lost in it, and none is seen that nobody meant."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent import tasks
from agent.config import parse
from agent.daemon import Agent
from agent.supervising import supervised
from agent.tasks import alone
from agent.testing.process import toml

if TYPE_CHECKING:
    from pathlib import Path


async def fails() -> None:
    await asyncio.sleep(0.01)
    raise ZeroDivisionError


async def test_its_result_and_its_error_are_handed_on() -> None:
    async def seven() -> int:
        return 7

    assert await alone(seven()) == 7
    with pytest.raises(ZeroDivisionError):
        await alone(fails())


async def test_whoever_drops_a_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_AGAIN", 0.02)
    dropped = []

    async def stubborn() -> None:
        while len(dropped) < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                dropped.append(1)

    running = asyncio.create_task(alone(stubborn()))
    await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait({running}, timeout=10)
    assert running.cancelled()
    assert len(dropped) == 3


async def test_a_group_that_failed_inside_is_no_cancellation() -> None:
    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())

    with pytest.raises(ExceptionGroup):
        await alone(grouped())
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_who_ends_as_if_cancelled_and_was_not_has_failed() -> None:
    async def odd() -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="nobody did"):
        await alone(odd())


@pytest.mark.parametrize("how", ["in a group", "as if cancelled"])
async def test_a_driver_that_fails_in_any_way_is_started_again(tmp_path: Path, how: str) -> None:
    agent = Agent(parse(toml({"station": {"name": "d", "agency": "example.org", "state": str(tmp_path / "state")}})))
    runs = []

    class Failing:
        async def run(self, _: object) -> None:
            runs.append(1)
            if how == "as if cancelled":
                raise asyncio.CancelledError
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())

    class Loaded:
        driver = Failing()

        class options:  # noqa: N801
            name = "bay"

    task = asyncio.create_task(supervised(Loaded, agent, agent._troubles))
    async with asyncio.timeout(20):
        while len(runs) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task}, timeout=30)
    assert task.cancelled()
    agent.spool.close()
