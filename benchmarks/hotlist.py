"""What a hotlist costs: a look, its memory, its disk, and making it, with as many plates as asked for.

    python -m benchmarks.hotlist [PLATES] [--list FILE]

Looks are 95 of 100 for plates that are not listed and 5 for listed ones with one confused character; normalising is
part of a look. Each look is timed by itself. `--list`: a list that was written before, to save its making.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, perf_counter_ns

from drivers.alpr.hotlist.emulator import invented, write_list
from drivers.alpr.hotlist.index import Index
from drivers.alpr.hotlist.layouts import known_layouts
from drivers.alpr.hotlist.matching import Rules, matches, readings

LOOKS = 100_000
ROUNDS = 5
CONFUSED = {"O": "D", "I": "1", "Z": "2", "S": "5", "B": "8", "G": "6", "0": "Q", "1": "I", "2": "Z", "5": "S"}


def built(source: Path, target: Path) -> dict[str, float]:
    """Make the index as the station does, in a process of its own; what that cost."""
    order = {
        "source": str(source),
        "target": str(target),
        "layout": known_layouts()["ncic_fixed"].model_dump(mode="json"),
        "about": {"list": "bench"},
        "entries": None,
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "drivers.alpr.hotlist.building"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(done.stdout)
    return {
        "plates": told["plates"],
        "seconds": perf_counter() - began,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "memory": after.ru_maxrss / 1024,
        "bytes a plate": target.stat().st_size / told["plates"],
    }


def asked(plates: list[str], seed: int) -> list[str]:
    """What cameras read."""
    chance = random.Random(seed)  # noqa: S311 - the same each time
    found = []
    for _ in range(LOOKS):
        if chance.random() < 0.05:  # noqa: PLR2004 - five of a hundred
            plate = chance.choice(plates)
            place = next((at for at, c in enumerate(plate) if c in CONFUSED), None)
            found.append(plate if place is None else plate[:place] + CONFUSED[plate[place]] + plate[place + 1 :])
        else:
            letters = "".join(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=3))
            found.append(f"{letters} {chance.randrange(10_000):04}{letters[0]}")
    return found


def looks(index: Index, reads: list[str]) -> tuple[list[int], int]:
    """(nanoseconds of each, how many were hits)."""
    rules, lists = Rules(), [("bench", index.find)]
    times, hits = [0] * len(reads), 0
    for number, read in enumerate(reads):
        began = perf_counter_ns()
        found = matches(readings(read), lists, rules)
        times[number] = perf_counter_ns() - began
        hits += bool(found)
    return times, hits


def only(index: Index, reads: list[str]) -> list[int]:
    """Nanoseconds of each look at the index alone."""
    find, times = index.find, [0] * len(reads)
    plates = [read.replace(" ", "") for read in reads]
    for number, plate in enumerate(plates):
        began = perf_counter_ns()
        find(plate)
        times[number] = perf_counter_ns() - began
    return times


def resident(path: Path) -> float:
    """MiB of the index that are in this process's memory."""
    blocks = Path("/proc/self/smaps").read_text().split("VmFlags")
    return sum(int(one.split("Rss:")[1].split()[0]) for one in blocks if str(path) in one) / 1024


def figures(name: str, rounds: list[list[int]]) -> str:
    """One line: median and p99 in microseconds, each as the median of the rounds and their range."""

    def share(part: float) -> str:
        found = sorted(sorted(times)[int(len(times) * part)] / 1000 for times in rounds)
        return f"{statistics.median(found):.2f} ({found[0]:.2f} .. {found[-1]:.2f})"

    return f"| {name} | {share(0.5)} | {share(0.99)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plates", type=int, nargs="?", default=5_000_000)
    parser.add_argument("--list", type=Path, default=None)
    parser.add_argument("--index", type=Path, default=None, help="An index that was made before.")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, target = told.list or Path(folder) / "list.txt", told.index or Path(folder) / "bench.index"
        if told.index is None:
            if told.list is None:
                write_list(source, invented(told.plates))
            cost = built(source, target)
            print(", ".join(f"{name} {value:.2f}" for name, value in cost.items()))
        began = perf_counter()
        index = Index.open(target)
        print(f"opened and compared in {perf_counter() - began:.2f} s")
        before = perf_counter_ns()
        Index.open(target, verify=False).close()
        print(f"opened in {(perf_counter_ns() - before) / 1000:.0f} us")
        chance = random.Random(1)  # noqa: S311 - the same each time
        plates = [index.entry(chance.randrange(index.plates)).plate for _ in range(20_000)]
        gc.collect()
        whole, alone, hits = [], [], 0
        for number in range(ROUNDS):
            reads = asked(plates, number)
            times, hits = looks(index, reads)
            whole.append(times)
            alone.append(only(index, reads))
        print(f"{LOOKS} looks a round, {ROUNDS} rounds, {hits} hits in the last")
        print("| us | median | p99 |\n|---|---|---|")
        print(figures("a read held against the list", whole))
        print(figures("the index alone", alone))
        print(f"resident of the index: {resident(target):.1f} MiB")
        index.close()


if __name__ == "__main__":
    main()
