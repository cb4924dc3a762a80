"""The journal: durable entries a second, looks into a long one, a start on it; and what the daemon has resident."""

from __future__ import annotations

import asyncio
import os
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Final

import apsw

from agent.clock import Clock
from agent.journal import Desk, Event, Journal
from agent.testing.process import COMMAND, LOG, DaemonProcess, tally
from benchmarks.contest import Figures, Row, judged
from benchmarks.long_past import write_past
from benchmarks.measured import cpu_seconds, peak_memory
from benchmarks.stations import clear, driver, fill, held_by

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.suite import Plan

__all__ = ["journal", "memory"]

MIB: Final = 1 << 20
_SECONDS: Final = 2.0
_LOOKS: Final = 2000
_HELD: Final = 100_000
_STARTS: Final = 3


# -- the journal -------------------------------------------------------------------------------------------------------


async def journal(plan: Plan) -> None:
    """Commits into an empty one; then looks and starts with a long past."""
    figures = Figures(
        "journal",
        "The journal",
        f"Entries are durable when they count. The long journal has {plan.entries:,} entries and up to {_HELD:,} "
        "captures that stand held, with their files in the spool.",
        drawn=False,
    )
    for _ in range(min(3, plan.rounds)):
        await _commits(plan, figures)
        figures.write(plan.out)
    # Four entries for each capture that went the whole way, one for each that stands held.
    held = min(_HELD, plan.entries // 10)
    captures = held + (plan.entries - held) // 4
    state = plan.folder / "long" / "state"
    began = monotonic()
    ids = await asyncio.to_thread(write_past, state, captures, entries_each=4, held=held)
    figures.about += f" It was written in {monotonic() - began:.0f} s, by rows."
    await asyncio.to_thread(_looks, state, ids, figures)
    figures.write(plan.out)
    await _starts(plan, figures, held)
    figures.write(plan.out)


async def _commits(plan: Plan, figures: Figures) -> None:
    folder = plan.folder / "commits"
    folder.mkdir()
    desk = Desk(lambda: Journal.open(folder / "journal.db", log=LOG, stamp=Clock().stamp))
    await desk.open()
    rates = {}
    for at_once in (1, 64, 512):
        count, ends_at = 0, perf_counter() + _SECONDS

        async def one(until: float) -> int:
            done = 0
            while perf_counter() < until:
                await desk.write(lambda book: book.record(Event.AGENT_STARTED, {"bench": "x" * 300}))
                done += 1
            return done

        began = perf_counter()
        count = sum(await asyncio.gather(*(one(ends_at) for _ in range(at_once))))
        rates[at_once] = count / (perf_counter() - began)
    await desk.close()
    _note(figures, "durable entries, one at a time", "/s", rates[1], ours=True)
    _note(figures, "durable entries, 64 at once", "/s", rates[64], ours=True)
    _note(figures, "durable entries, 512 at once", "/s", rates[512], ours=True)
    _note(figures, "the bound: 4 KiB written and forced, again and again", "/s", _forced(folder / "bound"))
    clear(folder)


def _forced(path: Path) -> float:
    count, block = 0, os.urandom(4096)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        began = perf_counter()
        while perf_counter() - began < _SECONDS:
            os.write(fd, block)
            os.fdatasync(fd)
            count += 1
        return count / (perf_counter() - began)
    finally:
        os.close(fd)


def _looks(state: Path, ids: Sequence[str], figures: Figures) -> None:
    """At many captures, each twice: a first look goes to the disk, for opening the journal forgets what memory knew."""
    book = Journal.open(state / "journal.db", log=LOG, stamp=Clock().stamp)
    wanted = list(dict.fromkeys(ids[number * 7919 % len(ids)] for number in range(_LOOKS)))
    try:
        read = _pages_read(book)
        first = [_looked(book, one) for one in wanted]
        pages = _pages_read(book) - read
        again = [_looked(book, one) for one in wanted]
    finally:
        book.close()
    for word, times in (("a first look", first), ("again", again)):
        figures.rows += [
            Row(f"where a capture stands, {word}, median", "ms", [_at(times, 50)], ours=True),
            Row(f"where a capture stands, {word}, p99", "ms", [_at(times, 99)], ours=True),
        ]
    reads = pages / len(wanted)
    figures.rows.append(Row("pages that a first look reads", "of 4 KiB", [reads], ours=True))
    figures.goals += [
        judged("where a capture stands, a first look, p99", _at(first, 99), most=1, unit="ms"),
        judged("where a capture stands, again, p99", _at(again, 99), most=1, unit="ms"),
    ]


def _looked(book: Journal, capture: str) -> float:
    began = perf_counter()
    book.get(capture)
    return (perf_counter() - began) * 1000


def _pages_read(book: Journal) -> int:
    return book.connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)[0]


