"""Five cameras of different makers at a real daemon, while DEMS and broker are away half of the time.

    python -m benchmarks.alpr [--seconds 600] [--rate 50] [--burst 1000] [--plates 5000000] [--list FILE]

Each read has two pictures; about one in fifty is listed. At half time all cameras send a burst in one second. In the
end each read was answered, each hit is held, was told to the broker or had to wait for it, and is receipted by the
DEMS; memory did not grow. Exits with 1 where that is not so. `--list`: a list that was written before, to save its
making; it must be one of the emulator's. It says why each message was sent again, by camera or station.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import aiohttp

from agent.capture import rfc3339
from agent.testing.broker import Mosquitto, mosquitto_program
from agent.testing.dems import DemsProcess
from agent.testing.ports import free_port
from agent.testing.process import COMMAND, DaemonProcess, tus
from benchmarks.counted import Sums, over_the_broker, quarters, wrong
from benchmarks.heard import ALERTS
from benchmarks.measured import cpu_seconds
from drivers.alpr.emulator import MESSAGES, Passage, Sender, jpeg
from drivers.alpr.hotlist.emulator import Publisher, invented, public_pem, write_list

MAKERS: Final = ("hikvision", "openalpr", "axis", "platerecognizer", "generic")
MAPPING: Final = {
    "encoding": "xml",
    "plate": "AutoVu/Plate",
    "captured_at": ["AutoVu/UTCDate", "AutoVu/UTCTime"],
    "captured_format": "%Y/%m/%d %H:%M:%S.%f",
    "captured_zone": "UTC",
    "device": "AutoVu/CameraName",
    "event": "AutoVu/Guid",
    "image": [{"path": "AutoVu/PlateImage", "role": "plate"}],
}
SECRET: Final = "0123456789abcdef"  # noqa: S105 - of this run
LISTED_EVERY: Final = 49
"""No multiple of the number of makers: each of them brings hits."""
WITHIN: Final = 120.0


class Road:
    """What drives by: most of it on no list."""

    def __init__(self, listed: list[str]) -> None:
        self._listed, self._chance, self._number = listed, random.Random(7), 0  # noqa: S311 - the same road each time
        self._pictures = {"plate": jpeg(6_000, "plate"), "overview": jpeg(60_000, "overview")}

    def next(self) -> tuple[Passage, bool]:
        """(a passage, whether its plate is listed)."""
        self._number += 1
        hit = self._number % LISTED_EVERY == 0
        # Nobody lists eight letters in a row here.
        plate = self._chance.choice(self._listed) if hit else "".join(self._chance.choices("ACEFGHJK", k=8))
        base = Passage(plate=plate, identity=f"passage-{self._number}", pictures=self._pictures)
        return base.later(self._number * 0.02), hit


async def soak(
    folder: Path,
    *,
    seconds: float,
    rate: float,
    burst: int,
    plates: int,
    list_file: Path | None = None,
    say: Any = print,  # noqa: ANN401 - takes lines
) -> dict[str, Any]:
    """Run it; what was found. `wrong` in it names what is not as it must be."""
    port, sums = free_port(), Sums()
    publisher = Publisher(folder)
    listed = list(invented(1000))
    if list_file is None:
        write_list(publisher.file, invented(plates))
    else:
        shutil.copy(list_file, publisher.file)
    publisher.adopt()
    (folder / "key.pem").write_bytes(public_pem(publisher.key))
    (folder / "secret").write_text(SECRET)
    (folder / "drop").mkdir()
    broker = Mosquitto(folder / "broker") if mosquitto_program() else None
    async with DemsProcess(folder / "dems") as dems:
        daemon = DaemonProcess(
            folder / "station",
            drivers=_drivers(folder, port, broker),
            uplink=tus(dems.url, dems.receipt_vkey),
            command=COMMAND,
        )
        if broker is not None:
            await broker.start()
            table = f'\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\ntls = false\nsite = "north"\n'
            daemon.config.write_text(daemon.config.read_text() + table)
        async with daemon:
            await daemon.ready(within=WITHIN)
            began = perf_counter()
            shutil.move(publisher.file, folder / "drop" / "list")
            shutil.move(publisher.manifest_file, folder / "drop" / "list.jws")
            async with asyncio.timeout(1800):
                while (folder / "drop" / "list").exists():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.2)
            say(f"the list is in use after {perf_counter() - began:.0f} s")
            traffic = _Traffic(port, Road(listed), sums)
            hearing = None if broker is None else asyncio.create_task(sums.heard.listen(broker.options()))
            found = await _driven(daemon, dems, broker, sums, traffic, seconds=seconds, rate=rate, burst=burst)
            told = await _settled(daemon, sums)
            if hearing is not None:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)
                found["over the broker"] = over_the_broker(sums)
            found["receipted"] = told.get("receipted", 0) + told.get("released", 0) + told.get("purged", 0)
            await daemon.stop()
        await daemon.verify([], at_rest=True)
    if broker is not None:
        await broker.stop()
    found["wrong"] = list(wrong(found, sums))
    return found


def _drivers(folder: Path, port: int, broker: Mosquitto | None) -> list[dict[str, Any]]:
    cameras: list[dict[str, Any]] = [
        {"name": maker, "maker": maker, "secret_file": str(folder / "secret"), "rate": 2000.0, "at_once": 16}
        for maker in MAKERS
    ]
    cameras[-1]["mapping"] = MAPPING
    alerts: list[dict[str, Any]] = []
    if broker is not None:
        table = {"host": "127.0.0.1", "port": broker.port, "tls": False}
        alerts.append({"kind": "mqtt", "topic": ALERTS, "broker": table, "plate": False})
    region = {
        "name": "region",
        "layout": "ncic_fixed",
        "keys": [str(folder / "key.pem")],
        "folder": str(folder / "drop"),
    }
    listen = {"address": "127.0.0.1", "port": port, "plain": True, "connections": 4000}
    return [
        {"use": "alpr.receiver", "name": "car", "listen": listen, "camera": cameras},
        {
            "use": "alpr.hotlist",
            "name": "hotlists",
            "folder": str(folder / "hotlists"),
            "list": [region],
            "alert": alerts,
            "quiet": "0 s",
            "rescan": 0.5,
        },
    ]


class _Traffic:
    """The cameras, for as long as they send."""

    def __init__(self, port: int, road: Road, sums: Sums) -> None:
        self._port, self._road, self._sums = port, road, sums
        self._sending = set[asyncio.Task[None]]()
        self._number = 0

    def send(self) -> None:
        """The next passage at the next camera."""
        passage, hit = self._road.next()
        maker = MAKERS[self._number % len(MAKERS)]
        self._number += 1
        task = asyncio.create_task(_one(self._port, maker, passage, self._sums, hit=hit))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def drive(self, *, seconds: float, rate: float, burst: int) -> None:
        """Send, and return when each was answered."""
        began, due = perf_counter(), 0
        while (now := perf_counter() - began) < seconds:
            while due < now * rate:
                self.send()
                due += 1
            if burst and now >= seconds / 2:
                await self._burst(burst)
                burst = 0
            await asyncio.sleep(0.005)
        while self._sending:
            await asyncio.wait(self._sending)

    async def _burst(self, count: int) -> None:
        """So many in one second."""
        for number in range(count):
            self.send()
            if number % max(1, count // 20) == 0:
                await asyncio.sleep(0.05)


async def _driven(
    daemon: DaemonProcess,
    dems: DemsProcess,
    broker: Mosquitto | None,
    sums: Sums,
    traffic: _Traffic,
    **load: Any,  # noqa: ANN401 - of `drive`
) -> dict[str, Any]:
    """Let them drive by."""
    jobs = [
        asyncio.create_task(_away(dems, broker, sums, load["seconds"])),
        asyncio.create_task(_watched(daemon, sums)),
    ]
    pid = daemon.pid or 0
    began, spent = perf_counter(), cpu_seconds(pid)
    await traffic.drive(**load)
    took, cpu = perf_counter() - began, cpu_seconds(pid) - spent
    for job in jobs:
        job.cancel()
    for ended in await asyncio.gather(*jobs, return_exceptions=True):
        if not isinstance(ended, asyncio.CancelledError):
            raise RuntimeError("a part of the measurement failed") from ended  # noqa: TRY004 - whatever it was
    await dems.restart()  # it may have been cut off in the middle of a start
    if broker is not None:
        await broker.stop()
        await broker.start()
    ordered = sorted(sums.seconds)
    return {
        "seconds": round(took, 1),
        "reads": sums.sent,
        "sent again": sums.again,
        "because of": dict(sums.failed),
        "unanswered": sums.lost,
        "hits": len(sums.hits),
        "away s": round(sums.away, 1),
        "answer ms, median": round(statistics.median(ordered) * 1000, 1),
        "answer ms, p99": round(ordered[int(len(ordered) * 0.99)] * 1000, 1),
        "cpu s": round(cpu, 1),
        "reads a second on one core": round(sums.sent / cpu) if cpu else 0,
        "memory MiB by quarter": quarters(sums.memory),
    }


async def _one(port: int, maker: str, passage: Passage, sums: Sums, *, hit: bool) -> None:
    """One camera's message, as often as it takes."""
    message = MESSAGES[maker](passage, "")
    sums.sent += 1
    if hit:
        sums.posted[rfc3339(passage.at)] = perf_counter()
    for attempt in range(20):
        began = perf_counter()
        sender = Sender("127.0.0.1", port, f"/alpr/{maker}/{maker}/{SECRET}", patience=WITHIN)
        status = await sender.once(message)
        if status in range(200, 300):
            sums.seconds.append(perf_counter() - began)
            if hit:
                sums.hits.add(f"{maker}/{passage.identity}")
            return
        sums.again += 1
        sums.failed[str(status or sender.why)] += 1
        await asyncio.sleep(0.1 * (attempt + 1))
    sums.lost += 1


