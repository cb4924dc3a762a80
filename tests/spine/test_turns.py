"""Whose turn it is: classes, devices in turn, what waited too long; and who gives way to whom."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Priority, Receipt, Standing, Strength
from agent.errors import UplinkDown
from agent.forward import pausing
from agent.forward.bundling import BundleSending
from agent.forward.precedence import Precedence
from agent.forward.sending import ForwardSending
from agent.forward.watched import Departure
from agent.gate import Gate
from agent.journal import spending, turns
from agent.journal.rows import micros
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.uplinks import BenchUplink
from agent.traffic import LinkClass, Traffic
from agent.traffic.options import LinkRule, LinkTable
from agent.uplink import UplinkOptions
from tests.spine.docked import queued

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.journal import Journal
    from agent.testing.station import Station
    from agent.uplink import Sending

LONG_AGO = micros(datetime(2000, 1, 1, tzinfo=UTC))


def order(journal: Journal, **changes: object) -> turns.Order:
    known = {
        "classes": tuple(Priority),
        "newest_first": frozenset(),
        "served": {},
        "aged_before": LONG_AGO,
        "turn": 0,
    }
    return turns.Order(**(known | changes))  # type: ignore[arg-type]


async def keys(station: Station, limit: int = 100, **changes: object) -> list[str]:
    return await station.desk.read(
        lambda journal: [
            turn.holding.origin.key for turn in turns.turns(journal, order(journal, **changes), skip=(), limit=limit)
        ]
    )


async def test_devices_of_a_class_take_turns_however_much_one_brought(station: Station) -> None:
    await queued(station, a=[Priority.ROUTINE] * 20, b=[Priority.ROUTINE] * 2, c=[Priority.ROUTINE])
    assert await keys(station, 6) == ["a0", "b0", "c0", "a1", "b1", "a2"]
    assert await keys(station, 3, served={Priority.ROUTINE: "bench:a"}) == ["b0", "c0", "a0"]
    assert await keys(station, 3, served={Priority.ROUTINE: "bench:zzz"}) == ["a0", "b0", "c0"]


async def test_a_more_urgent_class_goes_before_any_turn(station: Station) -> None:
    await queued(station, a=[Priority.BULK, Priority.ROUTINE], b=[Priority.USE_OF_FORCE, Priority.BULK])
    assert await keys(station) == ["b0", "a1", "a0", "b1"]
    assert await keys(station, classes=(Priority.BULK,)) == ["a0", "b1"]


async def test_the_newest_goes_first_where_that_is_asked_for(station: Station) -> None:
    await queued(station, a=[Priority.HIT] * 3, b=[Priority.ROUTINE] * 2)
    assert await keys(station, newest_first=frozenset({Priority.HIT})) == ["a2", "a1", "a0", "b0", "b1"]


async def test_one_turn_in_eight_is_for_what_waited_too_long(station: Station) -> None:
    await queued(station, old=[Priority.BULK] * 3, new=[Priority.USE_OF_FORCE] * 40)
    soon = micros(datetime.now(UTC) + timedelta(days=1))
    found = await keys(station, 24, aged_before=soon)
    assert [place for place, key in enumerate(found) if key.startswith("old")] == [7, 15, 23]
    assert Counter(key[:3] for key in await keys(station, 100, aged_before=soon)) == {"old": 3, "new": 40}
    assert all(key.startswith("new") for key in await keys(station, 24))  # nothing has waited too long


async def test_each_step_is_one_look_into_an_index(station: Station) -> None:
    """SQLite's own plan: no scan and no sort, for the queue may be long."""

    def plans(journal: Journal) -> set[str]:
        asked: list[tuple[str, int]] = []
        journal.connection.exec_trace = lambda _, sql, values: asked.append((sql, len(values or ()))) or True
        for owed_to in (None, "archive"):
            turns.turns(journal, order(journal, newest_first={Priority.HIT}), skip=(), limit=100, owed_to=owed_to)
        journal.connection.exec_trace = None
        assert asked
        return {
            str(row[3])
            for sql, count in asked
            for row in journal.connection.execute(f"EXPLAIN QUERY PLAN {sql}", (0,) * count).fetchall()
        }

    await queued(station, a=[Priority.HIT, Priority.ROUTINE], b=[Priority.HIT])
    found = await station.desk.read(plans)
    assert found
    assert all(plan.startswith("SEARCH") for plan in found), found


