"""A real station, the destination, and emulated controllers."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from agent.testing.rig import running, until
from agent.testing.station import Station
from drivers.body_worn.axis_dock import AxisDock
from drivers.body_worn.axis_dock.emulator import Controller
from tests.drivers.axis_dock.rig import options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.capture import Holding


@dataclass
class Desk:
    """A station with a destination, below a folder; `dock` runs it, again and again where a test asks."""

    folder: Path
    more: dict[str, Any] = field(default_factory=dict)
    life: float = 900.0

    def __post_init__(self) -> None:
        self.options = options(self.folder, **self.more)
        self.connection = json.loads(AxisDock.enrol(self.options).content)
        self.station = Station(self.folder / "station")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AxisDock]:
        driver = AxisDock(self.options, token_life=self.life)
        async with running(driver, self.station), asyncio.timeout(20):  # a controller tries for ever
            await until(lambda: driver.bound is not None)
            yield driver

    def controller(self, **more: Any) -> Controller:  # noqa: ANN401
        return Controller(self.connection, pause=0.01, **more)

    async def held(self) -> dict[str, Holding]:
        return {holding.origin.key: holding for holding in await self.station.holdings()}

    def bytes_of(self, holding: Holding) -> bytes:
        return b"".join(self.station.spool.read(holding.digest.sha256))

    async def description(self) -> dict[str, Any]:
        """The newest description of a recording."""
        about = [holding for holding in await self.station.holdings() if ";description-" in holding.origin.key]
        told: dict[str, Any] = json.loads(self.bytes_of(next(one for one in about if one.group)))
        return told


@pytest.fixture
async def desk(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    made = Desk(tmp_path, **getattr(request, "param", {}))
    async with made.station:
        yield made
        await made.station.verify()
