"""Commands over MQTT: an operator's signature counts, each is obeyed once, for this station, now; each is an entry."""

from __future__ import annotations

import asyncio
import json
import shutil
import tomllib
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from agent.broker.messages import CommandGiven, Order, topic
from agent.broker.orders import signed
from agent.capture import Priority, Standing, rfc3339
from agent.driver import DriverOptions
from agent.journal import queries
from agent.mqtt import Connection, Outgoing, Subscription
from agent.mqtt.reasons import refusal
from agent.note import Signer
from agent.registry import Equipment, LoadedDriver
from agent.station import acts
from agent.testing.broker import mosquitto_program
from agent.testing.devices import some_bytes
from tests.broker.conftest import STATION, Dock, at, entries, standing, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agent.broker.hearing import Heard
    from agent.daemon import Agent
    from agent.driver import Record
    from agent.mqtt import Message
    from agent.testing.broker import Mosquitto

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(mosquitto_program() is None, reason="mosquitto is not installed"),
]

ALICE = Signer.ed25519("alice.example.org", bytes(32))
MALLORY = Signer.ed25519("alice.example.org", bytes([1] * 32))


def order(command: str = "report", **more: Any) -> Order:  # noqa: ANN401 - fields of an order
    now = datetime.now(UTC)
    told = {
        "id": str(uuid.uuid4()),
        "station": STATION,
        "command": command,
        "why": "a reason",
        "not_before": rfc3339(now),
        "not_after": rfc3339(now + timedelta(hours=1)),
    }
    return Order.model_validate(told | more)


def payload(wanted: Order, signer: Signer = ALICE) -> bytes:
    return CommandGiven(note=signed(wanted, signer)).encoded()


@dataclass
class Desk:
    """An operator at the broker."""

    connection: Connection
    agent: Agent
    answers: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self, said: bytes, *, expiry: int | None = 60, correlation: bytes | None = b"7", **more: Any) -> Any:  # noqa: ANN401
        """Publish a command and return its answer."""
        await self.connection.publish(
            Outgoing(topic(STATION, "cmd"), said, expiry=expiry, correlation=correlation, **more)
        )
        message = await self.connection.receive()
        self.connection.acknowledge(message)
        assert message.correlation == correlation
        return json.loads(message.payload)


@asynccontextmanager
async def desk(mosquitto: Mosquitto, dock: Dock) -> AsyncIterator[Desk]:
    table = at(mosquitto, operator_keys=[ALICE.vkey])
    async with Connection(mosquitto.options(), client_id="desk") as connection:
        await connection.subscribe(Subscription(topic(STATION, "resp")))
        async with dock.here(table) as agent:
            assert agent.broker is not None
            await until(lambda: agent.broker.session.up)
            yield Desk(connection, agent)


async def only(agent: Agent) -> Any:  # noqa: ANN401
    await standing(agent, Standing.HELD, 1)
    return (await agent.desk.read(queries.listing))[0]


async def test_what_can_be_ordered_and_that_each_is_an_entry(mosquitto: Mosquitto, dock: Dock) -> None:
    dock.camera.record(some_bytes(1000))
    async with desk(mosquitto, dock) as here:
        capture = (await only(here.agent)).id
        told = await here.ask(payload(order("prioritise", capture=capture[:8], priority="first")))
        assert told["done"], told
        assert (await only(here.agent)).priority is Priority.FIRST
        assert (await here.ask(payload(order("hold", capture=capture))))["done"]
        assert (await only(here.agent)).retained
        assert (await here.ask(payload(order("resume", capture=capture))))["done"]
        assert not (await only(here.agent)).retained
        assert (await here.ask(payload(order("report"))))["done"]
        assert (await here.ask(payload(order("reload-hotlist"))))["detail"] == "no driver here has hotlists"
        wrong = await here.ask(payload(order("hold", capture="ffffffff")))
        assert not wrong["done"]
        assert "no capture ffffffff" in wrong["detail"] or "not the id" in wrong["detail"]
    remote = [one for one in entries(dock.state, "operator.command") if "remote" in one]
    assert [one["command"] for one in remote] == [
        "remote prioritise",
        "remote hold",
        "remote resume",
        "remote report",
        "remote reload-hotlist",
        "remote hold",
    ]
    assert {one["actor"] for one in remote} == {"operator:alice.example.org"}
    assert all(one["remote"]["note"].startswith("evidock-command/v1\n") for one in remote)


