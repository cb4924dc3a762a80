"""Number plate reads a second on one core: parsed, passed by, and held, with pictures of 100 KiB, by maker.

`python -m benchmarks.reads`: `parsed` is the message as a canonical read; `passed by` the whole way of a read that no
hotlist wants, from the socket to the answer, senders included in the same process; `held` the same of one that is kept:
hashed, forced to the disk, and journaled before the camera is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import statistics
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import structlog

from agent.testing.rig import WantsAll, running, until
from agent.testing.station import Station
from drivers.alpr.emulator import MESSAGES, Passage, Sender, jpeg
from drivers.alpr.makers import MAKERS, generic, onvif
from drivers.alpr.makers.mapping import Mapping
from drivers.alpr.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.alpr.emulator import Sent

PICTURES = {"overview": jpeg(100 << 10)}
MAPPING = {
    "encoding": "xml",
    "plate": "AutoVu/Plate",
    "captured_at": ["AutoVu/UTCDate", "AutoVu/UTCTime"],
    "captured_format": "%Y/%m/%d %H:%M:%S.%f",
    "captured_zone": "UTC",
    "event": "AutoVu/Guid",
    "image": [{"path": "AutoVu/PlateImage", "role": "plate"}],
}
SECRET = "0123456789abcdef"  # noqa: S105 - of a benchmark


def sent(maker: str, number: int) -> Sent:
    """The message of one of many passages."""
    return MESSAGES[maker](
        Passage(f"EVDK{number % 1000:03}", identity=f"p-{number}", pictures=PICTURES).later(number), ""
    )


def parsed(maker: str, seconds: float) -> float:
    """Reads a second of CPU, from bytes to the canonical read."""
    mapping = Mapping.model_validate(MAPPING)
    heard: Callable[[bytes, str, str], Any] = {
        "generic": lambda *message: generic.heard(mapping, *message),
        "onvif": onvif.heard,
    }.get(maker) or MAKERS[maker].heard  # type: ignore[assignment]  # only `generic` has none
    messages = [sent(maker, number) for number in range(16)]
    count, began = 0, process_time()
    while process_time() - began < seconds:
        for one in messages:
            read, _ = heard(one.body, one.content_type, "front").reads[0]
            assert read.matchable  # noqa: S101 - what is measured is the whole way
        count += len(messages)
    return count / (process_time() - began)


async def taken(maker: str, count: int, *, wanted: bool, folder: Path) -> tuple[float, float]:
    """(reads a second of wall time, CPU seconds a read) through the listener of one camera, 16 requests at once."""
    (folder / "secret").write_text(SECRET)
    listen = {"address": "127.0.0.1", "port": 0, "plain": True}
    camera: dict[str, Any] = {"name": "front", "maker": maker, "secret_file": folder / "secret", "rate": 10_000}
    camera |= {"mapping": MAPPING} if maker == "generic" else {}
    told = {"use": "alpr.receiver", "name": "car42", "listen": listen, "camera": [camera]}
    driver = Receiver(Receiver.Options.model_validate(told))
    screens = [WantsAll("alpr")] if wanted else []
    waiting = iter([sent(maker, number) for number in range(count)])
    async with Station(folder / "station", screens=screens) as station, running(driver, station):
        await until(lambda: driver.bound is not None)
        port = driver.bound.port if driver.bound is not None else 0

        async def camera_sends() -> None:
            one = Sender("127.0.0.1", port, f"/alpr/{maker}/front/{SECRET}")
            for message in waiting:
                assert await one.once(message) == 200  # noqa: PLR2004, S101 - each is answered with success

        began, busy = perf_counter(), process_time()
        await asyncio.gather(*(camera_sends() for _ in range(16)))
        wall, cpu = perf_counter() - began, process_time() - busy
        if wanted:
            assert len(await station.holdings()) == count  # noqa: S101 - each is held
    return count / wall, cpu / count


def figures(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):>7.0f} ({min(values):.0f} to {max(values):.0f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=0.5)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(f"{'maker':16} {'parsed /s CPU':>24} {'passed by /s CPU':>24} {'held /s CPU':>24} {'held /s wall':>24}")
    for maker in (*MAKERS, "onvif"):
        row = [[parsed(maker, arguments.seconds) for _ in range(arguments.rounds)]]
        if maker in MAKERS:
            by, held, wall = [], [], []
            for _ in range(arguments.rounds):
                with tempfile.TemporaryDirectory() as folder:
                    by.append(1 / asyncio.run(taken(maker, arguments.count, wanted=False, folder=Path(folder)))[1])
                with tempfile.TemporaryDirectory() as folder:
                    rate, cpu = asyncio.run(taken(maker, arguments.count, wanted=True, folder=Path(folder)))
                    held.append(1 / cpu)
                    wall.append(rate)
            row += [by, held, wall]
        print(f"{maker:16} " + " ".join(f"{figures(one):>24}" for one in row), flush=True)


if __name__ == "__main__":
    main()
