"""`python -m benchmarks.offline`: fourteen days without a DEMS, by a simulated clock, with captures queued all along.

What is measured: how long a start takes with the whole queue there, how long until the first captures go once the DEMS
is back, how much memory the queue costs, and whether the order is that of the policy.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from agent.capture import Capture, Device, Digest, Parts, Priority, Standing
from agent.clock import Clock
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink

if TYPE_CHECKING:
    from agent.capture import Stamp
    from agent.journal import Journal

DAYS = 14
CLASSES = (Priority.ROUTINE, Priority.BULK, Priority.HIT, Priority.USE_OF_FORCE)


class Simulated:
    """Our clock, moved."""

    def __init__(self) -> None:
        self._clock, self.ahead = Clock(), timedelta(days=-DAYS)

    def stamp(self) -> Stamp:
        """The machine's stamp, so many days away."""
        stamp = self._clock.stamp()
        return replace(stamp, at=stamp.at + self.ahead)


def memory() -> float:
    """MiB that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(folder: Path, count: int) -> None:
    """Print what was found."""
    clock = Simulated()
    station = Station(folder / "station", stamp=clock.stamp)
    await station.start()
    devices = [Device(f"bench:cam-{number:02}", "body_worn", "bench") for number in range(60)]
    (folder / "station" / "spool" / "kept").mkdir(parents=True, exist_ok=True)

    def some(journal: Journal, first: int, last: int) -> None:
        for number in range(first, last):
            data = b"%d" % number
            digest = Digest(sha256(data).digest(), blake3(data).digest(), len(data))
            device, priority = devices[number % 60], CLASSES[number % 4]
            journal.hold(Capture(device, f"CLIP{number}", None, len(data), priority=priority), digest, Parts())
            path = station.spool.path(digest.sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    for first in range(0, count, 1000):
        clock.ahead = timedelta(days=-DAYS * (1 - first / count))
        await station.desk.write(lambda journal, first=first: some(journal, first, min(first + 1000, count)))  # type: ignore[misc]
    clock.ahead = timedelta(0)
    await station.stop()
    before, began = memory(), time.monotonic()
    await station.start()
    uplink = BenchUplink()
    station.connect(uplink)
    started = time.monotonic() - began
    running = asyncio.create_task(station.forward.run())  # type: ignore[union-attr]
    while not uplink.order:  # noqa: ASYNC110 - another task fills it
        await asyncio.sleep(0.001)
    first_out = time.monotonic() - began
    while len(uplink.order) < min(4000, count):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    sent, took = len(uplink.order), time.monotonic() - began - first_out
    running.cancel()
    await asyncio.wait({running})
    urgent = sum(CLASSES[int(key.removeprefix("CLIP")) % 4] is Priority.USE_OF_FORCE for key in uplink.order)
    left = await station.count(Standing.HELD)
    await station.stop()
    print(f"{count} captures of {len(devices)} devices, held over {DAYS} days; {left} left when this ended\n")
    print("| what | found |\n| --- | --- |")
    print(f"| start, with recovery of the spool | {started:.2f} s |")
    print(f"| start to the first capture on its way | {first_out:.2f} s |")
    print(f"| captures sent after that | {sent / took:.0f} a second |")
    print(f"| of the first {sent}: use of force | {urgent / sent:.1%} (the rest waited longest: one turn in eight) |")
    print(f"| memory at most, before and after | {before:.0f} and {memory():.0f} MiB |")


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=None)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="evidock-offline-") as name:
        asyncio.run(measure(Path(name), chosen.count))


if __name__ == "__main__":
    main()
