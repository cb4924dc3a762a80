"""`python -m benchmarks.fleet`: a fleet before one broker and one DEMS: who comes back when, and what it costs.

    python -m benchmarks.fleet reconnect --stations 1000         simulated time: the product's pauses, no network
    python -m benchmarks.fleet telemetry --stations 10000 --tls  one real mosquitto on loopback, real connections

`telemetry` makes simulated stations: each a real MQTT 5 connection (with TLS and a client's certificate where that is
asked for) that publishes the real `status/1` as often as a station does, and a sign of life in between. Processor time
and memory of mosquitto are read from /proc. Everything is on this machine; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import ssl
import statistics
import struct
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, cast

from agent.broker.messages import LinkTold, StatusTold, topic
from agent.forward.pausing import FIRST_PAUSE, PAUSE_MAX
from agent.mqtt.session import Pauses
from agent.testing.broker import Mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = "| case | peak in a second when it is back | in the first minute | half back | all back | attempts |"
EVERY, KEEP_ALIVE, MINUTE = 60.0, 45.0, 60
CONNACK, PUBLISH, SHORTEST = 0x20, 3, 2


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=main.__doc__)
    parser.add_argument("case", choices=["reconnect", "telemetry"])
    parser.add_argument("--stations", type=int, default=1000)
    parser.add_argument("--outage", type=float, default=600.0, help="seconds")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the steady state is measured")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tls", action="store_true")
    chosen = parser.parse_args()
    if chosen.case == "reconnect":
        print(HEAD, "|---|---|---|---|---|---|", sep="\n")
        for name, made in (("MQTT broker", _of_broker), ("DEMS", _of_dems)):
            _reconnect(name, made, chosen.stations, chosen.outage, chosen.runs)
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = chosen.stations + 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, hard) if os.geteuid() == 0 else hard, max(wanted, hard)))
    asyncio.run(_telemetry(chosen.stations, chosen.seconds, tls=chosen.tls))


# -- coming back: simulated time ---------------------------------------------------------------------------------------


def _of_broker(chance: random.Random) -> Callable[[], float]:
    """The waits of one station before its broker: `agent.mqtt.session`."""
    pauses = Pauses(chance)
    return lambda: pauses.after(0.0, theirs=True)


def _of_dems(chance: random.Random) -> Callable[[], float]:
    """The waits of one station before its DEMS, as `agent.forward.pausing` has them, with a repeatable chance."""
    failures = 0

    def wait() -> float:
        nonlocal failures
        failures += 1
        return chance.uniform(0, min(PAUSE_MAX, 2.0 ** (failures + FIRST_PAUSE - 2)))

    return wait


def _reconnect(
    name: str, made: Callable[[random.Random], Callable[[], float]], stations: int, outage: float, runs: int
) -> None:
    """All lose it in the same second, each tries by its own pauses; the first try after the outage succeeds."""
    peaks, firsts, halves, alls, tries = list[int](), list[int](), list[float](), list[float](), list[int]()
    for run in range(runs):
        during, after, back = Counter[int](), Counter[int](), list[float]()
        for station in range(stations):
            wait, now = made(random.Random(run * stations + station)), 0.0  # noqa: S311 - repeatable
            while (now := now + wait()) < outage:
                during[int(now)] += 1
            after[int(now - outage)] += 1
            back.append(now - outage)
        back.sort()
        peaks.append(max(after.values()))
        firsts.append(max(count for second, count in during.items() if second < MINUTE))
        halves.append(back[len(back) // 2])
        alls.append(back[-1])
        tries.append(sum(during.values()) + stations)
    told = f"{name}, {stations} stations, {outage:.0f} s without it (simulated time)"
    print(
        f"| {told} | {statistics.median(peaks):.0f} ({min(peaks)} to {max(peaks)}) |"
        f" {statistics.median(firsts):.0f} ({min(firsts)} to {max(firsts)}) |"
        f" {statistics.median(halves):.0f} s | {max(alls):.0f} s | {statistics.median(tries):.0f} |"
    )


# -- steady telemetry: a real broker -----------------------------------------------------------------------------------


class Station(asyncio.Protocol):
    """One simulated station: a few lines of MQTT 5, so that ten thousand fit into one process."""

    def __init__(self, number: int, payload: bytes) -> None:
        self._number, self._payload = number, payload
        self._transport: asyncio.Transport | None = None
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send CONNECT: MQTT 5, Clean Start 0, Session Expiry of a day (section 3.1)."""
        self._transport = cast("asyncio.Transport", transport)
        transport = self._transport
        name = f"evidock-dock-{self._number:05}".encode()
        head = _text(b"MQTT") + bytes([5, 0]) + struct.pack(">H", int(KEEP_ALIVE))
        head += b"\x05\x11" + struct.pack(">I", 86400)
        transport.write(_packet(0x10, head + _text(name)))

    def data_received(self, data: bytes) -> None:
        """CONNACK; later, answers to signs of life."""
        if not self.connected.done() and data[0] == CONNACK:
            if data[3] == 0:
                self.connected.set_result(None)
            else:
                self.connected.set_exception(ConnectionError(f"CONNACK with reason 0x{data[3]:02X}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it."""
        self.lost = True
        if not self.connected.done():
            self.connected.set_exception(exc or ConnectionError("closed"))

    def begin(self, chance: random.Random) -> None:
        """Speak from now on, in a rhythm of one's own."""
        asyncio.get_running_loop().call_later(chance.uniform(0, EVERY), self._status, chance)

    def _status(self, chance: random.Random) -> None:
        loop = asyncio.get_running_loop()
        if self._transport is None or self.lost:
            return
        place = topic(f"example-org/main/dock-{self._number:05}", "status").encode()
        body = _text(place) + b"\x05\x02" + struct.pack(">I", 300) + self._payload
        self._transport.write(_packet(0x30, body))
        loop.call_later(KEEP_ALIVE, self._alive)
        loop.call_later(EVERY * chance.uniform(0.9, 1.1), self._status, chance)

    def _alive(self) -> None:
        if self._transport is not None and not self.lost:
            self._transport.write(b"\xc0\x00")

    def close(self) -> None:
        """Go in order."""
        if self._transport is not None:
            self._transport.write(b"\xe0\x00")
            self._transport.close()


class Ear(asyncio.Protocol):
    """The DEMS: subscribes to everything, and counts."""

    def __init__(self) -> None:
        self.heard, self._rest = 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """CONNECT and SUBSCRIBE at once."""
        transport = cast("asyncio.Transport", transport)
        head = _text(b"MQTT") + bytes([5, 2]) + struct.pack(">H", 0) + b"\x00"
        transport.write(_packet(0x10, head + _text(b"dems")))
        transport.write(_packet(0x82, b"\x00\x01\x00" + _text(b"evidock/v1/#") + b"\x00"))

    def data_received(self, data: bytes) -> None:
        """Count whole PUBLISH packets."""
        data, at = self._rest + data, 0
        while len(data) - at >= SHORTEST:
            length, shift, place = 0, 0, at + 1
            while place < len(data) and data[place] & 0x80:
                length |= (data[place] & 0x7F) << shift
                shift, place = shift + 7, place + 1
            if place >= len(data):
                break
            length |= data[place] << shift
            if place + 1 + length > len(data):
                break
            self.heard += data[at] >> 4 == PUBLISH
            at = place + 1 + length
        self._rest = data[at:]


async def _telemetry(stations: int, seconds: float, *, tls: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="evidock-fleet-") as name:
        broker = Mosquitto(Path(name), ["max_connections -1", "log_type error"], tls=tls)
        async with broker:
            await _measured(broker, stations, seconds)


async def _measured(broker: Mosquitto, stations: int, seconds: float) -> None:
    loop, context = asyncio.get_running_loop(), None
    if broker.tls:
        context = ssl.create_default_context(cafile=broker.folder / "ca.pem")
        context.load_cert_chain(broker.certificate("dock-00000"))
    before = _memory(broker.pid)
    _, ear = await loop.create_connection(
        Ear, "127.0.0.1", broker.port, ssl=context, server_hostname="127.0.0.1" if context else None
    )
    payload, chance = _payload(), random.Random(1)  # noqa: S311 - repeatable
    made: list[Station] = []
    places = asyncio.Semaphore(64)

    async def connect(number: int) -> None:
        async with places:
            _, station = await loop.create_connection(
                lambda: Station(number, payload),
                "127.0.0.1",
                broker.port,
                ssl=context,
                server_hostname="127.0.0.1" if context else None,
                ssl_handshake_timeout=120 if context else None,
            )
            await station.connected
            station.begin(chance)  # whoever says nothing for longer than the keep-alive is thrown out
            made.append(station)

    began, used = time.monotonic(), _processor(broker.pid)
    await asyncio.gather(*(connect(number) for number in range(stations)))
    took, cost = time.monotonic() - began, _processor(broker.pid) - used
    how = "TLS with client certificates" if broker.tls else "plain TCP"
    print(f"{stations} stations, {how}, status/1 of {len(payload)} bytes")
    each = cost / stations * 1000
    print(f"connected in {took:.1f} s ({stations / took:.0f}/s); {each:.2f} ms of the broker's processor each")
    await asyncio.sleep(EVERY)  # until everybody speaks
    heard, used, began, shares = ear.heard, _processor(broker.pid), time.monotonic(), list[float]()
    while time.monotonic() - began < seconds:
        at, spent = time.monotonic(), _processor(broker.pid)
        await asyncio.sleep(min(5.0, seconds))
        shares.append((_processor(broker.pid) - spent) / (time.monotonic() - at) * 100)
    passed = time.monotonic() - began
    rate = (ear.heard - heard) / passed
    share = (_processor(broker.pid) - used) / passed * 100
    memory = _memory(broker.pid)
    lost = sum(station.lost for station in made)
    print(
        f"steady for {passed:.0f} s: {rate:.0f} messages/s in and out, broker {share:.1f} % of one processor"
        f" (5 s windows: median {statistics.median(shares):.1f} %, {min(shares):.1f} to {max(shares):.1f} %),"
        f" {memory / 1e6:.0f} MB resident, {(memory - before) / stations / 1000:.1f} kB a station;"
        f" {lost} connections lost"
    )
    for station in made:
        station.close()
    await asyncio.sleep(0.5)


def _payload() -> bytes:
    clock = {"source": "kernel", "synchronised": True, "uncertainty_us": 900, "offset_us": 12, "last_sync_at": None}
    standings = dict.fromkeys(("held", "receipted", "released", "purged", "refused", "quarantined"), 1234)
    return StatusTold(
        at="2026-11-22T07:41:03.120Z",
        bd=417,
        captures=standings,
        held_bytes=123_456_789,
        room=1_234_567_890_123,
        entries=88_120,
        devices=12,
        links=(LinkTold(name="dems", up=True),),
        notices=1,
        clock=clock,
    ).encoded()


def _text(raw: bytes) -> bytes:
    return struct.pack(">H", len(raw)) + raw


def _packet(first: int, body: bytes) -> bytes:
    length, rest = b"", len(body)
    while True:
        rest, digit = divmod(rest, 128)[0], divmod(rest, 128)[1]
        length += bytes([digit | (0x80 if rest else 0)])
        if not rest:
            return bytes([first]) + length + body


def _processor(pid: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    """Bytes resident."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
