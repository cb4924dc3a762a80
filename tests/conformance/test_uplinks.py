"""The shipped uplink passes the shipped suite, and so does the bench's own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agent.note import Verifier
from agent.testing.dems import EmulatedDems
from agent.testing.uplink_conformance import UplinkConformance, UplinkRig
from agent.testing.uplinks import Arrived, arrived_at
from agent.uplink.http import Door, trip
from agent.uplink.tus import TusUplink
from tests.conformance.benches import BenchRig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trip, "DOUBT_WAIT", 0.01)
    monkeypatch.setattr(trip, "LOCK_WAITS", (0.01, 0.02, 0.04, 0.05, 0.05))


class DemsRig(UplinkRig):
    """The emulated DEMS and the uplink `tus`, in requests of 1 MiB."""

    request = 1 << 20

    def __init__(self, dems: EmulatedDems) -> None:
        self.dems = dems
        self.keys = [Verifier.parse(dems.receipt_vkey)]

    def uplink(self) -> TusUplink:
        options = TusUplink.Options(
            use="tus", name="dems", url=self.dems.url, part_length=self.request, stall=2.0, receipt_wait=1.0
        )
        return TusUplink(options)

    async def arrived(self) -> Arrived:
        arrived, complaints = await arrived_at(self.dems)
        assert not complaints
        return dict(arrived)

    async def received(self) -> int:
        return sum(entry.received for entry in await self.dems.index())

    async def cut(self, after: int) -> None:
        await self.dems.add_fault(f"PATCH:{1 + after // self.request}:cut@{after % self.request}")

    async def lose_answer(self) -> None:
        await self.dems.add_fault("PATCH:1:drop-answer", "POST:1:drop-answer")

    async def refuse(self) -> None:
        await self.dems.add_fault("POST:*:403")

    async def lie(self, how: str) -> None:
        await self.dems.add_fault(f"receipt:{how}")

    async def down(self) -> None:
        await self.dems.add_fault("*:*:drop")

    async def up(self) -> None:
        await self.dems.clear_faults()


class TestTus(UplinkConformance):
    @asynccontextmanager
    async def rig(self, tmp_path: Path) -> AsyncIterator[DemsRig]:
        async with EmulatedDems(tmp_path / "dems") as dems:
            yield DemsRig(dems)


class TestTusByThreads(TestTus):
    """As on a quick link, where long bodies go past the event loop."""

    @pytest.fixture(autouse=True)
    def straight(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Door, "goes_straight", lambda *_, **__: True)


class TestBench(UplinkConformance):
    def rig(self, _: Path) -> AbstractAsyncContextManager[BenchRig]:
        return BenchRig.open()
