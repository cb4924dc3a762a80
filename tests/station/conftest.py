"""A daemon's insides without a daemon: a bench station behind the real socket."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from agent.capture import Device
from agent.clock import Clock
from agent.config import Config, parse
from agent.driver import DriverOptions
from agent.repairs import Raised
from agent.station.control import Control
from agent.testing.devices import BenchDevice
from agent.testing.standins import Equipped, Loaded, Seen
from agent.testing.station import Station

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.forward import Forward
    from agent.gate import Gate
    from agent.ingest import Ingest
    from agent.journal import Desk
    from agent.spool import Spool

TOML = """
[station]
name = "bench-1"
agency = "example.org"
state = "{state}"
"""


class Healthy:
    async def run(self, intake: object, /) -> None:
        raise NotImplementedError

    async def health(self) -> dict[str, str]:
        return {"bay": "all is well"}


@dataclass
class Bench:
    """See `agent.station.running.Running`."""

    config: Config
    station: Station
    devices: dict[str, Seen] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    raised: Raised = field(default_factory=Raised)
    drill: Any = None
    equipment: Equipped = field(
        default_factory=lambda: Equipped([Loaded(DriverOptions(use="bench.device", name="bay-1"), Healthy())])
    )

    @property
    def desk(self) -> Desk:
        return self.station.desk

    @property
    def spool(self) -> Spool:
        return self.station.spool

    @property
    def gate(self) -> Gate:
        return self.station.gate

    @property
    def ingest(self) -> Ingest:
        return self.station.ingest

    @property
    def forwards(self) -> list[Forward]:
        return [] if self.station.forward is None else [self.station.forward]

    def announcing(self) -> None:
        return None

    def troubles(self) -> list[dict[str, str | None]]:
        return []

    @property
    def path(self) -> Path:
        return self.config.station.control

    async def ask(self, path: str, body: object = None) -> tuple[int, Any]:
        """(status, JSON) of one request over the socket."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.path))) as session,
            session.request("GET" if body is None else "POST", f"http://station{path}", json=body) as answer,
        ):
            text = await answer.text()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A station that holds two captures, not yet listening."""
    async with Station(tmp_path / "state") as station:
        device = BenchDevice()
        for number in (1, 2):
            device.record(f"CLIP{number}.MP4", b"film" * number)
        await station.dock(device)
        made = Bench(parse(TOML.format(state=tmp_path / "state")), station)
        now = datetime.now(UTC)
        made.devices["usb:bench:1"] = Seen(Device("usb:bench:1", "body_worn", "bay-1"), now, now, present=True)
        yield made
        await station.verify()


@pytest.fixture
async def listening(bench: Bench) -> AsyncIterator[Bench]:
    """The same, listening."""
    async with Control(bench):
        yield bench
        await asyncio.sleep(0)
