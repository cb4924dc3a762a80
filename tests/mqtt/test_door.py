"""The door to MQTT before Debian's mosquitto: what an acknowledgement means, what is refused, what comes back."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import struct
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.errors import BadCapture, ConfigError, SpoolFull
from agent.mqtt import BrokerOptions, Connection, Message, Outgoing, Session, Subscription, Will, fits
from agent.mqtt.reasons import BrokerDown, BrokerRefused
from agent.testing.broker import Mosquitto, mosquitto_program
from agent.testing.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.interop
needs_mosquitto = pytest.mark.skipif(mosquitto_program() is None, reason="mosquitto is not installed")


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.01)


async def listened_to(port: int) -> None:
    async with Connection(BrokerOptions(host="127.0.0.1", port=port, tls=False), client_id="a") as connection:
        while True:
            await connection.receive()


async def test_what_is_published_arrives_with_all_that_was_said_of_it(mosquitto: Mosquitto) -> None:
    options = mosquitto.options()
    async with Connection(options, client_id="a") as one, Connection(options, client_id="b") as other:
        await other.subscribe(Subscription("evidock/+/x"))
        said = Outgoing(
            "evidock/1/x",
            b"{}",
            expiry=60,
            content_type="application/json",
            response_topic="evidock/1/resp",
            correlation=b"\x00\xff",
            user=(("schema", "x/1"), ("id", "1")),
        )
        assert await one.publish(said)
        came = await other.receive()
        other.acknowledge(came)
    assert came.payload == b"{}"
    assert came.user == (("schema", "x/1"), ("id", "1"))
    assert (came.response_topic, came.correlation) == ("evidock/1/resp", b"\x00\xff")
    assert came.content_type == "application/json"
    assert came.expiry is not None
    assert 0 < came.expiry <= 60


async def test_nobody_listens_is_told_and_is_no_error(mosquitto: Mosquitto) -> None:
    async with Connection(mosquitto.options(), client_id="a") as one:
        assert not await one.publish(Outgoing("nobody/listens", b"x"))


@needs_mosquitto
async def test_a_refused_puback_is_seen(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, acl=["topic write may/#"])
    async with broker, Connection(broker.options(), client_id="a") as one:
        with pytest.raises(BrokerRefused, match="not authorised") as refused:
            await one.publish(Outgoing("may_not/x", b"x"))
        assert refused.value.reason == 0x87
        await one.publish(Outgoing("may/x", b"x"))  # the connection still serves


async def test_a_message_of_qos_1_is_acknowledged_only_when_it_was_handled(mosquitto: Mosquitto) -> None:
    options, topic = mosquitto.options(), Subscription("to/#")
    async with Connection(options, client_id="listener") as listener, Connection(options, client_id="s") as sender:
        await listener.subscribe(topic)
        for number in range(3):
            await sender.publish(Outgoing("to/us", b"%d" % number))
        first = await listener.receive()
        await listener.receive()
        listener.acknowledge(first)
        # Our PUBACK has reached the broker once it answers to what we send next.
        await listener.publish(Outgoing("elsewhere", b""))
        listener.cut()
    async with Connection(options, client_id="listener") as again:
        assert again.session_present
        assert [(await again.receive()).payload for _ in range(2)] == [b"1", b"2"]


async def test_acknowledgements_go_out_in_the_order_of_the_messages(mosquitto: Mosquitto) -> None:
    options = mosquitto.options()
    async with Connection(options, client_id="listener") as listener, Connection(options, client_id="s") as sender:
        await listener.subscribe(Subscription("to/#"))
        for number in range(2):
            await sender.publish(Outgoing("to/us", b"%d" % number))
        await listener.receive()
        listener.acknowledge(await listener.receive())  # the second alone
        await listener.publish(Outgoing("elsewhere", b""))
        listener.cut()
    async with Connection(options, client_id="listener") as again:
        assert [(await again.receive()).payload for _ in range(2)] == [b"0", b"1"]


@needs_mosquitto
async def test_no_more_is_taken_than_can_be_handled(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path, ["max_inflight_messages 0", "max_queued_messages 5000"]) as broker:
        options = broker.options(in_hand=4)
        async with Connection(options, client_id="slow") as slow, Connection(broker.options(), client_id="s") as sender:
            await slow.subscribe(Subscription("to/#"))
            for number in range(200):
                await sender.publish(Outgoing("to/us", b"%d" % number))
            held = [await slow.receive() for _ in range(4)]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await slow.receive()
            came = list(held)
            for message in held:
                slow.acknowledge(message)
            while len(came) < 200:
                came.append(message := await slow.receive())
                slow.acknowledge(message)
            assert [message.payload for message in came] == [b"%d" % number for number in range(200)]


async def test_what_need_not_be_kept_is_dropped_and_counted_where_nobody_takes_it_out(mosquitto: Mosquitto) -> None:
    options = mosquitto.options()
    async with Connection(options, client_id="slow") as slow, Connection(options, client_id="s") as sender:
        await slow.subscribe(Subscription("to/#", qos=0))
        for number in range(1500):
            await sender.publish(Outgoing("to/us", b"%d" % number, qos=0))
        await sender.publish(Outgoing("to/us", b"last", qos=1))
        await until(lambda: slow.dropped == 501)
        assert [(await slow.receive()).payload for _ in range(1000)] == [b"%d" % number for number in range(1000)]


@needs_mosquitto
async def test_with_certificates_of_clients(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path, acl=["pattern write up/%u"], tls=True) as broker:
        async with Connection(broker.options(identity="station-1"), client_id="a") as one:
            await one.publish(Outgoing("up/station-1", b"x"))
            with pytest.raises(BrokerRefused):
                await one.publish(Outgoing("up/station-2", b"x"))
        with pytest.raises(BrokerDown):
            async with Connection(broker.options(), client_id="stranger"):
                pass
        named = broker.options(identity="station-1", server_name="broker.example.org")
        async with Connection(named, client_id="a"):
            pass
        with pytest.raises(BrokerDown, match="certificate is not believed"):
            async with Connection(broker.options(identity="station-1", server_name="other.example.org"), client_id="a"):
                pass


@needs_mosquitto
@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("shown", ["no certificate", "one of another authority"])
async def test_a_broker_that_does_not_believe_our_certificate_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str, *, slow: bool
) -> None:
    """In TLS 1.3 it says so after the handshake: to who reads on, it looks as if it went without a word.

    Where it is `slow` to send its own first packet, the broker has closed the connection, and that is what is seen.
    """
    more: dict[str, object] = {}
    if slow:
        true_send = ssl.SSLSocket.send

        def send(sock: ssl.SSLSocket, data: bytes) -> int:
            time.sleep(0.3)
            return true_send(sock, data)

        monkeypatch.setattr(ssl.SSLSocket, "send", send)
    if shown != "no certificate":
        more["client_cert"] = Mosquitto(tmp_path / "other", tls=True).certificate("station-1")
    async with Mosquitto(tmp_path / "broker", tls=True) as broker:
        with pytest.raises(BrokerDown, match="TLS failed") as refused:
            async with Connection(broker.options(**more), client_id="a"):
                pass
    assert "client_cert" in refused.value.what_to_do


async def test_errors_say_what_happened(tmp_path: Path) -> None:
    with pytest.raises(BrokerDown, match="nobody listens there"):
        async with Connection(BrokerOptions(host="127.0.0.1", port=free_port(), tls=False), client_id="a"):
            pass
    with pytest.raises(BrokerDown, match="no name service"):
        async with Connection(BrokerOptions(host="broker.invalid", tls=False), client_id="a"):
            pass
    with pytest.raises(ConfigError, match="ca_file"):
        Connection(BrokerOptions(host="h", ca_file=tmp_path / "none.pem"), client_id="a")
    (tmp_path / "login").write_text("nobody")
    with pytest.raises(ConfigError, match="user:password"):
        Session(BrokerOptions(host="127.0.0.1", tls=False, login_file=tmp_path / "login"), name="x")
    with pytest.raises(ValueError, match="in the clear"):
        BrokerOptions(host="10.0.0.1", tls=False, login_file=tmp_path / "login")


@needs_mosquitto
async def test_a_wrong_password_is_named(tmp_path: Path) -> None:
    tmp_path.joinpath("login").write_text("one:wrong")
    async with Mosquitto(tmp_path / "broker") as broker:
        await broker.stop()
        broker.settings = ["allow_anonymous false", f"password_file {tmp_path}/none"]
        tmp_path.joinpath("none").touch(mode=0o700)
        await broker.start()
        with pytest.raises(BrokerDown, match=r"not authorised|wrong user") as refused:
            async with Connection(broker.options(login_file=tmp_path / "login"), client_id="a"):
                pass
        assert refused.value.retry_after == 300.0


async def test_a_duplicate_client_id_is_named(mosquitto: Mosquitto) -> None:
    # mosquitto 2.0.11 closes the older connection without a word, whatever section 3.1.4 of MQTT 5 says.
    sessions = [Session(mosquitto.options(client_id="same"), name=name, chance=Soon()) for name in ("one", "other")]

    async def handle(message: Message) -> None:
        raise AssertionError(message)

    listening = [asyncio.create_task(session.listen(handle)) for session in sessions]
    await until(lambda: all("3 times" in (session.trouble or "") for session in sessions[:1]))
    await until(lambda: any("client id same" in (session.todo or "") for session in sessions))
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)


async def test_the_reason_of_a_disconnect_decides_how_long_we_stay_away() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(b"\x20\x03\x00\x00\x00" + b"\xe0\x02\x8e\x00")
        await reader.read(-1)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BrokerDown, match="took over") as lost:
            await listened_to(port)
    assert (lost.value.reason, lost.value.retry_after) == (0x8E, 120.0)


async def test_the_will_is_published_when_we_go_without_a_word_and_not_else(mosquitto: Mosquitto) -> None:
    will = Will(Outgoing("state/1", b"dead"))
    async with Connection(mosquitto.options(), client_id="watcher") as watcher:
        await watcher.subscribe(Subscription("state/#"))
        async with Connection(mosquitto.options(), client_id="polite", will=will) as polite:
            await polite.publish(Outgoing("state/1", b"orderly"))
        assert (await watcher.receive()).payload == b"orderly"
        async with Connection(mosquitto.options(), client_id="rude", will=will) as rude:
            rude.cut()
        assert (await watcher.receive()).payload == b"dead"


async def test_a_broker_that_hangs_is_noticed(mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Connection(mosquitto.options(), client_id="a") as one:
        monkeypatch.setattr("agent.mqtt.door.ANSWER", 0.3)
        mosquitto.pause()
        try:
            with pytest.raises(BrokerDown, match="no answer"):
                await one.publish(Outgoing("x", b"x"))
        finally:
            mosquitto.resume()


@pytest.mark.parametrize(("ours", "theirs"), [(45, 1), (1, 60), (1, 0)])
async def test_we_are_silent_for_no_longer_than_the_broker_wants_nor_than_we_do(ours: int, theirs: int) -> None:
    """A broker that was told 45 s and answers with fewer closes the connection after half as much again."""
    alive = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(b"\x20\x06\x00\x00\x03\x13" + struct.pack(">H", theirs))
        assert await reader.readexactly(2) == b"\xc0\x00"  # PINGREQ
        alive.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    options = BrokerOptions(host="127.0.0.1", port=server.sockets[0].getsockname()[1], tls=False)
    options = options.model_copy(update={"keep_alive": timedelta(seconds=ours)})
    async with server, Connection(options, client_id="a"), asyncio.timeout(10):
        await alive.wait()


async def test_a_session_comes_back_after_the_broker_was_killed_and_loses_nothing(mosquitto: Mosquitto) -> None:
    mosquitto.settings = ["autosave_interval 1", "autosave_on_changes true"]
    await mosquitto.stop()
    await mosquitto.start()
    came: list[bytes] = []

    async def handle(message: Message) -> None:
        came.append(message.payload)

    session = Session(mosquitto.options(), name="listener", topics=[Subscription("to/#")], chance=Soon())
    listening = asyncio.create_task(session.listen(handle))
    await until(lambda: session.up)
    async with Connection(mosquitto.options(), client_id="s") as sender:
        await sender.publish(Outgoing("to/us", b"before"))
    await until(lambda: came)
    await mosquitto.kill()
    await until(lambda: session.trouble)
    assert not session.up
    await mosquitto.start()
    await until(lambda: session.up)
    async with Connection(mosquitto.options(), client_id="s") as sender:
        await sender.publish(Outgoing("to/us", b"after"))
    await until(lambda: b"after" in came)
    assert session.trouble is None
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


async def test_what_cannot_be_kept_stays_with_the_broker(mosquitto: Mosquitto) -> None:
    came: list[bytes] = []

    async def handle(message: Message) -> None:
        came.append(message.payload)
        if message.payload == b"bad":
            raise BadCapture("it is no capture")
        if came.count(b"full") == 1 and message.payload == b"full":
            raise SpoolFull("no room")

    session = Session(mosquitto.options(), name="listener", topics=[Subscription("to/#")], chance=Soon())
    listening = asyncio.create_task(session.listen(handle))
    await until(lambda: session.up)
    async with Connection(mosquitto.options(), client_id="s") as sender:
        for payload in (b"bad", b"full", b"last"):
            await sender.publish(Outgoing("to/us", payload))
    await until(lambda: b"last" in came)
    assert came == [b"bad", b"full", b"full", b"last"]
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


class Soon:
    """Chance that never lets a test wait."""

    def uniform(self, low: float, high: float) -> float:
        assert 0 <= low <= high <= 450
        return 0.02


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        (b"\x32\xff\xff\xff\x7f" + bytes(1000), "268435455 bytes"),
        (b"\x34\x0c\x00\x01a\x00\x01\x00" + b"1234567" + b"\x34\x0c\x00\x01a\x00\x02\x00" + b"1234567", "QoS 2"),
        (b"\x30\x04\x00\x01\xff\x00", "no text"),
    ],
)
async def test_a_hostile_broker_costs_no_memory(frames: bytes, what: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(b"\x20\x03\x00\x00\x00" + frames)
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BrokerDown, match=what):
            await listened_to(port)


FLOOD = b"".join(b"\x32\x06\x00\x01a" + struct.pack(">H", n + 1) + b"\x00" for n in range(2000))


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A broker that sends without regard to what is acknowledged, and acknowledges nothing."""
    await reader.read(1024)
    writer.write(b"\x20\x03\x00\x00\x00" + FLOOD)
    await reader.read(-1)
    writer.close()


