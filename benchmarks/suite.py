"""`make bench`: every case beside its peers, one after the other, into docs/benchmarks.md and its pictures.

    python -m benchmarks.suite                      all cases, in about 25 minutes
    python -m benchmarks.suite taking-large idle    some of them
    python -m benchmarks.suite --minutes 180 --large 10240 --clips 1000 --count 100000 --entries 10000000

Each case is a process of its own, with a share of the time that it is ended after: a case that hangs, or a peer that
fails, costs the others nothing. What was measured until then stands in the page, with what went wrong beside it; so
does what the other cases found in earlier runs, each under its own date and commit.
"""

from __future__ import annotations

import argparse
import asyncio
import compileall
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from benchmarks.contest import Figures
from benchmarks.report import Run, machine, write
from benchmarks.versions import commit, versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["CASES", "Plan", "main"]

PAGE: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_PACKAGES: Final = ("agent", "drivers", "firmware_specs")
_SIZES: Final = (
    "The goals are meant for 10,240 MiB in the large capture, 1,000 captures of 4 MiB, 100,000 of 4 KiB, 10,000,000 "
    "entries in the longest journal and 5,000,000 plates; each case says how much it had."
)
"""A goal that was reached with less than it is meant for is not quite reached."""
_LEAST: Final = 0.6
"""Of its share of the time, what a case may begin rounds in; the rest is for the round that it is in, and for peers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How large, how often, and for how long one case is measured."""

    folder: Path
    """On the disk that is measured; empty at the beginning."""
    out: Path
    until: float
    """By `monotonic`: what would probably end later is not begun."""
    rounds: int
    large: int
    """MiB of the one large capture."""
    clips: int
    """Captures of 4 MiB."""
    count: int
    """Captures of 4 KiB."""
    cameras: int
    entries: int
    """In the largest journal."""
    plates: int


@dataclass(frozen=True, slots=True)
class Case:
    """`place`: the module and the coroutine function that takes a plan. `share`: of the time, in parts."""

    place: str
    share: float
    about: str
    needs: str = "contest"
    """The module of this folder without which it cannot be measured."""


CASES: Final = {
    "start": Case("starting:start", 1, "the command line and the daemon, from nothing"),
    "idle": Case("idling:idle", 2.5, "sixty empty bays, and the unit of a car"),
    "taking-large": Case("taking:large", 3, "one large capture: volume to spool, both digests"),
    "taking-clips": Case("taking:clips", 3, "many captures of 4 MiB: volume to spool, both digests"),
    "taking-small": Case("taking:small", 3, "very many captures of 4 KiB: volume to spool, both digests"),
    "cameras": Case("taking:cameras", 2, "sixty cameras docked at once"),
    "sending-large": Case("ways_out:sending_large", 3, "one large capture: spool to server, over TLS", "sending"),
    "sending-plain": Case("ways_out:sending_plain", 2, "one large capture: spool to server, in the clear", "sending"),
    "sending-clips": Case("ways_out:sending_clips", 3, "captures of 4 MiB: spool to server, over TLS", "sending"),
    "sending-reads": Case("ways_out:sending_reads", 3, "captures of 150 KiB: spool to server, over TLS", "sending"),
    "sending-small": Case("ways_out:sending_small", 4, "captures of 4 KiB: spool to server, over TLS", "sending"),
    "stores": Case("object_stores:stores", 3, "one capture to an object store, beside aws-cli and rclone", "stores"),
    "life-large": Case("ways_out:life_large", 2, "one large capture: dock to receipt", "sending"),
    "life-clips": Case("ways_out:life_clips", 2, "captures of 4 MiB: dock to receipt", "sending"),
    "life-reads": Case("ways_out:life_reads", 2, "captures of 150 KiB: dock to receipt", "sending"),
    "life-small": Case("ways_out:life_small", 3, "captures of 4 KiB: dock to receipt", "sending"),
    "journal": Case("keeping:journal", 4, "the journal: commits, looks, starts"),
    "memory": Case("keeping:memory", 4, "what the daemon has resident"),
    "plates": Case("plates:plates", 5, "number plate reads and hotlists"),
}


