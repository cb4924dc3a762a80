"""An intake over a station that joins: what a dispatch system tells is found by what people look for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Capture, Digest, Parts
from tests.context.conftest import CAR, Rig
from tests.spine.make import digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.capture import Device, Observation, Standing
    from agent.driver import Driver, Offer

TOKEN = "t" * 32


class Joined:
    """See `agent.driver.Intake`."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.sighted: list[Device] = []
        self.taken: list[tuple[Capture, bytes]] = []
        self.told: list[Observation] = []

    async def sight(self, device: Device, /) -> None:
        self.sighted.append(device)

    async def observe(self, observation: Observation, /) -> None:
        self.told.append(observation)
        await self.rig.joining.observe(observation)

    async def take(self, offer: Offer, /) -> Standing:
        content = b"".join([block async for block in offer.open(0)])
        made: Digest = digest(content)
        held = await self.rig.desk.write(lambda journal: journal.hold(offer.capture, made, Parts()))
        self.taken.append((offer.capture, content))
        return held.standing


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Joined]:
    folder = tmp_path / "station"
    folder.mkdir()
    rig = Rig(folder, CAR)
    await rig.desk.open()
    await rig.joining.start()
    yield Joined(rig)
    await rig.desk.close()


@asynccontextmanager
async def running(driver: Driver, intake: Joined) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(driver.run(intake))
    try:
        yield task
    finally:
        assert not task.done(), task.exception()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    ends = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < ends, "what was waited for did not happen"
        await asyncio.sleep(0.01)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file