# --- under way --------------------------------------------------------------------------------------------------------


class Slow(BenchUplink):
    """Asks for its turn before each of some requests, and waits in between until it is let go on."""

    def __init__(self, requests: int = 6, length: int = 10) -> None:
        super().__init__()
        self.requests, self.length = requests, length
        self.steps = asyncio.Semaphore(0)
        self.began: list[str] = []
        self.done: list[str] = []

    async def send(self, sending: Sending, /) -> Receipt:
        key = sending.holding.origin.key
        self.began.append(key)
        for _ in range(self.requests):
            await sending.turn(self.length)
            async for _ in sending.outgoing(0, self.length):
                await self.steps.acquire()
        self.done.append(key)
        return await super().send(sending)


@asynccontextmanager
async def sending(station: Station) -> AsyncIterator[None]:
    running = asyncio.create_task(station.forward.run())
    yield
    running.cancel()
    await asyncio.wait({running})


async def until(condition: object, within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - another task makes it true
            await asyncio.sleep(0.005)


async def stepped_until(uplink: Slow, condition: object) -> None:
    """Let one request after another end until it is so."""
    async with asyncio.timeout(30):
        while not condition():  # type: ignore[operator]
            uplink.steps.release()
            await asyncio.sleep(0.005)


async def test_a_more_urgent_capture_takes_the_place_of_another_between_two_requests(station: Station) -> None:
    uplink = Slow(requests=50)
    station.connect(uplink, in_flight=2)
    await queued(station, a=[Priority.ROUTINE], b=[Priority.BULK])
    async with sending(station):
        await until(lambda: sorted(uplink.began) == ["a0", "b0"])
        await queued(station, c=[Priority.USE_OF_FORCE])
        await asyncio.sleep(0.02)
        assert "c0" not in uplink.began  # within a request nobody is pushed
        await stepped_until(uplink, lambda: "c0" in uplink.began)
        assert {one.holding.origin.key for one in station.forward.departures.values()} == {"a0", "c0"}
        for _ in range(500):
            uplink.steps.release()
        await until(lambda: len(uplink.done) == 3)
    assert uplink.began.count("b0") == 2


async def test_send_this_first_takes_a_place_too(station: Station) -> None:
    uplink = Slow()
    station.connect(uplink, in_flight=1)
    await queued(station, a=[Priority.ROUTINE] * 5)
    async with sending(station):
        await until(lambda: uplink.began == ["a0"])
        wanted = next(one for one in await station.holdings() if one.origin.key == "a4")
        await station.desk.write(lambda j: j.prioritise(wanted.id, Priority.FIRST, actor="anna", why="the court asks"))
        station.forward.nudge()
        for _ in range(100):
            uplink.steps.release()
        await until(lambda: len(uplink.done) == 5)
    assert uplink.done[0] == "a4" or uplink.began[1] == "a4"


async def test_a_device_with_all_lanes_gives_one_to_a_device_that_has_none(station: Station) -> None:
    uplink = Slow(requests=50)
    station.connect(uplink, in_flight=3)
    await queued(station, a=[Priority.ROUTINE] * 6)
    async with sending(station):
        await until(lambda: len(uplink.began) == 3)
        await queued(station, b=[Priority.ROUTINE] * 6)
        await stepped_until(uplink, lambda: "b0" in uplink.began)
        assert not uplink.done, "it waited for no capture to be finished"
        lanes = Counter(one.holding.origin.device for one in station.forward.departures.values())
        assert lanes == {"bench:a": 2, "bench:b": 1}
        await asyncio.sleep(0.05)
        assert lanes == Counter(one.holding.origin.device for one in station.forward.departures.values())


# --- the gate ---------------------------------------------------------------------------------------------------------

RULES = Traffic(
    rule=(LinkRule(links=(LinkClass.LTE,), classes=(Priority.ROUTINE,), content=False),),
    on={LinkClass.LTE: LinkTable(budget=105)},
    timezone="America/Toronto",
)


@pytest.fixture
async def gated(station: Station, monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(station.desk, RULES)
    station.gate = gate
    return gate


async def test_another_link_counts_from_the_next_request_on(station: Station, gated: Gate) -> None:
    uplink = Slow()
    station.connect(uplink, in_flight=4)
    await queued(station, a=[Priority.ROUTINE, Priority.HIT])
    async with sending(station):
        await until(lambda: len(uplink.began) == 2)
        gated.move(LinkClass.LTE)
        for _ in range(100):
            uplink.steps.release()
        await until(lambda: uplink.done == ["a1"])
        await until(lambda: not station.forward.departures)
        assert await station.count(Standing.HELD) == 1
        gated.move(LinkClass.WIRED)
        await until(lambda: uplink.done == ["a1", "a0"])


async def test_a_destination_that_one_network_did_not_reach_is_tried_soon_on_another(
    station: Station, gated: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A car stands in the yard for some minutes, and before it none of its ways led anywhere for an hour."""
    uplink = BenchUplink()
    uplink.fails.extend([UplinkDown("does not answer")] * 2)
    station.connect(uplink)
    monkeypatch.setattr(pausing, "jitter", lambda _: 300.0)
    await queued(station, a=[Priority.FIRST] * 2)
    async with sending(station):
        await until(lambda: not station.forward.link.up)
        monkeypatch.setattr(pausing, "jitter", lambda _: 0.01)
        station.forward.nudge()
        await asyncio.sleep(0.1)
        assert not station.forward.link.up, "other news do not shorten a pause"
        gated.move(LinkClass.STATION_WIFI)
        async with asyncio.timeout(5):
            while await station.count(Standing.RECEIPTED) < 2:  # noqa: ASYNC110 - another task makes it so
                await asyncio.sleep(0.005)
    assert station.forward.link.up


async def test_what_counts_for_a_day_is_never_exceeded_and_outlives_a_restart(station: Station, gated: Gate) -> None:
    uplink = Slow(requests=4)
    station.connect(uplink, in_flight=1)
    gated.move(LinkClass.LTE)
    for _ in range(1000):
        uplink.steps.release()
    await queued(station, a=[Priority.HIT] * 5)
    async with sending(station):
        await until(lambda: gated.waiting().get("hit") == "today's budget for lte is spent")
        await until(lambda: not station.forward.departures)
    assert len(uplink.done) == 2  # 4 requests of 10 bytes each; the third capture stopped after two more
    day = (await station.desk.read(lambda j: j.connection.execute("SELECT * FROM spent").fetchall()))[0]
    assert day[1:] == ("lte", 100)
    await station.restart()
    again = Gate(station.desk, RULES)
    again.move(LinkClass.LTE)
    station.gate = again
    station.connect(uplink, in_flight=1)
    async with sending(station):
        await until(lambda: again.waiting().get("hit") == "today's budget for lte is spent")
    assert len(uplink.done) == 2


async def test_what_did_not_go_is_given_back(station: Station, gated: Gate) -> None:
    gated.move(LinkClass.LTE)
    charge = await gated.admit(Priority.HIT, 100)
    await gated.settle(charge, 60)
    assert await gated.admit(Priority.HIT, 65) is not None


@pytest.mark.parametrize("together", [False, True])
async def test_a_request_that_was_let_go_and_never_came_to_its_bytes_costs_nothing(
    station: Station, *, together: bool
) -> None:
    """As where the connection did not come about, and the same bytes ask again."""
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    gate = Gate(station.desk, RULES, now=lambda: now)
    gate.move(LinkClass.LTE)
    await queued(station, a=[Priority.HIT])
    (holding,) = await station.holdings()
    departure, length = Departure(holding), holding.digest.length
    if together:
        bundle = BundleSending(station.spool, gate, Precedence({}, gate.bucket), [departure])
        turn, settle = bundle.turn, bundle.settle
    else:
        words: dict[str, Any] = {"to": UplinkOptions(use="bench", name="dems"), "state": None, "served": lambda: None}
        one = ForwardSending(station.spool, station.desk, gate, Precedence({}, gate.bucket), departure, **words)
        turn, settle = partial(one.turn, length), one.settle
    for _ in range(20):  # twice as much as may go in a day
        await turn()
    assert await station.desk.read(lambda journal: spending.spent(journal, "2026-11-22", "lte")) == length
    await settle()
    assert await station.desk.read(lambda journal: spending.spent(journal, "2026-11-22", "lte")) == 0


@pytest.mark.parametrize("together", [False, True])
async def test_of_a_request_that_is_cut_only_what_went_is_counted(station: Station, *, together: bool) -> None:
    now, length = datetime(2026, 11, 22, 12, tzinfo=UTC), 3 * 256 * 1024
    traffic = Traffic(link=LinkClass.LTE, on={LinkClass.LTE: LinkTable(budget="1 MB")})
    gate = Gate(station.desk, traffic, now=lambda: now)
    device = BenchDevice("bench:a")
    device.record("a0", some_bytes(length))
    await station.dock(device)
    departure = Departure(await station.only())
    if together:
        bundle = BundleSending(station.spool, gate, Precedence({}, gate.bucket), [departure])
        await bundle.turn()
        outgoing = bundle.outgoing([bytes(256 * 1024)] * 3)
    else:
        words: dict[str, Any] = {"to": UplinkOptions(use="bench", name="dems"), "state": None, "served": lambda: None}
        one = ForwardSending(station.spool, station.desk, gate, Precedence({}, gate.bucket), departure, **words)
        await one.turn(length)
        outgoing = one.outgoing(0, length)
    assert await station.desk.read(lambda journal: spending.spent(journal, "2026-11-22", "lte")) == length
    went = len(await anext(outgoing))
    await outgoing.aclose()  # type: ignore[attr-defined]
    assert 0 < went < length
    assert await station.desk.read(lambda journal: spending.spent(journal, "2026-11-22", "lte")) == went


async def test_of_a_body_that_a_thread_sends_only_what_it_read_is_counted(station: Station) -> None:
    length = 3 * 256 * 1024
    traffic = Traffic(link=LinkClass.LTE, on={LinkClass.LTE: LinkTable(budget="1 MB")})
    gate = Gate(station.desk, traffic, now=lambda: datetime(2026, 11, 22, 12, tzinfo=UTC))
    device = BenchDevice("bench:a")
    device.record("a0", some_bytes(length))
    await station.dock(device)
    departure = Departure(await station.only())
    words: dict[str, Any] = {"to": UplinkOptions(use="bench", name="dems"), "state": None, "served": lambda: None}
    one = ForwardSending(station.spool, station.desk, gate, Precedence({}, gate.bucket), departure, **words)

    async def spent() -> int:
        return await station.desk.read(lambda journal: spending.spent(journal, "2026-11-22", "lte"))

    await one.turn(length)
    async with one.leaving(0, length) as leaving:
        assert await spent() == length
        assert await asyncio.to_thread(leaving.read, memoryview(bytearray(1000))) == 1000
    assert await spent() == 1000
    with pytest.raises(ConnectionAbortedError):
        leaving.read(memoryview(bytearray(1000)))
    await one.unsent(1000)
    assert await spent() == 0


class Announcing(BenchUplink):
    def __init__(self) -> None:
        super().__init__(strength=Strength.DIGEST)
        self.told: list[str] = []

    async def announce(self, sending: Sending, /) -> None:
        self.told.append(sending.holding.origin.key)
        await sending.remember("told")


async def test_the_dems_is_told_of_what_may_not_go_yet_and_only_once(station: Station, gated: Gate) -> None:
    uplink = Announcing()
    station.connect(uplink)
    gated.move(LinkClass.LTE)
    await queued(station, a=[Priority.ROUTINE] * 3)
    async with sending(station):
        await until(lambda: uplink.told == ["a0", "a1", "a2"])
        await queued(station, b=[Priority.ROUTINE])
        await until(lambda: uplink.told == ["a0", "a1", "a2", "b0"])
    await station.restart()
    again = station.gate = Gate(station.desk, RULES)
    again.move(LinkClass.LTE)
    station.connect(uplink)
    async with sending(station):
        await asyncio.sleep(0.1)
        assert len(uplink.told) == 4
        assert not uplink.stored
        again.move(LinkClass.WIRED)
        await until(lambda: len(uplink.stored) == 4)


async def test_metadata_of_all_goes_before_content_of_any(station: Station) -> None:
    uplink = Announcing()
    station.gate = Gate(station.desk, Traffic(metadata_first=True))
    station.connect(uplink)
    await queued(station, a=[Priority.ROUTINE] * 5)
    await station.send()
    assert uplink.told == ["a0", "a1", "a2", "a3", "a4"]
    assert await station.count(Standing.RECEIPTED) == 5