async def test_of_a_flood_no_more_is_read_than_we_said_that_we_take() -> None:
    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    options = BrokerOptions(host="127.0.0.1", port=server.sockets[0].getsockname()[1], tls=False)
    async with server, Connection(options, client_id="a") as connection:
        held = [await connection.receive() for _ in range(33)]
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await connection.receive()
            connection.acknowledge(held.pop(0))
            held.append(await connection.receive())
        connection.cut()


async def test_a_flood_before_the_answer_that_we_wait_for_is_bounded_as_well() -> None:
    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    options = BrokerOptions(host="127.0.0.1", port=server.sockets[0].getsockname()[1], tls=False, max_packet=1024)
    async with server, Connection(options, client_id="a") as connection:
        with pytest.raises(BrokerDown, match="far more than 32"):
            await connection.publish(Outgoing("x", b"x"))


@needs_mosquitto
@pytest.mark.parametrize("tls", [False, True])
async def test_a_broker_that_sends_more_than_we_said_is_no_reason_to_go(tmp_path: Path, tls: bool) -> None:  # noqa: FBT001
    """mosquitto 2.0.11 sends as many again for each message that is acknowledged while others wait."""
    async with Mosquitto(tmp_path, tls=tls) as broker:
        options = broker.options(in_hand=4, **({"identity": "slow"} if tls else {}))
        async with Connection(options, client_id="slow") as slow:
            await slow.subscribe(Subscription("to/#"))
        async with Connection(options, client_id="s") as sender:
            for number in range(300):
                await sender.publish(Outgoing("to/us", b"%d" % number))
        came: list[bytes] = []
        async with Connection(options, client_id="slow") as slow:
            while len(came) < 300:
                message = await slow.receive()
                await asyncio.sleep(0.002)
                came.append(message.payload)
                slow.acknowledge(message)
                if not len(came) % 50:
                    await slow.publish(Outgoing("elsewhere", b""))  # what it answers comes behind all that it sent
        assert came == [b"%d" % number for number in range(300)]


