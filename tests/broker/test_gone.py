"""A station that goes without a word, and what of its words outlives it: its will, what is retained, what expires."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.broker import room
from agent.broker.messages import topic
from agent.mqtt import Connection, Subscription
from agent.testing.broker import mosquitto_program
from tests.broker.conftest import STATION, Dock, at, until

if TYPE_CHECKING:
    from agent.mqtt import Message
    from agent.testing.broker import Mosquitto

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(mosquitto_program() is None, reason="mosquitto is not installed"),
]


async def heard(connection: Connection, kind: str) -> tuple[Message, dict[str, Any]]:
    """The next message of a kind, and what it says."""
    async with asyncio.timeout(40):
        while True:
            message = await connection.receive()
            if message.topic == topic(STATION, kind):
                return message, json.loads(message.payload)


async def test_the_broker_tells_of_a_death_by_the_number_of_its_birth(
    mosquitto: Mosquitto, dock: Dock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So whoever hears of a death late knows that there was a birth since."""
    monkeypatch.setattr(room, "WILL_DELAY", 0)
    async with Connection(mosquitto.options(), client_id="watcher") as watcher:
        await watcher.subscribe(Subscription(topic(STATION, "state")))
        async with dock.here(at(mosquitto)) as agent:
            assert agent.broker is not None
            said = [(await heard(watcher, "state"))[1]]
            session = agent.broker.session
            await until(lambda: session.connection)
            assert session.connection is not None
            session.connection.cut()
            said += [(await heard(watcher, "state"))[1] for _ in range(2)]
    assert [(one["online"], one["bd"]) for one in said] == [(True, 1), (False, 1), (True, 2)]


async def test_who_is_back_soon_was_never_dead(mosquitto: Mosquitto, dock: Dock) -> None:
    """The broker waits before it tells of a death (Will Delay Interval), for longer than the first tries take."""
    async with Connection(mosquitto.options(), client_id="watcher") as watcher:
        await watcher.subscribe(Subscription(topic(STATION, "state")))
        async with dock.here(at(mosquitto)) as agent:
            assert agent.broker is not None
            said = [(await heard(watcher, "state"))[1]]
            session = agent.broker.session
            await until(lambda: session.connection)
            assert session.connection is not None
            session.connection.cut()
            said += [(await heard(watcher, "state"))[1]]
    assert [(one["online"], one["bd"]) for one in said] == [(True, 1), (True, 2)]


async def test_one_look_tells_whether_a_station_is_there(mosquitto: Mosquitto, dock: Dock) -> None:
    """Its birth and its death are kept by the broker, and nothing else is; figures reach nobody who is late."""
    async with Connection(mosquitto.options(), client_id="first") as first:
        await first.subscribe(Subscription(topic(STATION, "#")))
        async with dock.here(at(mosquitto)):
            figures, _ = await heard(first, "status")
            assert figures.expiry is not None
            assert 0 < figures.expiry <= 300
            async with Connection(mosquitto.options(), client_id="late") as late:
                await late.subscribe(Subscription(topic(STATION, "#")))
                message = await late.receive()
                assert (message.topic, message.retained) == (topic(STATION, "state"), True)
                assert json.loads(message.payload)["online"] is True
    async with Connection(mosquitto.options(), client_id="later") as later:
        await later.subscribe(Subscription(topic(STATION, "#")))
        message, told = await heard(later, "state")
        assert (message.retained, told["online"]) == (True, False)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await later.receive()