def _at(times: Sequence[float], percent: int) -> float:
    return sorted(times)[len(times) * percent // 100]


async def _starts(plan: Plan, figures: Figures, held: int) -> None:
    folder = plan.folder / "long"
    volume = plan.folder / "empty"
    volume.mkdir()
    row = Row(f"a start on it, {held:,} held, until it is ready", "s", ours=True)
    figures.rows.append(row)
    for _ in range(_STARTS):
        os.sync()
        began = perf_counter()
        async with DaemonProcess(folder, command=COMMAND, drivers=[driver(volume)]) as daemon:
            await daemon.ready(within=300)
            row.values.append(perf_counter() - began)
            row.cpu.append(cpu_seconds(daemon.pid or 0))
            row.memory = max(row.memory, peak_memory(daemon.pid or 0))
            told = await tally(daemon.state)
            if told.get("held") != held:
                row.failed = f"{told.get('held')} of {held} stood held afterwards"
        figures.write(plan.out)
    figures.goals.append(judged("a start on it", row.median, most=2, unit="s"))


# -- memory ------------------------------------------------------------------------------------------------------------


async def memory(plan: Plan) -> None:
    """What is resident at most while captures are taken: by their length, and by how much the journal knows."""
    figures = Figures(
        "memory",
        "Memory",
        "Resident at most, libraries and all, from the start until everything is held.",
    )
    for length in (64, plan.large // 4, plan.large):
        volume, station = plan.folder / "volume", plan.folder / "station"
        fill(volume, 1, length * MIB)
        found = await held_by(station, volume, 1)
        _note(figures, f"one capture of {length:,} MiB", "MB", found.memory / 1e6, ours=True)
        clear(volume, station)
        most = max(row.median or 0 for row in figures.rows)
        figures.goals = [judged("one capture, of any length", most, most=120, unit="MB")]
        figures.write(plan.out)
    peaks = []
    for known in (0, plan.entries):
        volume, station = plan.folder / "volume", plan.folder / "station"
        if known:
            await asyncio.to_thread(write_past, station / "state", known)
        fill(volume, 1000, 4096)
        async with DaemonProcess(station, command=COMMAND, drivers=[driver(volume)]) as daemon:
            await daemon.ready(within=300)
            while sum((await tally(daemon.state)).values()) < 1000:  # noqa: PLR2004, ASYNC110 - all of them
                await asyncio.sleep(0.1)
            peaks.append(peak_memory(daemon.pid or 0) / 1e6)
        _note(figures, f"1,000 captures of 4 KiB beside {known:,} in the journal", "MB", peaks[-1], ours=True)
        clear(volume, station)
        figures.write(plan.out)
    figures.goals.append(judged(f"what {plan.entries:,} captures add", peaks[1] - peaks[0], most=20, unit="MB"))
    figures.write(plan.out)


def _note(figures: Figures, name: str, unit: str, value: float, *, ours: bool = False) -> None:
    for row in figures.rows:
        if row.name == name:
            row.values.append(value)
            return
    figures.rows.append(Row(name, unit, [value], ours=ours, limit=not ours))