async def test_hotlists_are_asked_for_anew_where_a_driver_has_them(mosquitto: Mosquitto, dock: Dock) -> None:
    class Lists:
        told: ClassVar[list[tuple[str, str]]] = []

        async def order(self, word: str, _: Mapping[str, Any], /, *, actor: str, record: Record) -> Any:  # noqa: ANN401
            self.told.append((word, actor))
            await record({"what": "asked"})

    async with desk(mosquitto, dock) as here:
        loaded = LoadedDriver(DriverOptions(use="alpr.hotlist", name="lists"), Lists())  # type: ignore[arg-type]
        here.agent.equipment = Equipment((*here.agent.equipment.drivers, loaded), here.agent.equipment.uplinks)
        assert (await here.ask(payload(order("reload-hotlist"))))["detail"] == "lists: read again"
    assert Lists.told == [("reload", "operator:alice.example.org")]
    (ordered,) = entries(dock.state, "driver.ordered")
    assert ordered["actor"] == "operator:alice.example.org"


async def test_a_command_that_comes_again_gets_the_same_answer_and_is_not_obeyed_again(
    mosquitto: Mosquitto, dock: Dock
) -> None:
    dock.camera.record(some_bytes(1000))
    async with desk(mosquitto, dock) as here:
        capture = (await only(here.agent)).id
        held = order("hold", capture=capture)
        hold, resume = payload(held), payload(order("resume", capture=capture))
        first = await here.ask(hold)
        other = await here.ask(payload(order("resume", capture=capture, id=held.id)))
        assert (other["done"], "another command with the id" in other["detail"]) == (False, True)
        assert (await only(here.agent)).retained
        await here.ask(resume)
        again = await here.ask(hold)
        assert again == {**first, "again": True}
        assert not (await only(here.agent)).retained
    async with desk(mosquitto, dock) as here:  # after a restart too
        assert (await here.ask(hold))["again"]
        assert not (await only(here.agent)).retained
    assert len([one for one in entries(dock.state, "operator.command") if "remote" in one]) == 2


async def test_a_report_is_not_made_again_for_an_order_that_comes_again(mosquitto: Mosquitto, dock: Dock) -> None:
    """Whoever may publish could have a station say everything, for ever, with an order that was signed once."""
    said: list[dict[str, Any]] = []

    async def listen(ear: Connection) -> None:
        async for message in ear:
            said.append(json.loads(message.payload))
            ear.acknowledge(message)

    async with Connection(mosquitto.options(), client_id="ear") as ear, desk(mosquitto, dock) as here:
        await ear.subscribe(Subscription(topic(STATION, "state")))
        listening, wanted = asyncio.create_task(listen(ear)), payload(order("report"))
        assert (await here.ask(wanted))["done"]
        await until(lambda: len(said) >= 2)
        for _ in range(3):
            assert (await here.ask(wanted))["again"]
            await asyncio.sleep(0.5)
        listening.cancel()
    assert [one["online"] for one in said] == [True, True], "the birth, and one report"