async def test_nonsense_of_a_broker_is_an_error_of_ours() -> None:
    seen: list[BaseException] = []
    for seed in range(60):
        noise = bytes((seed * 7 + n * 31) % 256 for n in range(64)) if seed else b""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, noise: bytes = noise) -> None:
            await reader.read(1024)
            writer.write(b"\x20\x03\x00\x00\x00"[: 5 - len(noise) % 3] + noise)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises((BrokerDown, BrokerRefused)) as raised:
                await listened_to(port)
            seen.append(raised.value)
    assert len(seen) == 60


async def test_an_idle_connection_wakes_nobody(mosquitto: Mosquitto) -> None:
    async with Connection(mosquitto.options(), client_id="idle"):
        await asyncio.sleep(0.2)
        before = os.times()
        loop = asyncio.get_running_loop()
        runs: list[float] = []
        original = loop._run_once

        def counted() -> None:
            runs.append(0)
            original()

        loop._run_once = counted
        await asyncio.sleep(2.5)
        loop._run_once = original
        assert len(runs) <= 4, "something wakes while nothing happens"
        assert os.times().user - before.user < 1


def test_topics_fit_as_the_standard_says() -> None:
    # MQTT 5, sections 4.7.1.2 and 4.7.1.3: the examples there
    for pattern, topic, fit in [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/x", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/x", True),
        ("$share/group/a/+", "a/b", True),
    ]:
        assert fits(topic, pattern) is fit, (pattern, topic)


def test_one_file_alone_knows_the_library() -> None:
    root = Path(__file__).parents[2]
    found = {
        path.relative_to(root).as_posix()
        for folder in ("agent", "drivers")
        for path in (root / folder).rglob("*.py")
        if re.search(r"^\s*(import|from) aiomqtt", path.read_text("utf-8"), re.MULTILINE)
    }
    assert found == {"agent/mqtt/door.py"}
