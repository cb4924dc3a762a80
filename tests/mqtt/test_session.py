"""When a session comes back: at random, never all at once, never never; and what a full window costs that is cut."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from agent.mqtt import BrokerOptions, Connection, Outgoing, Session, Subscription
from agent.mqtt import session as session_module
from agent.mqtt.door import IN_FLIGHT
from agent.mqtt.reasons import BrokerDown, refusal
from agent.mqtt.session import PAUSE_MAX, STABLE, Pauses

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.testing.broker import Mosquitto

CUTS = int(os.environ.get("EVIDOCK_BROKER_CUTS", "10"))


class Most(random.Random):
    """Always the longest wait."""

    def uniform(self, a: float, b: float) -> float:
        assert 0 <= a <= b
        return b


def test_the_limit_doubles_up_to_five_minutes_and_no_further() -> None:
    pauses = Pauses(Most())
    assert [pauses.after(0, theirs=False) for _ in range(10)] == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert PAUSE_MAX == 300


def test_where_the_broker_went_the_first_wait_is_spread_too() -> None:
    pauses = Pauses(Most())
    assert [pauses.after(0, theirs=True) for _ in range(7)] == [60, 120, 240, 300, 300, 300, 300]


def test_mqt_5_failures_are_forgotten_only_after_a_connection_that_held() -> None:
    pauses = Pauses(Most())
    waits = [pauses.after(1, theirs=False) for _ in range(20)]
    assert waits[-1] == PAUSE_MAX, "a broker that takes us in and throws us out is not hammered"
    assert pauses.after(STABLE, theirs=False) == 2


def test_mqt_5_accepted_and_thrown_out_makes_few_connections_in_ten_minutes() -> None:
    for seed in range(20):
        pauses, now, tries = Pauses(random.Random(seed)), 0.0, 0
        while now < 600:
            tries += 1
            now += 0.5 + pauses.after(0.5, theirs=True)
        assert tries <= 20, f"{tries} connections with seed {seed}"


def test_two_who_take_over_from_each_other_do_so_less_and_less_often() -> None:
    """Each holds for longer than a minute, for the other one stays away so long: that is no connection that held."""
    session = Session(BrokerOptions(host="127.0.0.1", tls=False), name="one", chance=Most())
    taken_over = refusal(0x8E, "another client took over", ended=True)
    waits = [session._lost(taken_over, held=150.0) for _ in range(5)]
    assert waits == sorted(waits)
    assert waits[-1] == PAUSE_MAX
    assert session._lost(BrokerDown("the broker went"), held=STABLE) < PAUSE_MAX


def test_what_the_broker_asks_for_is_kept() -> None:
    for code, least in ((0x89, 60), (0x97, 60), (0x9F, 60), (0x8E, 120), (0x87, 300), (0x86, 300), (0x8A, 300)):
        error = refusal(code, "x", ended=True)
        assert isinstance(error, BrokerDown)
        assert error.retry_after == least
        waits = [Pauses(random.Random(seed)).after(0, theirs=True, at_least=least) for seed in range(50)]
        assert min(waits) >= least
        assert max(waits) <= max(300, 1.5 * least)


def test_after_six_hours_it_is_back_within_five_minutes() -> None:
    for seed in range(50):
        pauses, now = Pauses(random.Random(seed)), 0.0
        while now < 6 * 3600:
            now += pauses.after(0, theirs=True)
        assert now - 6 * 3600 <= PAUSE_MAX


def test_mqt_4_a_fleet_that_lost_its_broker_comes_back_spread_out() -> None:
    """A thousand stations, ten minutes without their broker: never more than twenty arrive in one second."""
    arrivals = Counter[int]()
    for seed in range(1000):
        pauses, now = Pauses(random.Random(seed)), 0.0
        while now < 600:
            now += pauses.after(0, theirs=True)
        arrivals[int(now - 600)] += 1
    assert max(arrivals.values()) <= 20
    assert max(arrivals) <= PAUSE_MAX


@pytest.mark.interop
async def test_mqt_1_a_full_window_that_is_cut_blocks_nothing_afterwards(mosquitto: Mosquitto) -> None:
    """Each time with as many messages under way as may be: what was not acknowledged is sent by whoever sends again."""
    options, arrived = mosquitto.options(), Counter[bytes]()
    async with Connection(options, client_id="dems") as ear:
        await ear.subscribe(Subscription("up/#"))
        wanted = {b"%d" % number for number in range(CUTS * IN_FLIGHT)}
        left = set(wanted)
        for _ in range(CUTS):
            async with Connection(options, client_id="station") as station:
                mosquitto.pause()
                batch = [
                    asyncio.create_task(station.publish(Outgoing("up/x", one))) for one in sorted(left)[:IN_FLIGHT]
                ]
                await asyncio.sleep(0.02)
                station.cut()
                mosquitto.resume()
                results = await asyncio.gather(*batch, return_exceptions=True)
                assert all(isinstance(one, BrokerDown) for one in results)
        async with Connection(options, client_id="station") as station:
            async with asyncio.TaskGroup() as group:
                for one in left:
                    group.create_task(station.publish(Outgoing("up/x", one)))
            while wanted - arrived.keys():
                message = await ear.receive()
                arrived[message.payload] += 1
                ear.acknowledge(message)


@pytest.mark.interop
async def test_mqt_2_never_more_under_way_than_may_be(mosquitto: Mosquitto) -> None:
    async with Connection(mosquitto.options(), client_id="station") as station:
        paho = station._client._paho  # type: ignore[union-attr]
        most, publish = 0, paho.publish

        def counted(*words: object, **more: object) -> object:
            nonlocal most
            most = max(most, len(paho._out_messages) + 1)
            return publish(*words, **more)

        paho.publish = counted
        async with asyncio.TaskGroup() as group:
            for number in range(1000):
                group.create_task(station.publish(Outgoing("up/x", b"%d" % number)))
        assert most <= IN_FLIGHT


async def test_a_nudge_is_one_try_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(asyncio.get_running_loop().time())
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        session = Session(BrokerOptions(host="127.0.0.1", port=port, tls=False), name="x", chance=Most())
        running = asyncio.create_task(session.listen(_nothing))
        await _until(lambda: session.trouble)
        for _ in range(20):
            session.nudge()
            await asyncio.sleep(0.01)
        await _until(lambda: len(tries) == 2)
        assert "closed" in (session.trouble or "")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_urgent_waits_for_no_long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "SOON", 0.05)
    tries: list[float] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(asyncio.get_running_loop().time())
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        session = Session(BrokerOptions(host="127.0.0.1", port=port, tls=False), name="x", chance=Most())
        running = asyncio.create_task(session.listen(_nothing))
        await _until(lambda: session.trouble)
        assert len(tries) == 1, "the first pause is a minute"
        session.hurry()
        await _until(lambda: len(tries) >= 4)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_a_broker_that_says_how_long_to_stay_away_is_heard_all_the_same() -> None:
    session = Session(BrokerOptions(host="127.0.0.1", port=1, tls=False), name="x")
    session.hurry()
    assert session._until(1e9, 5.0) == 5.0
    session.reason = 0x97
    assert session._until(1e9, 5.0) == 1e9


async def _nothing(_: object) -> None:
    return None


async def _until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what is awaited happens on the other side of a socket
            await asyncio.sleep(0.01)


async def test_who_is_told_to_end_in_the_moment_in_which_a_connection_breaks_ends(mosquitto: Mosquitto) -> None:
    """The library may drop a cancellation that comes together with what it waits for (Python 3.11's `wait_for`)."""
    session = Session(mosquitto.options(), name="x", chance=Most())

    async def visit(_: Connection) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise BrokerDown("it closed the connection") from None  # the cancellation is dropped

    running = asyncio.create_task(session.run(visit))
    async with asyncio.timeout(20):
        while not session.up:  # noqa: ASYNC110 - the broker is another process
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait({running}, timeout=10)
    assert running.cancelled()