async def test_an_answer_is_told_again_when_its_command_holds_no_more(
    mosquitto: Mosquitto, dock: Dock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been lost while nobody was connected: that nothing was done would be the wrong word."""
    dock.camera.record(some_bytes(1000))
    async with desk(mosquitto, dock) as here:
        hold = payload(order("hold", capture=(await only(here.agent)).id))
        first, stamp = await here.ask(hold), here.agent.clock.stamp()
        later = replace(stamp, at=stamp.at + timedelta(days=2))
        monkeypatch.setattr(here.agent.clock, "stamp", lambda: later)
        assert await here.ask(hold) == {**first, "again": True}
        monkeypatch.undo()


async def test_hotlists_that_were_not_read_when_the_connection_went_are_read_when_the_command_comes_again(
    mosquitto: Mosquitto, dock: Dock
) -> None:
    class Lists:
        asked = asyncio.Event()
        times = 0

        async def order(self, *_: object, **__: object) -> None:
            self.times += 1
            self.asked.set()
            if self.times == 1:
                await asyncio.Event().wait()

    lists, table, wanted = Lists(), at(mosquitto, operator_keys=[ALICE.vkey]), order("reload-hotlist")
    async with Connection(mosquitto.options(), client_id="desk") as connection:
        await connection.subscribe(Subscription(topic(STATION, "resp")))
        async with dock.here(table) as agent, asyncio.timeout(30):
            assert agent.broker is not None
            await until(lambda: agent.broker.session.up)
            loaded = LoadedDriver(DriverOptions(use="alpr.hotlist", name="lists"), lists)  # type: ignore[arg-type]
            agent.equipment = Equipment((*agent.equipment.drivers, loaded), agent.equipment.uplinks)
            here = Desk(connection, agent)
            await connection.publish(Outgoing(topic(STATION, "cmd"), payload(wanted), expiry=600))
            await lists.asked.wait()
            agent.broker.session.connection.cut()
            agent.broker.report()  # who has something to say there finds that it is gone
            told = json.loads((await connection.receive()).payload)
            assert (told["done"], told["detail"]) == (True, "lists: read again")
            again = await here.ask(payload(wanted))
            assert (again["again"], again["detail"], lists.times) == (True, "lists: read again", 2)
            agent.equipment = Equipment(agent.equipment.drivers[:-1], agent.equipment.uplinks)


@pytest.mark.parametrize("code", [0x87, 0x97, 0x83])
async def test_an_answer_that_the_broker_does_not_take_costs_no_connection(
    mosquitto: Mosquitto, dock: Dock, code: int
) -> None:
    """The command would come again with the next one, and its answer be refused again."""
    async with desk(mosquitto, dock) as here:
        session = here.agent.broker.session
        publish, first = session.connection.publish, session.tries

        async def refused(message: Outgoing) -> bool:
            if message.topic == topic(STATION, "resp"):
                raise refusal(code, "the broker does not take this")
            return await publish(message)

        session.connection.publish = refused
        await here.connection.publish(Outgoing(topic(STATION, "cmd"), payload(order()), expiry=60))
        await until(lambda: any(one["id"] == "mqtt.refused" for one in here.agent.broker.troubles()))
        session.connection.publish = publish
        assert (await here.ask(payload(order())))["done"]
        await until(lambda: not any(one["id"] == "mqtt.refused" for one in here.agent.broker.troubles()))
        assert session.tries == first


async def test_what_a_person_at_the_station_ordered_is_not_lifted_from_afar(mosquitto: Mosquitto, dock: Dock) -> None:
    dock.camera.record(some_bytes(1000))
    async with desk(mosquitto, dock) as here:
        capture = (await only(here.agent)).id
        await here.agent.desk.write(lambda j: acts.act(j, "hold", capture, actor="bob", why="court"))
        told = await here.ask(payload(order("resume", capture=capture)))
        assert not told["done"]
        assert (await only(here.agent)).retained


@pytest.mark.parametrize("orders", [("bob", "alice"), ("alice", "bob")])
async def test_who_holds_what_a_person_at_the_station_holds_as_well_does_not_lift_it(
    mosquitto: Mosquitto, dock: Dock, orders: tuple[str, ...]
) -> None:
    """Else an order to hold it, before the one to resume, would be the way around."""
    dock.camera.record(some_bytes(1000))
    async with desk(mosquitto, dock) as here:
        capture = (await only(here.agent)).id
        for who in orders:
            if who == "bob":
                await here.agent.desk.write(lambda j: acts.act(j, "hold", capture, actor="bob", why="court"))
            else:
                assert (await here.ask(payload(order("hold", capture=capture))))["done"]
        told = await here.ask(payload(order("resume", capture=capture)))
        assert (told["done"], "a person at the station" in told["detail"]) == (False, True)
        assert (await only(here.agent)).retained
        await here.agent.desk.write(lambda j: acts.act(j, "lift", capture, actor="bob", why="ended"))
        assert (await here.ask(payload(order("hold", capture=capture))))["done"]
        assert (await here.ask(payload(order("resume", capture=capture))))["done"], "bob's order is no more"
        assert not (await only(here.agent)).retained


async def test_forged_stale_foreign_oversize_and_formless_commands_are_refused(
    mosquitto: Mosquitto, dock: Dock
) -> None:
    dock.camera.record(some_bytes(1000))
    now = datetime.now(UTC)
    early = {"not_before": rfc3339(now + timedelta(hours=2)), "not_after": rfc3339(now + timedelta(hours=3))}
    late = {"not_before": rfc3339(now - timedelta(hours=3)), "not_after": rfc3339(now - timedelta(hours=2))}
    async with desk(mosquitto, dock) as here:
        capture = (await only(here.agent)).id

        def hold(**more: Any) -> Order:  # noqa: ANN401
            return order("hold", capture=capture, **more)

        good = payload(hold())
        altered = good.replace(b'\\"hold\\"', b'\\"resume\\"')
        resp = topic(STATION, "resp")
        cases: list[tuple[bytes, dict[str, Any], str]] = [
            (payload(hold(), MALLORY), {}, "no operator of this station"),
            (altered, {}, "no operator of this station"),
            (payload(hold(station="example-org/main/dock-2")), {}, "is for example-org/main/dock-2"),
            (payload(hold(**early)), {}, "holds from"),
            (payload(hold(**late)), {}, "held until"),
            (good, {"expiry": None}, "Message Expiry"),
            (good, {"expiry": 90000}, "Message Expiry"),
            (good, {"response_topic": "somebody/elses"}, f"goes to {resp}"),
            (good, {"correlation": bytes(65)}, "Correlation Data"),
            (good + b" " * 20000, {}, "16384 bytes at most"),
            (b"\xff\xfe", {}, "no cmd/1"),
            (b'{"schema":"cmd/2","note":"x"}', {}, "no cmd/1"),
            (b"[" * 10000, {}, "no cmd/1"),
        ]
        for said, more, why in cases:
            told = await here.ask(said, **more)
            assert not told["done"], why
            assert why in told["detail"], (why, told)
        assert not (await only(here.agent)).retained
        assert [one["id"] for one in here.agent.troubles() if one["id"] == "mqtt.untrusted"] == ["mqtt.untrusted"]
        assert (await here.ask(good, response_topic=resp))["done"]
    # The log is not filled by whoever may publish: one entry in ten minutes, with how many there were.
    assert len(entries(dock.state, "message.refused")) == 1


async def test_a_command_is_acknowledged_only_once_it_was_obeyed(mosquitto: Mosquitto, dock: Dock) -> None:
    """A station that goes while it obeys is given the command again."""
    table, reached = at(mosquitto, operator_keys=[ALICE.vkey]), asyncio.Event()

    async def goes_on_for_ever(_: Message) -> Heard:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with Connection(mosquitto.options(), client_id="desk") as connection:
        await connection.subscribe(Subscription(topic(STATION, "resp")))
        wanted = order()
        async with dock.here(table) as agent:
            assert agent.broker is not None
            await until(lambda: agent.broker.session.up)
            agent.broker.hearing.command = goes_on_for_ever
            await connection.publish(Outgoing(topic(STATION, "cmd"), payload(wanted), expiry=600))
            async with asyncio.timeout(20):
                await reached.wait()
        async with dock.here(table), asyncio.timeout(20):
            told = json.loads((await connection.receive()).payload)
    assert (told["id"], told["done"], told["again"]) == (wanted.id, True, False)


async def test_what_was_ordered_while_the_station_was_away_is_done_at_one_go(mosquitto: Mosquitto, dock: Dock) -> None:
    """mosquitto gives more at once than we said that we take; who went for it came back for a few each time."""
    table, wanted = at(mosquitto, operator_keys=[ALICE.vkey], in_hand=4), [order() for _ in range(60)]
    async with Connection(mosquitto.options(), client_id="desk") as connection:
        await connection.subscribe(Subscription(topic(STATION, "resp")))
        async with dock.here(table) as agent:
            assert agent.broker is not None
            await until(lambda: agent.broker.session.up)
        for one in wanted:
            await connection.publish(Outgoing(topic(STATION, "cmd"), payload(one), expiry=600))
        told: list[dict[str, Any]] = []
        async with dock.here(table) as agent, asyncio.timeout(40):
            while len(told) < len(wanted):
                message = await connection.receive()
                connection.acknowledge(message)
                told.append(json.loads(message.payload))
            assert agent.broker is not None
            assert agent.broker.session.tries == 1
    assert [(one["id"], one["done"], one["again"]) for one in told] == [(one.id, True, False) for one in wanted]


async def test_a_command_that_the_broker_keeps_is_none(mosquitto: Mosquitto, dock: Dock) -> None:
    kept = payload(order())
    async with Connection(mosquitto.options(), client_id="before") as before:
        await before.publish(Outgoing(topic(STATION, "cmd"), kept, expiry=60, retain=True))
    async with desk(mosquitto, dock) as here:
        told = await here.ask(kept, retain=True)
        assert "without `retain`" in told["detail"]
        assert (await here.ask(kept))["done"]
    assert len([one for one in entries(dock.state, "operator.command") if "remote" in one]) == 1


async def test_one_is_signed_by_the_command_line_and_sent_with_mosquitto_pub(mosquitto: Mosquitto, dock: Dock) -> None:
    if shutil.which("mosquitto_pub") is None:
        pytest.skip("mosquitto-clients is not installed")
    dock.camera.record(some_bytes(1000))
    file = dock.folder / "alice.key"
    made = await run("mqtt", "key", "alice.example.org", str(file))
    line = next(one for one in made.splitlines() if one.startswith("operator_keys"))
    async with dock.here(at(mosquitto, **tomllib.loads(line))) as agent:
        capture = (await only(agent)).id
        await until(lambda: agent.broker is not None and agent.broker.session.up)
        said = await run("mqtt", "sign", STATION, "hold", capture, "--key", str(file), "--why", "court order 12/26")
        words = ["mosquitto_pub", "-p", str(mosquitto.port), "-V", "5", "-q", "1", "-s"]
        words += ["-D", "publish", "message-expiry-interval", "600", "-t", topic(STATION, "cmd")]
        process = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.PIPE)
        await process.communicate(said.strip().encode())
        assert process.returncode == 0
        async with asyncio.timeout(20):
            while not (await only(agent)).retained:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def run(*words: str) -> str:
    import sys  # noqa: PLC0415

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.cli", *words, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()
