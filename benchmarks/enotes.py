"""`python -m benchmarks.enotes`: envelopes a second from tablets to a signed receipt, each of them durable by then.

A real daemon, tablets with certificates in another process, entries that were written and signed before; nothing is
forwarded. Prints Markdown: median and range of envelopes a second, processor time of the daemon for one, its memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from agent.testing.process import DaemonProcess
from drivers.enotes import EnoteTablets
from drivers.enotes.emulator import Notebook, Tablet
from tests.drivers.enotes.rig import scanned, table


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enotes", description=main.__doc__)
    parser.add_argument("--tablets", type=int, nargs="*", default=[1, 10])
    parser.add_argument("--entries", type=int, default=5000, help="of all tablets together")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where the files lie; on the disk to be measured")
    chosen = parser.parse_args()
    print("| tablets | entries | envelopes/s, median | range | daemon's processor, ms each | daemon's memory, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for count in chosen.tablets:
        found = [asyncio.run(measured(count, chosen.entries, chosen.folder)) for _ in range(chosen.runs)]
        rates = [entries / seconds for entries, seconds, _, _ in found]
        cpu = statistics.median(1000 * spent / entries for entries, _, spent, _ in found)
        told = (statistics.median(rates), min(rates), max(rates), cpu, max(rss for *_, rss in found))
        rate = f"{told[0]:.0f} | {told[1]:.0f} to {told[2]:.0f}"
        print(f"| {count} | {found[0][0]} | {rate} | {told[3]:.2f} | {told[4]:.0f} |")


async def measured(count: int, entries: int, where: Path | None) -> tuple[int, float, float, float]:
    """(entries, seconds, the daemon's processor seconds, its largest memory in MB)."""
    with tempfile.TemporaryDirectory(dir=where, prefix="evidock-bench-") as name:
        folder = Path(name)
        made = table(folder)
        options = EnoteTablets.Options.model_validate(made)
        first = EnoteTablets.enrol(options)
        async with DaemonProcess(folder / "dock", drivers=[made]) as daemon:
            await daemon.ready()
            await asyncio.sleep(1)
            tablets = []
            for number in range(count):
                tablet = Tablet(folder / f"tablet-{number}", name=f"TAB-{number:04}", badge=f"{number}")
                await tablet.enrol(scanned(first if number == 0 else EnoteTablets.enrol(options)))
                write(tablet.notebook, entries // count)
                tablets.append(tablet)
            before, began = spent(daemon.pid or 0), time.perf_counter()
            await asyncio.gather(*(tablet.sync(patience=600) for tablet in tablets))
            seconds, after = time.perf_counter() - began, spent(daemon.pid or 0)
            for tablet in tablets:
                await tablet.hang_up()
            memory = peak(daemon.pid or 0)
        db = sqlite3.connect(folder / "enotes" / "enotes.db")
        rows = db.execute("SELECT status, count(*) FROM envelope GROUP BY status").fetchall()
        db.close()
        if rows != [("ok", entries // count * count)]:
            raise SystemExit(f"not what was sent: {json.dumps(rows)}")
        return entries // count * count, seconds, after - before, memory


def write(book: Notebook, entries: int) -> None:
    """Notes of four acts each, about 600 bytes of text."""
    text = "Attended 42 Main St. Driver stated that he had not seen it. " * 10
    while book.seq < entries:
        note = book.create(text)
        for act in (
            lambda n=note: book.append(n, " More."),
            lambda n=note: book.correct(n, "42", "24", "wrong number"),
        ):
            if book.seq < entries:
                act()
        if book.seq < entries:
            book.finalize(note)


def spent(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(pid: int) -> float:
    """Largest resident memory, in MB."""
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


if __name__ == "__main__":
    main()
