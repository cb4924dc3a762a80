"""Who has a narrow link: the urgent capture at once, the others meanwhile as much as keeps them alive, if that helps.

Time is made here, and the link: a piece takes as long as the link's rate and those who share it say.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from heapq import heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from agent.capture import Priority, Standing, Strength
from agent.forward import precedence
from agent.forward.precedence import EVERY, STANDS, STUCK, Precedence
from agent.forward.watched import Departure, kept
from agent.gate import Gate
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.uplinks import BenchUplink
from agent.traffic import Bucket, Traffic
from tests.spine.docked import queued
from tests.spine.test_turns import Slow, sending, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.capture import Holding, Receipt
    from agent.testing.station import Station
    from agent.uplink import Sending

KIB, MIB = 1 << 10, 1 << 20
RATE = 2_000_000 / 8
BYTES = bytes(512 * KIB)


class Time:
    """Seconds that pass when everybody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (self.now + seconds, id(woken), woken))
        await woken

    async def pass_until(self, when: float) -> None:
        while True:
            for _ in range(5):
                await asyncio.sleep(0)
            if not self._sleepers or self._sleepers[0][0] > when:
                break
            self.now, _, woken = heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
        self.now = when


class Road:
    """Captures on their way to one destination, over a link that all share, or where each has a speed of its own."""

    def __init__(self, holding: Holding, *, each: float | None = None, rate: float = RATE) -> None:
        self.time, self.each, self.rate = Time(), each, rate
        self.departures: dict[str, Departure] = {}
        self.precedence = Precedence(self.departures, Bucket(), now=lambda: self.time.now, sleep=self.time.sleep)
        self.went: dict[str, list[tuple[float, int]]] = {}
        self.over: dict[str, float] = {}
        self._sharing = 0
        self._holding = holding
        self._tasks: list[asyncio.Task[None]] = []

    def sets_out(self, name: str, priority: Priority, length: int = 1 << 40, *, aged: bool = False) -> None:
        holding = replace(self._holding, id=name, priority=priority)
        self.departures[name] = Departure(holding, aged=aged)
        self._tasks.append(asyncio.create_task(self._goes(self.departures[name], length)))

    async def _goes(self, departure: Departure, length: int) -> None:
        name, rest = departure.holding.id, length
        self.went[name] = []
        while rest:
            block = BYTES[: min(rest, len(BYTES))]
            rest -= len(block)
            async for piece in self.precedence.pieces(departure, block, last=not rest):
                self._sharing += 1
                await self.time.sleep(len(piece) / (self.each or self.rate / self._sharing))
                self._sharing -= 1
                self.went[name].append((self.time.now, len(piece)))
        del self.departures[name]
        self.over[name] = self.time.now

    def bytes_of(self, name: str, since: float, until: float) -> int:
        return sum(piece for at, piece in self.went[name] if since < at <= until)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


@pytest.fixture
async def holding(station: Station) -> Holding:
    await queued(station, a=[Priority.ROUTINE])
    return await station.only()


@pytest.fixture
async def road(holding: Holding) -> AsyncIterator[Road]:
    made = Road(holding)
    yield made
    await made.end()


async def test_an_urgent_capture_has_a_narrow_link_soon_and_nearly_alone(road: Road) -> None:
    for number in range(15):
        road.sets_out(f"routine-{number}", Priority.ROUTINE)
    await road.time.pass_until(60)
    road.sets_out("force", Priority.USE_OF_FORCE, 2 * MIB)
    await road.time.pass_until(200)
    alone = 2 * MIB / RATE
    assert road.over["force"] - 60 < 3 * alone, "beside fifteen it takes sixteen times as long"
    meanwhile = sum(road.bytes_of(f"routine-{one}", 70, road.over["force"]) for one in range(15))
    assert meanwhile < 0.2 * RATE * (road.over["force"] - 70)
    after = road.over["force"] + 1
    freely = sum(road.bytes_of(f"routine-{number}", after, after + 60) for number in range(15))
    assert freely > 0.9 * RATE * 60, "and when it is over they have all of it again at once"


async def test_also_where_one_piece_takes_longer_than_a_pause(holding: Holding) -> None:
    road = Road(holding, rate=600_000 / 8)
    for number in range(15):
        road.sets_out(f"routine-{number}", Priority.ROUTINE)
    await road.time.pass_until(60)
    road.sets_out("force", Priority.USE_OF_FORCE, MIB)
    await road.time.pass_until(400)
    alone = MIB / road.rate
    assert road.over["force"] - 60 < 3 * alone, "beside fifteen it takes sixteen times as long"
    await road.end()


