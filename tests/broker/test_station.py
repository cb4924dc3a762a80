"""A daemon at a broker: what it says, that nothing of it is lost, and that a receipt there is worth one over HTTPS."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from agent.capture import Standing
from agent.clock import Clock
from agent.journal import Journal
from agent.mqtt import Connection, Outgoing
from agent.testing.broker import Mosquitto, mosquitto_program
from agent.testing.dems.at_broker import DemsAtBroker
from agent.testing.devices import some_bytes
from agent.testing.process import LOG
from tests.broker.conftest import STATION, Dock, at, entries, standing, told_with, until

if TYPE_CHECKING:
    from pathlib import Path

    from agent.testing.dems import EmulatedDems

KILLS = int(os.environ.get("EVIDOCK_BROKER_KILLS", "1"))

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(mosquitto_program() is None, reason="mosquitto is not installed"),
]


async def test_birth_captures_figures_and_an_orderly_death(
    mosquitto: Mosquitto, dems: EmulatedDems, dock: Dock
) -> None:
    dock.camera.record(some_bytes(1000))
    async with DemsAtBroker(dems.core, mosquitto.options()) as there:
        async with dock.here(at(mosquitto)):
            await until(lambda: there.announced and there.of("status") and there.of("alarm") and there.of("head"))
        await until(lambda: there.of("state")[-1]["online"] is False)
    birth, *_, death = there.of("state")
    assert birth["online"] is True
    assert death["bd"] == birth["bd"] == 1
    (capture,) = there.of("capture")
    assert capture["length"] == 1000
    assert there.of("status")[0]["entries"] > 0
    assert there.of("head")[0]["checkpoint"].startswith("edge.example.org/dock-1/log1\n")
    assert "uplink.none" in {one["id"] for one in there.of("alarm")[0]["notices"]}


async def test_a_receipt_by_mqtt_is_as_good_as_one_by_https(
    mosquitto: Mosquitto, dems: EmulatedDems, dock: Dock
) -> None:
    await dems.add_fault("receipt:none")  # HTTPS never gives one
    for number in range(5):
        dock.camera.record(some_bytes(2000, number))
    async with DemsAtBroker(dems.core, mosquitto.options()), dock.here(at(mosquitto), dems) as agent:
        await standing(agent, Standing.RECEIPTED, 5)
    told = [one["receipt"] for one in entries(dock.state, "receipted")]
    assert len({one.pop("note_sha256") for one in told}) == 5
    assert told == [{"destination": "dems", "over": "mqtt", "strength": "signed"}] * 5


async def test_over_https_alone_where_the_broker_never_answers(dems: EmulatedDems, dock: Dock) -> None:
    dock.camera.record(some_bytes(2000))
    silent = Mosquitto(dock.folder / "never")
    async with dock.here(at(silent), dems) as agent:
        await standing(agent, Standing.RECEIPTED, 1)


@pytest.mark.parametrize("twist", ["wrong-digest", "wrong-length", "wrong-signature", "other-log"])
async def test_a_wrong_receipt_is_refused_told_and_written_down(
    mosquitto: Mosquitto, dems: EmulatedDems, dock: Dock, twist: str
) -> None:
    await dems.add_fault("receipt:none")
    dock.camera.record(some_bytes(2000))
    there = DemsAtBroker(dems.core, mosquitto.options(), silent=True)
    async with there, dock.here(at(mosquitto), dems, receipt_wait=600) as agent:
        await until(lambda: there.announced)
        (capture,) = there.announced
        await until(lambda: dems.core.receipt(capture))
        note = dems.core.receipt(capture)
        assert dems.core.signatory is not None
        assert note is not None
        await there.send(STATION, dems.core.signatory.twisted(note, twist))
        await until(lambda: any(one["id"] == "mqtt.untrusted" for told in there.of("alarm") for one in told["notices"]))
        await standing(agent, Standing.HELD, 1)
        await there.send(STATION, note)
        await standing(agent, Standing.RECEIPTED, 1)
    (refused,) = entries(dock.state, "message.refused")
    assert refused["message"]["kind"] == "receipt"


async def test_killed_at_any_moment_it_announces_everything_in_the_end(
    mosquitto: Mosquitto, dems: EmulatedDems, dock: Dock
) -> None:
    total = 20
    for number in range(total):
        dock.camera.record(some_bytes(500, number))
    async with DemsAtBroker(dems.core, mosquitto.options(), silent=True) as there:
        daemon = dock.daemon(at(mosquitto))
        for goal in range(10, 10 * (KILLS + 1), 10):
            await daemon.start()
            with told_with(daemon):
                await until(lambda goal=goal: len(there.announced) >= min(goal, total))
            daemon.kill()
            await daemon.wait()
        await daemon.start()
        with told_with(daemon):
            await until(lambda: len(there.announced) == total)
        await daemon.stop()
        births = [one["bd"] for one in there.of("state") if one["online"]]
        assert births == sorted(set(births)), "a number of a birth was used twice"
        # What was said twice says so, or is the same message from before a crash: nothing else tells it apart.
        for capture in there.announced:
            said = [one for one in there.of("capture") if one["capture"] == capture]
            assert len({one["entry"] for one in said}) == 1
        await daemon.verify([dock.camera])


async def test_a_broker_that_forgets_everything_is_told_everything_again(
    mosquitto: Mosquitto, dems: EmulatedDems, dock: Dock
) -> None:
    for number in range(30):
        dock.camera.record(some_bytes(500, number))
    async with dock.here(at(mosquitto)) as agent:
        async with DemsAtBroker(dems.core, mosquitto.options(), silent=True) as before:
            await until(lambda: len(before.announced) == 30)
            await standing(agent, Standing.HELD, 30)  # a PUBACK is no receipt
        await mosquitto.kill()
        await mosquitto.start(forget=True)
        async with DemsAtBroker(dems.core, mosquitto.options(), silent=True) as after:
            await until(lambda: len(after.announced) == 30, 60)
            assert {one["again"] for one in after.of("capture")} == {1}


async def test_queue_limits_of_the_broker_lose_announcements_and_no_receipt(
    tmp_path: Path, dems: EmulatedDems, dock: Dock
) -> None:
    """The DEMS was away: mosquitto drops all beyond its limit without a word, and HTTPS brings the receipts."""
    for number in range(60):
        dock.camera.record(some_bytes(500, number))
    small = Mosquitto(tmp_path / "small", ["max_queued_messages 10"])
    async with small:
        async with DemsAtBroker(dems.core, small.options()) as there:
            await until(lambda: there.up)
        async with dock.here(at(small)):  # what is receipted before its turn comes is not announced at all
            await until(lambda: "Outgoing messages are being dropped for client dems" in small.log)
        async with dock.here(at(small), dems) as agent:
            await standing(agent, Standing.RECEIPTED, 60)


async def test_one_forbidden_topic_is_told_and_keeps_nothing_else(
    tmp_path: Path, dems: EmulatedDems, dock: Dock
) -> None:
    dock.camera.record(some_bytes(500))
    acl = [
        "user dock-1",
        *(f"topic write evidock/v1/+/+/dock-1/{kind}" for kind in ("state", "status", "alarm", "head", "resp")),
        *(f"topic read evidock/v1/+/+/dock-1/{kind}" for kind in ("receipt", "cmd")),
        "user dems",
        "topic readwrite #",
    ]
    strict = Mosquitto(tmp_path / "strict", acl=acl, tls=True)
    there = DemsAtBroker(dems.core, strict.options(identity="dems"))
    async with strict, there, dock.here(at(strict), dems) as agent:
        await until(lambda: any(n["id"] == "mqtt.refused" for a in there.of("alarm") for n in a["notices"]))
        assert not there.announced
        await standing(agent, Standing.RECEIPTED, 1)


async def test_a_slow_subscriber_holds_up_nobody(mosquitto: Mosquitto, dems: EmulatedDems, dock: Dock) -> None:
    for number in range(40):
        dock.camera.record(some_bytes(500, number))
    slow = DemsAtBroker(dems.core, mosquitto.options(in_hand=1), silent=True, name="slow")
    hear, heard = slow._hear, asyncio.Event()
    slow._hear = lambda message: (heard.set(), hear(message))  # type: ignore[method-assign]
    async with slow, dock.here(at(mosquitto), dems) as agent:
        await heard.wait()
        await standing(agent, Standing.RECEIPTED, 40)


async def test_a_broker_that_permits_nothing_is_not_hammered(tmp_path: Path, dems: EmulatedDems, dock: Dock) -> None:
    for number in range(10):
        dock.camera.record(some_bytes(500, number))
    closed = Mosquitto(tmp_path / "closed", acl=["topic read nothing"])
    async with closed, dock.here(at(closed), dems) as agent:
        await standing(agent, Standing.RECEIPTED, 10)
        await until(lambda: any(one["id"] == "mqtt.refused" for one in agent.troubles()))
        await asyncio.sleep(1.5)
        # What was receipted before its turn came is announced no more, so there may be fewer than ten.
        assert 1 <= closed.log.count("Denied PUBLISH") <= 40


async def test_a_broker_killed_before_it_wrote_what_it_took(
    mosquitto: Mosquitto, dems: EmulatedDems, dock: Dock
) -> None:
    """It knows its sessions, from an orderly stop before, and none of what was announced since."""
    async with DemsAtBroker(dems.core, mosquitto.options(), silent=True) as before, dock.here(at(mosquitto)) as agent:
        assert agent.broker is not None
        await until(lambda: before.of("state") and agent.broker.session.up)
        await mosquitto.stop()
        await before.__aexit__(None, None, None)  # the DEMS is away now
        await mosquitto.start()
        await until(lambda: agent.broker.session.up)
        for number in range(20):
            dock.camera.record(some_bytes(500, number))
        await until(lambda: mosquitto.log.count("/capture'") >= 20)
        await mosquitto.kill()
        await mosquitto.start()
        async with DemsAtBroker(dems.core, mosquitto.options(), silent=True) as after:
            await until(lambda: len(after.announced) == 20)


async def test_a_power_cut_that_took_station_and_broker_leaves_nothing_unsaid(
    mosquitto: Mosquitto, dems: EmulatedDems, dock: Dock
) -> None:
    """Both come back ten minutes later, the broker with what it wrote before the last announcements."""
    async with DemsAtBroker(dems.core, mosquitto.options(), silent=True) as there:
        dock.camera.record(some_bytes(500))
        async with dock.here(at(mosquitto)):
            await until(lambda: there.announced)
        journal = Journal.open(dock.state / "journal.db", log=LOG, stamp=Clock().stamp)
        with journal.transaction():
            journal.connection.execute("UPDATE outbox SET told = told - 600000000, due = due - 600000000")
        journal.close()
        async with dock.here(at(mosquitto)):
            await until(lambda: len(there.of("capture")) == 2, 10)


async def test_the_dems_of_the_command_line_listens_at_a_broker_too(mosquitto: Mosquitto, dock: Dock) -> None:
    words = ("-m", "agent.cli", "dems", "serve", str(dock.folder / "served"), "--no-tls")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, "--broker", f"127.0.0.1:{mosquitto.port}", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = json.loads(await process.stdout.readline())
    try:
        async with Connection(mosquitto.options(), client_id="station") as station:
            async with asyncio.timeout(30):
                while not await station.publish(Outgoing("evidock/v1/a/b/c/status", b"{}")):  # noqa: ASYNC110 - nobody listens yet
                    await asyncio.sleep(0.05)
    finally:
        process.terminate()
        await process.wait()
    assert said["receipt_vkey"]
