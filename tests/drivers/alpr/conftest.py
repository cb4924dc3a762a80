"""A receiver that runs, and what it offers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agent.testing.rig import running, until
from drivers.alpr.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.driver import Intake


@asynccontextmanager
async def received(options: Receiver.Options, intake: Intake) -> AsyncIterator[Receiver]:
    """Run a receiver for as long as the block lasts."""
    driver = Receiver(options)
    async with running(driver, intake) as task:
        await until(lambda: driver.bound is not None or task.done())
        yield driver


async def eventually(true: Callable[[], bool]) -> None:
    """Wait until something is true for which programs of other authors have to do something too."""
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(0.02)