async def test_one_that_is_stuck_holds_nobody_back_for_long(road: Road) -> None:
    """Its connection died in silence, which is found out by the stall only."""
    road.sets_out("routine", Priority.ROUTINE)
    road.sets_out("force", Priority.USE_OF_FORCE)
    await road.time.pass_until(20)
    stuck = Departure(road.departures.pop("force").holding)
    stuck.first_at, stuck.moved_at, stuck.given_at = 0.0, 20.0, 20.0
    road.departures["force"] = stuck
    since = 20 + STUCK + EVERY
    await road.time.pass_until(since + 20)
    assert road.bytes_of("routine", since, since + 20) > 0.4 * RATE * 20


async def test_who_is_held_back_shows_that_it_lives(road: Road) -> None:
    road.sets_out("routine", Priority.ROUTINE)
    road.sets_out("force", Priority.USE_OF_FORCE)
    await road.time.pass_until(60)
    times = [at for at, _ in road.went["routine"] if at > 10]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) < EVERY + 2, "servers and proxies wait for at least twenty seconds"
    rate = road.bytes_of("routine", 10, 60) / 50
    assert 500 < rate < 0.05 * RATE, "the least that mod_reqtimeout bears is 500 bytes a second"


async def test_where_it_does_not_help_nobody_is_held_back_for_long(holding: Holding) -> None:
    """Each connection has its speed, as on a lossy link, or behind a receiver that is slow."""
    road = Road(holding, each=RATE)
    names = [f"routine-{number}" for number in range(15)]
    for name in names:
        road.sets_out(name, Priority.ROUTINE)
    road.sets_out("force", Priority.USE_OF_FORCE)
    whole = 4 * STANDS
    await road.time.pass_until(whole)
    went = sum(road.bytes_of(name, 0, whole) for name in names)
    assert went > 0.8 * 15 * RATE * whole
    assert road.bytes_of("force", 0, whole) > 0.95 * RATE * whole
    await road.end()


async def test_of_three_classes_the_first_has_it(road: Road) -> None:
    for name, priority in (("bulk", Priority.BULK), ("hit", Priority.HIT), ("first", Priority.FIRST)):
        road.sets_out(name, priority)
    await road.time.pass_until(70)
    went = {name: road.bytes_of(name, 15, 70) for name in road.went}
    assert went["first"] > 0.9 * RATE * 55
    assert went["hit"] < 0.05 * went["first"]
    assert went["bulk"] < 0.05 * went["first"]


async def test_those_of_one_class_share_it(road: Road) -> None:
    road.sets_out("one", Priority.ROUTINE)
    road.sets_out("two", Priority.ROUTINE)
    await road.time.pass_until(100)
    went = [road.bytes_of(name, 0, 100) for name in ("one", "two")]
    assert min(went) > 0.8 * max(went)


async def test_what_waited_too_long_is_not_held_back_again(road: Road) -> None:
    road.sets_out("old", Priority.BULK, aged=True)
    road.sets_out("force", Priority.USE_OF_FORCE)
    await road.time.pass_until(60)
    assert road.bytes_of("old", 10, 60) > 0.3 * RATE * 50


async def test_several_in_a_row_are_tried_once(road: Road) -> None:
    """Each of them is over before it could be known what it gains."""
    road.sets_out("routine", Priority.ROUTINE)
    for number in range(1, 11):
        road.sets_out(f"force-{number}", Priority.USE_OF_FORCE, MIB)
        await road.time.pass_until(6 * number)
    assert len(road.over) > 7
    assert road.bytes_of("routine", 20, 60) < 0.4 * RATE * 40, "and 4.2 of each 6 seconds are theirs"


async def test_many_small_ones_hold_nobody_back(road: Road) -> None:
    """Reads of plates, one after another: each is over before anybody feels it."""
    road.sets_out("routine", Priority.ROUTINE)
    for second in range(1, 61):
        await road.time.pass_until(second)
        road.sets_out(f"hit-{second}", Priority.HIT, 32 * KIB)
    assert road.bytes_of("routine", 0, 60) > 0.75 * RATE * 60


