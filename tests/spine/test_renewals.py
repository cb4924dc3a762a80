"""What was announced and waits is announced again when its place there is due, and not once it arrived."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agent import forward
from agent.capture import Priority, Strength
from agent.gate import Gate
from agent.testing.uplinks import BenchUplink
from agent.traffic import LinkClass, Traffic
from agent.traffic.options import LinkRule
from tests.spine.docked import queued, sent
from tests.spine.test_turns import sending, until

if TYPE_CHECKING:
    from agent.capture import Receipt
    from agent.testing.station import Station
    from agent.uplink import Sending

RULES = Traffic(rule=(LinkRule(links=(LinkClass.LTE,), classes=(Priority.ROUTINE,), content=False),))


class Keeping(BenchUplink):
    """It keeps the place of what it was told of for so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(strength=Strength.DIGEST)
        self.seconds = seconds
        self.told: list[str] = []
        self.recalled: list[str | None] = []

    async def announce(self, sending: Sending, /) -> None:
        self.told.append(sending.holding.origin.key)
        self.recalled.append(sending.recall())
        await sending.remember("told", renew_at=datetime.now(UTC) + timedelta(seconds=self.seconds))

    async def send(self, sending: Sending, /) -> Receipt:
        await sending.remember("told", renew_at=datetime.now(UTC) - timedelta(seconds=1))
        return await super().send(sending)


@pytest.fixture
def lte(station: Station, monkeypatch: pytest.MonkeyPatch) -> Gate:
    monkeypatch.setattr(forward, "_IDLE", 0.02)
    station.gate = Gate(station.desk, RULES)
    station.gate.move(LinkClass.LTE)
    return station.gate


async def test_it_is_told_again_when_it_is_due_and_after_a_restart(station: Station, lte: Gate) -> None:
    uplink = Keeping(0.1)
    station.connect(uplink)
    await queued(station, a=[Priority.ROUTINE] * 2)
    async with sending(station):
        await until(lambda: uplink.told.count("a0") >= 3 and uplink.told.count("a1") >= 3)
    assert uplink.recalled[:2] == [None, None]
    assert set(uplink.recalled[2:]) == {"told"}
    await station.restart()
    station.gate = Gate(station.desk, RULES)
    station.gate.move(LinkClass.LTE)
    station.connect(uplink)
    before = len(uplink.told)
    async with sending(station):
        await until(lambda: len(uplink.told) >= before + 2)


async def test_what_is_not_due_and_what_arrived_is_left_alone(station: Station, lte: Gate) -> None:
    uplink = Keeping(3600)
    station.connect(uplink)
    await queued(station, a=[Priority.ROUTINE] * 2)
    async with sending(station):
        await until(lambda: len(uplink.told) == 2)
        await asyncio.sleep(0.2)
        assert len(uplink.told) == 2
        lte.move(LinkClass.WIRED)
        async with asyncio.timeout(30):
            while not await sent(station, 2):  # noqa: ASYNC110 - another task makes it so
                await asyncio.sleep(0.005)
        lte.move(LinkClass.LTE)
        await asyncio.sleep(0.2)
    assert len(uplink.stored) == len(uplink.told) == 2
    due = await station.desk.read(
        lambda journal: journal.connection.execute("SELECT count(*) FROM upload WHERE renew_at IS NOT NULL").get
    )
    assert due == 0


async def test_what_may_not_even_be_announced_is_not_renewed(station: Station, lte: Gate) -> None:
    uplink = Keeping(0.05)
    station.connect(uplink)
    await queued(station, a=[Priority.ROUTINE])
    async with sending(station):
        await until(lambda: uplink.told)
    silent = LinkRule(links=(LinkClass.LTE,), content=False, metadata=False)
    station.gate = Gate(station.desk, Traffic(rule=(silent,)))
    station.gate.move(LinkClass.LTE)
    station.connect(uplink)
    before = len(uplink.told)
    async with sending(station):
        await asyncio.sleep(0.3)
    assert len(uplink.told) == before