async def _away(dems: DemsProcess, broker: Mosquitto | None, sums: Sums, seconds: float) -> None:
    """DEMS and broker are killed, and come back, so that they are away half of the time."""
    step = max(1.0, seconds / 10)
    while True:
        await asyncio.sleep(step)
        began = perf_counter()
        try:
            dems.kill()
            await dems.stop()
            if broker is not None:
                await broker.kill()
            await asyncio.sleep(step)
            await dems.start()
            if broker is not None:
                await broker.start()
        finally:  # also of the last time, which the end of the traffic cuts off
            sums.away += perf_counter() - began


async def _watched(daemon: DaemonProcess, sums: Sums) -> None:
    while True:
        status = Path(f"/proc/{daemon.pid}/status")
        lines = (await asyncio.to_thread(status.read_text)).splitlines()
        sums.memory += [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")]
        await asyncio.sleep(0.5)


async def _settled(daemon: DaemonProcess, sums: Sums) -> Counter[str]:
    """Wait until the DEMS has receipted every hit."""
    connector = aiohttp.UnixConnector(str(daemon.state / "control.sock"))
    told: Counter[str] = Counter()
    async with aiohttp.ClientSession(connector=connector) as session:
        until = perf_counter() + WITHIN
        while perf_counter() < until:
            async with session.get("http://station/status") as answer:
                tally = (await answer.json())["tally"]
            told = Counter({name: one["captures"] for name, one in tally.items()})
            if told.total() >= len(sums.hits) and not told["held"]:
                break
            await asyncio.sleep(0.5)
    return told


def main() -> int:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--burst", type=int, default=1000)
    parser.add_argument("--plates", type=int, default=5_000_000)
    parser.add_argument("--list", type=Path, default=None)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            soak(
                Path(folder),
                seconds=asked.seconds,
                rate=asked.rate,
                burst=asked.burst,
                plates=asked.plates,
                list_file=asked.list,
            )
        )
    print(json.dumps(found, indent=2))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
