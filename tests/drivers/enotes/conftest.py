"""A real station, the listener for tablets, and emulated tablets."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from agent.testing.rig import running
from agent.testing.station import Station
from drivers.enotes import EnoteTablets
from drivers.enotes.emulator import Tablet
from tests.drivers.enotes.rig import options, scanned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.capture import Holding


@dataclass
class Desk:
    """A station with a listener, below a folder; `open` runs it, again and again where a test asks."""

    folder: Path
    more: dict[str, Any] = field(default_factory=dict)
    station_more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.options = options(self.folder, **self.more)
        self.first = scanned(EnoteTablets.enrol(self.options))
        self.station = Station(self.folder / "station", **self.station_more)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[EnoteTablets]:
        driver = EnoteTablets(self.options)
        async with running(driver, self.station):
            async with asyncio.timeout(60):  # a disk that is shared takes its time
                while driver._orders is None or driver.enrolling_at is None:  # noqa: ASYNC110 - a driver tells nobody
                    await asyncio.sleep(0.01)
            yield driver

    def invited(self) -> dict[str, Any]:
        return scanned(EnoteTablets.enrol(self.options))

    @asynccontextmanager
    async def tablet(self, name: str = "TAB-0117", **more: Any) -> AsyncIterator[Tablet]:  # noqa: ANN401
        """Enrolled."""
        async with Tablet(self.folder / name, name=name, **more) as tablet:
            wire, tablet.wire = tablet.wire, ""
            await tablet.enrol(self.invited())
            tablet.wire = wire
            yield tablet

    async def held(self) -> dict[str, Holding]:
        return {holding.origin.key: holding for holding in await self.station.holdings()}

    def bytes_of(self, holding: Holding) -> bytes:
        return b"".join(self.station.spool.read(holding.digest.sha256))

    async def lines(self) -> list[bytes]:
        """Every envelope that is held, byte for byte."""
        found = await self.held()
        return [self.bytes_of(one) for one in found.values() if one.media_type == "application/jose+json"]

    def index_write(self, sql: str) -> None:
        db = sqlite3.connect(self.options.state / "enotes.db", isolation_level=None)
        try:
            db.execute(sql)
        finally:
            db.close()

    def index(self, sql: str, *values: Any) -> list[Any]:  # noqa: ANN401
        db = sqlite3.connect(self.options.state / "enotes.db")
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()


@pytest.fixture
async def desk(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    made = Desk(tmp_path, **getattr(request, "param", {}))
    async with made.station:
        yield made
        await made.station.verify()
