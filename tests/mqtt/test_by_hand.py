"""Brokers whose bytes are written by hand, for what mosquitto never says."""

from __future__ import annotations

import asyncio

import pytest

from agent.mqtt import BrokerOptions, Connection, Outgoing, Subscription
from agent.mqtt.reasons import BrokerRefused


async def test_a_refused_subscription_is_seen() -> None:
    """Where a broker says so: mosquitto refuses in silence."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while kind := await reader.read(1):
            body = await reader.readexactly((await reader.readexactly(1))[0])
            match kind[0] >> 4:
                case 1:
                    writer.write(b"\x20\x03\x00\x00\x00")  # CONNACK
                case 8:
                    writer.write(b"\x90\x04" + body[:2] + b"\x00\x87")  # SUBACK: not authorised
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Connection(BrokerOptions(host="127.0.0.1", port=port, tls=False), client_id="a") as one:
            with pytest.raises(BrokerRefused, match="refuses that we listen to x"):
                await one.subscribe(Subscription("x"))


async def test_mqt_2_a_broker_that_takes_fewer_at_once_gets_fewer() -> None:
    """Receive Maximum of its CONNACK (MQTT 5, section 3.2.2.3.3): mosquitto counts none of QoS 1, so bytes by hand."""
    under_way, most = set[bytes](), 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most

        def acknowledge(number: bytes) -> None:
            under_way.discard(number)
            writer.write(b"\x40\x02" + number)

        while kind := await reader.read(1):
            body = await reader.readexactly((await reader.readexactly(1))[0])  # nothing here is longer than 127 bytes
            if kind[0] >> 4 == 1:
                writer.write(b"\x20\x06\x00\x00\x03\x21\x00\x02")  # CONNACK: two at once
            elif kind[0] >> 4 == 3:
                after = 2 + int.from_bytes(body[:2])
                under_way.add(body[after : after + 2])
                most = max(most, len(under_way))
                asyncio.get_running_loop().call_later(0.01, acknowledge, body[after : after + 2])
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        options = BrokerOptions(host="127.0.0.1", port=server.sockets[0].getsockname()[1], tls=False)
        async with Connection(options, client_id="station") as station, asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(station.publish(Outgoing("up/x", b"%d" % number)))
    assert most == 2
