"""A burst: so many reads in one second at the receiver of each maker, none of them on a list; who is not answered.

    python -m benchmarks.bursts [--count 1000] [--picture 66000] [--held]

The cameras are a process of their own, as on a road, and open a connection for each read. `--held`: every read is
wanted, hashed, forced to the disk and journaled before its camera is answered. Exits with 1 where a read was not
answered with success.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

import structlog

from agent.testing.rig import WantsAll, running, until
from agent.testing.station import Station
from benchmarks.reads import MAPPING, SECRET
from drivers.alpr.emulator import MESSAGES, Passage, Sender, jpeg
from drivers.alpr.makers import MAKERS
from drivers.alpr.receiver import Receiver

PATIENCE = 120.0


async def sent(port: int, maker: str, count: int, picture: int) -> dict[str, Any]:
    """Send them within a second, and wait for each answer."""
    pictures, seconds, said = {"overview": jpeg(picture)}, list[float](), Counter[str]()

    async def one(number: int) -> None:
        await asyncio.sleep(number / count)
        passage = Passage(f"EVDK{number % 1000:03}", identity=f"burst-{number}", pictures=pictures).later(
            number / count
        )
        sender = Sender("127.0.0.1", port, f"/alpr/{maker}/front/{SECRET}", patience=PATIENCE)
        message, began = MESSAGES[maker](passage, ""), perf_counter()
        status = await sender.once(message)
        seconds.append(perf_counter() - began)
        said[str(status or sender.why)] += 1

    began = perf_counter()
    await asyncio.gather(*(one(number) for number in range(count)))
    return {"said": said, "seconds": sorted(seconds), "took": perf_counter() - began}


async def measured(maker: str, count: int, picture: int, *, held: bool, folder: Path) -> dict[str, Any]:
    """One maker's burst at a receiver of its own."""
    (folder / "secret").write_text(SECRET)
    camera: dict[str, Any] = {"name": "front", "maker": maker, "secret_file": folder / "secret", "rate": 10_000}
    camera |= {"mapping": MAPPING} if maker == "generic" else {}
    listen = {"address": "127.0.0.1", "port": 0, "plain": True}
    told = {"use": "alpr.receiver", "name": "car42", "listen": listen, "camera": [camera]}
    driver = Receiver(Receiver.Options.model_validate(told))
    screens = [WantsAll("alpr")] if held else []
    async with Station(folder / "station", screens=screens) as station, running(driver, station):
        await until(lambda: driver.bound is not None)
        port = driver.bound.port if driver.bound is not None else 0
        words = [sys.executable, "-m", "benchmarks.bursts", "--send", str(port), maker]
        words += ["--count", str(count), "--picture", str(picture)]
        cameras = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        out, _ = await cameras.communicate()
        found: dict[str, Any] = json.loads(out)
        if held and len(await station.holdings()) != count:
            found["said"]["answered and not held"] = count - len(await station.holdings())
    return found


def main() -> int:
    """Print a line for each maker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--picture", type=int, default=66_000, help="Bytes of each read's picture.")
    parser.add_argument("--held", action="store_true")
    parser.add_argument("--send", nargs=2, metavar=("PORT", "MAKER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if asked.send is not None:
        print(json.dumps(asyncio.run(sent(int(asked.send[0]), asked.send[1], asked.count, asked.picture))))
        return 0
    wrong = 0
    print(f"{'maker':16} {'answered':>9} {'took s':>8} {'median ms':>10} {'p99 ms':>9}  else")
    for maker in MAKERS:
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(measured(maker, asked.count, asked.picture, held=asked.held, folder=Path(folder)))
        seconds, said = found["seconds"], found["said"]
        well = said.pop("200", 0)
        wrong += asked.count - well
        median, late = statistics.median(seconds) * 1000, seconds[int(len(seconds) * 0.99)] * 1000
        print(f"{maker:16} {well:>9} {found['took']:>8.2f} {median:>10.0f} {late:>9.0f}  {said or ''}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