async def test_small_ones_in_between_do_not_begin_it_anew(road: Road) -> None:
    road.sets_out("routine", Priority.ROUTINE)
    road.sets_out("force", Priority.USE_OF_FORCE)
    for second in range(2, 60, 2):
        await road.time.pass_until(second)
        road.sets_out(f"first-{second}", Priority.FIRST, 72 * KIB)
    assert road.bytes_of("routine", 20, 60) < 0.1 * RATE * 40


async def test_one_that_waits_for_an_answer_holds_nobody_back(road: Road) -> None:
    road.sets_out("force", Priority.USE_OF_FORCE, 4 * MIB)
    road.sets_out("routine", Priority.ROUTINE)
    await road.time.pass_until(18)
    held = road.bytes_of("routine", 5, 18)
    departure = road.departures["force"]
    await road.time.pass_until(40)
    road.departures["force"] = departure  # its bytes went; what it was, is being verified
    since = road.time.now + 5
    await road.time.pass_until(since + 30)
    assert held < 0.1 * RATE * 13
    assert road.bytes_of("routine", since, since + 30) > 0.9 * RATE * 30


@pytest.mark.parametrize(
    ("going", "comes", "places", "not_for_it"),
    [
        ([Priority.ROUTINE] * 7, Priority.ROUTINE, 8, 1),
        ([Priority.ROUTINE] * 7, Priority.HIT, 8, 0),
        ([Priority.HIT] * 7, Priority.ROUTINE, 8, 1),
        ([Priority.HIT] * 6 + [Priority.BULK], Priority.ROUTINE, 8, 0),
        ([Priority.ROUTINE] * 3, Priority.ROUTINE, 4, 0),
        ([], Priority.ROUTINE, 8, 1),
    ],
)
async def test_of_many_places_the_last_is_for_what_is_more_urgent(
    holding: Holding, going: list[Priority], comes: Priority, places: int, not_for_it: int
) -> None:
    departures = [Departure(replace(holding, priority=one)) for one in going]
    assert kept(departures, replace(holding, priority=comes), places) == not_for_it


async def test_an_urgent_capture_finds_a_place_at_once_where_there_are_many(station: Station) -> None:
    """None of the requests that are on their way ends."""
    uplink = Slow()
    station.connect(uplink, in_flight=8)
    await queued(station, a=[Priority.ROUTINE] * 10)
    async with sending(station):
        await until(lambda: len(uplink.began) == 7)
        await queued(station, b=[Priority.HIT], c=[Priority.USE_OF_FORCE])
        await until(lambda: len(uplink.began) == 8)
        assert uplink.began[-1] in ("b0", "c0")
        for _ in range(100):
            uplink.steps.release()
        await until(lambda: {"b0", "c0"} <= set(uplink.done))


class Capped(BenchUplink):
    """It takes all at once: how fast anything goes is the policy's cap for the link, which all share."""

    async def send(self, sending: Sending, /) -> Receipt:
        length = sending.holding.digest.length
        await sending.turn(length)
        async for _ in sending.outgoing(0, length):
            pass
        return await super().send(sending)


async def test_the_sender_lets_an_urgent_capture_by(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"PRESSES": 0.05, "EVERY": 0.5, "_AGAIN": 0.02}.items():
        monkeypatch.setattr(precedence, name, seconds)
    short = dict(zip(precedence._LASTS, (0.2, 0.2, 0.2, 60.0, 60.0), strict=True))
    monkeypatch.setattr(precedence, "_LASTS", short)
    station.gate = Gate(station.desk, Traffic(bandwidth="2 MB/s"))
    station.connect(Capped(strength=Strength.DIGEST), in_flight=8)
    for number in range(6):
        device = BenchDevice(f"bench:{number}")
        device.record(f"r{number}", some_bytes(12 * MIB, number))
        await station.dock(device)
    device = BenchDevice("bench:urgent")
    device.record("urgent", some_bytes(3 * MIB, "u"), priority=Priority.USE_OF_FORCE)

    def gone() -> int:
        going = station.forward.departures.values()
        return sum(one.handed for one in going if one.holding.priority is Priority.ROUTINE)

    async with sending(station):
        await until(lambda: len(station.forward.departures) == 6)
        before = gone()
        await station.dock(device)
        async with asyncio.timeout(30):
            while not await station.count(Standing.RECEIPTED):  # noqa: ASYNC110 - another task makes it so
                await asyncio.sleep(0.02)
        assert [one.origin.key for one in await station.holdings() if one.standing is Standing.RECEIPTED] == ["urgent"]
        assert gone() - before < 2 * 3 * MIB, "six times as much went beside it before"
