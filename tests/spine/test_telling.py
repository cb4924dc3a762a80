"""What the DEMS is told of before bytes go: of all that waits, whatever failed in between, and beside what goes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import pytest

from agent import forward
from agent.capture import Priority, Standing, Strength
from agent.errors import UplinkDown
from agent.gate import Gate
from agent.testing.uplinks import BenchUplink
from agent.traffic import LinkClass, Traffic
from agent.traffic.options import LinkRule
from tests.spine.docked import filled, queued
from tests.spine.test_turns import sending, until

if TYPE_CHECKING:
    from agent.capture import Receipt
    from agent.testing.devices import BenchDevice
    from agent.testing.station import Station
    from agent.uplink import Sending

RULES = Traffic(rule=(LinkRule(links=(LinkClass.LTE,), classes=(Priority.ROUTINE,), content=False),))


class Told(BenchUplink):
    """It can be told. `silent`: keys of which it answers nothing; `no`: what is raised by the next ones."""

    def __init__(self) -> None:
        super().__init__(strength=Strength.DIGEST)
        self.told: list[str] = []
        self.no: deque[UplinkDown | None] = deque()
        self.silent: set[str] = set()
        self.answers = asyncio.Event()

    async def announce(self, sending: Sending, /) -> None:
        if sending.holding.origin.key in self.silent:
            await self.answers.wait()
        if self.no and (failure := self.no.popleft()) is not None:
            raise failure
        self.told.append(sending.holding.origin.key)
        await sending.remember("told")

    async def send(self, sending: Sending, /) -> Receipt:
        if sending.holding.origin.key in self.silent:
            self.order.append(sending.holding.origin.key)
            await self.answers.wait()
        return await super().send(sending)


@pytest.fixture
def dems(station: Station, monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(forward, "_IDLE", 0.02)
    station.gate = Gate(station.desk, RULES)
    station.gate.move(LinkClass.LTE)
    made = Told()
    station.connect(made)
    return made


@pytest.mark.parametrize("alone", [False, True])
async def test_whoever_could_not_be_told_of_is_told_of_later(station: Station, dems: Told, *, alone: bool) -> None:
    """The destination goes away in the middle of it, or has no answer for one."""
    dems.no.extend([None, UplinkDown("gone", alone=alone), None])
    await queued(station, a=[Priority.ROUTINE] * 4)
    async with sending(station):
        await until(lambda: sorted(dems.told) == ["a0", "a1", "a2", "a3"])
        await queued(station, b=[Priority.ROUTINE])
        await until(lambda: "b0" in dems.told)
    assert len(dems.told) == 5, "and each once"


async def test_what_gets_no_answer_keeps_nothing_waiting_that_may_go(station: Station, dems: Told) -> None:
    """Another request creates that upload (423), which is waited for up to five minutes."""
    dems.silent.add("a0")
    await queued(station, a=[Priority.ROUTINE])
    async with sending(station):
        await until(lambda: station.forward.departures)
        await queued(station, b=[Priority.HIT])
        await until(lambda: dems.order == ["b0"] and dems.stored)
        dems.answers.set()
        await until(lambda: dems.told == ["a0"])


async def test_it_is_told_while_all_places_are_taken(station: Station, dems: Told) -> None:
    """And so its places are kept up while others are sent for hours."""
    station.connect(dems, in_flight=1)
    dems.silent.add("b0")
    await queued(station, b=[Priority.HIT])
    async with sending(station):
        await until(lambda: dems.order == ["b0"])
        await queued(station, a=[Priority.ROUTINE] * 2)
        await until(lambda: dems.told == ["a0", "a1"])
        dems.answers.set()


async def test_metadata_of_all_goes_before_content_of_any_however_many_they_are(
    station: Station, bench: BenchDevice, dems: Told
) -> None:
    station.gate.configure(Traffic(metadata_first=True, link=LinkClass.WIRED))
    await filled(station, bench, 150)
    async with sending(station):
        await until(lambda: dems.order)
        assert len(dems.told) == 150
        async with asyncio.timeout(60):
            while await station.count(Standing.RECEIPTED) < 150:  # noqa: ASYNC110 - another task makes it so
                await asyncio.sleep(0.005)
    assert len(dems.told) == 150
