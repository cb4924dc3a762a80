"""`python -m benchmarks.urgent`: how long an urgent capture is on its way over a narrow link that others have already.

As root, on Linux: the namespaces and the link are those of `benchmarks.links`. Twenty routine captures of 24 MiB are on
their way to the emulated DEMS, as many at once as may be; half a minute later a capture of 2 MiB comes, of use of
force. Told are the seconds until its receipt, and what left by the link a second, from the first capture to a minute
after that receipt: that some are held back must not leave the link idle.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.links import CLIENT, DOOR, HOST, MIB, RELAY, SERVER, clear, join, sent

URGENT = 2 * MIB
ROUTINE = 24 * MIB
COUNT = 20
BEFORE, AFTERWARDS = 30.0, 60.0


async def client(folder: Path) -> None:
    """Inside of the client's namespace: a station, and what it has to send."""
    from agent.capture import Priority, Standing  # noqa: PLC0415 - in the client's process alone
    from agent.testing.devices import BenchDevice, some_bytes  # noqa: PLC0415
    from agent.testing.station import Station  # noqa: PLC0415
    from agent.uplink.tus import TusUplink  # noqa: PLC0415

    async with Station(folder / "station") as station:
        for number in range(COUNT):
            camera = BenchDevice(f"bench:{number % 4}")
            camera.record(f"CLIP{number:04}", some_bytes(ROUTINE, seed=number))
            await station.dock(camera)
        options = TusUplink.Options(use="tus", name="dems", url=os.environ["EVIDOCK_BENCH_URL"])
        station.connect(TusUplink(options), in_flight=16)
        running = asyncio.create_task(station.forward.run())  # type: ignore[union-attr]
        await asyncio.sleep(BEFORE)
        camera = BenchDevice("bench:urgent")
        camera.record("FORCE", some_bytes(URGENT, seed=99), priority=Priority.USE_OF_FORCE)
        began = time.monotonic()
        await station.dock(camera)
        (held,) = [one for one in await station.holdings() if one.priority is Priority.USE_OF_FORCE]
        while (await station.desk.read(lambda journal: journal.get(held.id))).standing is Standing.HELD:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        (folder / "told").write_text(f"{time.monotonic() - began:.1f}")
        await asyncio.sleep(AFTERWARDS)
        running.cancel()
        await asyncio.wait({running})
        await station.hang_up()


def measure(rate: str, loss: float) -> None:
    """One row of the table."""
    join(rate, loss)
    folder = Path(tempfile.mkdtemp(prefix="urgent-"))
    me = [sys.executable, "-m", "benchmarks.links", "--relay", str(folder / "report"), "--every", "1e9", "--until", "0"]
    dems = [sys.executable, "-m", "agent.testing.dems", json.dumps({"folder": str(folder / "dems"), "port": DOOR})]
    environment = {**os.environ, "EVIDOCK_BENCH_URL": f"http://{HOST}:{RELAY}/evidence/"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.PIPE}
    servers = [subprocess.Popen(["ip", "netns", "exec", SERVER, *words], **quiet) for words in (dems, me)]  # type: ignore[call-overload]
    try:
        time.sleep(3)
        words = ["ip", "netns", "exec", CLIENT, sys.executable, "-m", "benchmarks.urgent", "--client", str(folder)]
        before = sent()
        subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)
        seconds = float((folder / "told").read_text())
        speed = (sent() - before) * 8 / 1e6 / (BEFORE + seconds + AFTERWARDS)
        print(f"| {rate} | {loss:g} % | {seconds:.1f} s | {speed:.2f} Mbit/s |", flush=True)
    finally:
        for process in servers:
            process.terminate()
            process.wait()
        clear()
        shutil.rmtree(folder)


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.urgent", description=__doc__)
    parser.add_argument("--rate", nargs="+", default=["2mbit", "10mbit"], help="of the link")
    parser.add_argument("--loss", type=float, default=0.0, help="percent of packets that are lost")
    parser.add_argument("--client", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.client:
        asyncio.run(client(chosen.client))
        return
    print("| link | loss | until the urgent one's receipt | all that left |\n|---|---|---|---|")
    for rate in chosen.rate:
        measure(rate, chosen.loss)


if __name__ == "__main__":
    main()