def main() -> int:
    """Measure what the command line asks for; 1 where a case gave nothing at all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description=main.__doc__)
    parser.add_argument("cases", nargs="*", metavar="case", help=", ".join(CASES))
    parser.add_argument("--minutes", type=float, default=25, help="for everything that is asked for")
    parser.add_argument("--rounds", type=int, default=5, help="at most, for each case")
    parser.add_argument("--large", type=int, default=2048, help="MiB of the one large capture")
    parser.add_argument("--clips", type=int, default=300, help="how many captures of 4 MiB")
    parser.add_argument("--count", type=int, default=10_000, help="how many captures of 4 KiB")
    parser.add_argument("--cameras", type=int, default=60)
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries of the largest journal")
    parser.add_argument("--plates", type=int, default=1_000_000, help="plates of the hotlist")
    parser.add_argument("--folder", type=Path, default=None, help="where the files lie; on the disk to be measured")
    parser.add_argument("--page", type=Path, default=PAGE, help="what is written; - for the terminal alone")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if unknown := set(told.cases) - CASES.keys():
        parser.error(f"there is no case {', '.join(sorted(unknown))}")
    if told.only is not None:
        _measure(told)
        return 0
    return _all(told, told.cases or [name for name, case in CASES.items() if find_spec(f"benchmarks.{case.needs}")])


def _all(told: argparse.Namespace, names: list[str]) -> int:
    began, found = monotonic(), list[Figures]()
    for package in _PACKAGES:  # as an installed one is; where Python may not write, each start would compile it anew
        compileall.compile_dir(PAGE.parents[1] / package, quiet=2)
    with tempfile.TemporaryDirectory(dir=told.folder, prefix="evidock-bench-") as place:
        folder = Path(place)
        run = Run(machine(folder), versions(), _SIZES, {name: case.about for name, case in CASES.items()})
        print(f"{run.machine}\n{run.versions}\n", flush=True)
        for number, name in enumerate(names):
            left = told.minutes * 60 - (monotonic() - began)
            share = CASES[name].share / sum(CASES[one].share for one in names[number:])
            figures = _apart(told, name, folder, max(3.0, left * share))
            figures.machine = run.machine
            found.append(figures)
            print(_told(figures), flush=True)
            if str(told.page) != "-":
                # After each case: whoever ends the whole of it has what was measured so far.
                write(told.page, figures, run)
    print(f"{(monotonic() - began) / 60:.1f} minutes", flush=True)
    return int(any(not any(row.values for row in one.rows) for one in found))


def _when(seconds: float) -> str:
    """Now, of what, and beside how much else."""
    tree = commit() or "unknown"
    load = f"{os.getloadavg()[0]:.1f}"
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {tree}, in at most {seconds:.0f} s; load when it began: {load}"
    )


def _apart(told: argparse.Namespace, name: str, folder: Path, seconds: float) -> Figures:
    """One case as a process of its own: whatever it started ends with it."""
    out, place = folder / f"{name}.json", folder / name
    place.mkdir()
    sizes = ("rounds", "large", "clips", "count", "cameras", "entries", "plates")
    line = [sys.executable, "-m", "benchmarks.suite", "--only", name, "--out", str(out), "--folder", str(place)]
    line += ["--seconds", f"{seconds * _LEAST:.0f}", *(f"--{one}={getattr(told, one)}" for one in sizes)]
    print(f"-- {name}: {CASES[name].about} (at most {seconds:.0f} s)", flush=True)
    when = _when(seconds)
    process = subprocess.Popen(line, start_new_session=True)
    wrong = ""
    try:
        if (code := process.wait(timeout=seconds)) != 0:
            wrong = f"the case ended with {code}; its words are on the terminal"
    except subprocess.TimeoutExpired:
        wrong = f"the case was ended after {seconds:.0f} s, in the middle of a round"
    finally:
        if process.poll() is None:
            _end(process)
    shutil.rmtree(place, ignore_errors=True)
    figures = Figures.read(out) if out.exists() else Figures(name, CASES[name].about, "")
    figures.when = when
    if wrong:
        figures.about = f"{figures.about} **Not whole: {wrong}.**".strip()
    return figures


def _end(process: subprocess.Popen[bytes]) -> None:
    """The case, and what it started that is still there, also in a session of its own: by handles, not by names."""
    handles = [fd for pid in (process.pid, *_descendants(process.pid)) if (fd := _handle(pid)) is not None]
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for fd in handles:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
    finally:
        for fd in handles:
            os.close(fd)


def _handle(pid: int) -> int | None:
    with suppress(OSError):
        return os.pidfd_open(pid)
    return None


def _descendants(pid: int) -> Iterator[int]:
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, listed.read_text(encoding="ascii").split()):
                yield child
                yield from _descendants(child)


def _measure(told: argparse.Namespace) -> None:
    module, _, function = CASES[told.only].place.partition(":")
    plan = Plan(
        folder=told.folder,
        out=told.out,
        until=monotonic() + told.seconds,
        rounds=told.rounds,
        large=told.large,
        clips=told.clips,
        count=told.count,
        cameras=told.cameras,
        entries=told.entries,
        plates=told.plates,
    )
    asyncio.run(getattr(import_module(f"benchmarks.{module}"), function)(plan))


def _told(figures: Figures) -> str:
    rows: Iterable[str] = (
        f"   {row.name}: "
        + (f"{row.median:.4g} {row.unit} ({len(row.values)} runs)" if row.median is not None else row.failed or "-")
        for row in figures.rows
    )
    goals = (f"   > {goal.text}: {goal.found}, asked {goal.asked}" for goal in figures.goals)
    return "\n".join([*rows, *goals])


if __name__ == "__main__":
    sys.exit(main())
