"""Volume to spool, both digests, reading back off: beside `cp`, `sync` and two sums, and beside the machine's bounds.

The bounds are single steps of the same work: a copy of which each file is forced, and SHA-256 of the same bytes by
OpenSSL. Nobody who gives a durable copy and the digest of record can be faster than the slower of the two.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from typing import TYPE_CHECKING

from benchmarks.contest import Contest, Entrant, Goal, hold, judged, ratio
from benchmarks.measured import Measured, command, quoted
from benchmarks.stations import all_held_by, clear, fill, forget, held_by, read_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from benchmarks.contest import Figures
    from benchmarks.suite import Plan

__all__ = ["cameras", "clips", "large", "small"]

MIB = 1 << 20
OURS = "Evidock: held, both digests, journaled"
PIPELINE = "cp, sync, sha256sum, b3sum"
FAST = "cp, sync, openssl sha256, b3sum"
COPY = "cp, each file forced"
HASH = "SHA-256 alone (openssl)"
EACH = "the same, file after file, as a script does"


async def large(plan: Plan) -> None:
    """One capture."""
    await _taking(plan, "taking-large", f"One capture of {plan.large:,} MiB", 1, plan.large * MIB)


async def clips(plan: Plan) -> None:
    """Many captures of 4 MiB."""
    await _taking(plan, "taking-clips", f"{plan.clips:,} captures of 4 MiB", plan.clips, 4 * MIB)


async def small(plan: Plan) -> None:
    """Very many captures of 4 KiB."""
    await _taking(plan, "taking-small", f"{plan.count:,} captures of 4 KiB", plan.count, 4096)


async def _taking(plan: Plan, name: str, title: str, count: int, length: int) -> None:
    volume, copy, station = plan.folder / "volume", plan.folder / "copy", plan.folder / "station"
    fill(volume, count, length)
    source, target = quoted(volume), quoted(copy)

    def peer(line: str, find: Callable[[Path], None] = forget) -> Callable[[int], Measured]:
        def run(_: int) -> Measured:
            clear(copy)
            find(volume)
            os.sync()  # what others wrote is not to be forced in this one's time
            try:
                return command(line)
            finally:
                clear(copy)

        return run

    async def ours(_: int) -> Measured:
        clear(station)
        forget(volume)
        os.sync()
        try:
            return await held_by(station, volume, count)
        finally:
            clear(station)

    every = f"find {target} -type f -print0 | xargs -0"
    entrants = [
        Entrant(OURS, ours, ours=True),
        Entrant(PIPELINE, peer(f"cp -r {source} {target} && sync && {every} sha256sum && {every} b3sum")),
        Entrant(FAST, peer(f"cp -r {source} {target} && sync && {every} openssl dgst -sha256 && {every} b3sum")),
        Entrant(COPY, peer(f"cp -r {source} {target} && {every} sync"), limit=True),
        Entrant(HASH, peer(f"find {source} -type f -print0 | xargs -0 openssl dgst -sha256", read_in), limit=True),
    ]
    if count > 1 and length < MIB:
        script = f'mkdir -p {target}; find {source} -name "*0.MP4" | while read -r f; do n={target}/$(basename "$f")'
        script += '; cp "$f" "$n"; sync "$n"; sha256sum "$n"; b3sum "$n"; done'
        entrants.append(Entrant(EACH, _tenth(peer(script))))
    weighed = length >= MIB
    contest = Contest(
        name,
        f"Taking: {title}",
        "From the moment in which the volume appears in a bay of a daemon at rest until everything stands held; "
        "reading back off. To notice, recognise and list the volume is in our time; the daemon's start is not, and has "
        "a table of its own. Rates of the whole set; the processor's time is that of all processes that did the work. "
        "Everybody reads the volume from the disk, for nobody has in memory what was docked a moment ago; SHA-256 "
        "alone finds it there. The paler bars are bounds of the machine, not peers.",
        count * length / 1e6 if weighed else count,
        "MB/s" if weighed else "captures/s",
        entrants,
        _goals,
    )
    await hold(contest, plan.out, rounds=plan.rounds, until=plan.until)


def _tenth(run: Callable[[int], Measured]) -> Callable[[int], Measured]:
    """One file in ten is enough to know the rate."""

    def scaled(number: int) -> Measured:
        found = run(number)
        return Measured(found.seconds * 10, found.cpu * 10, found.memory)

    return scaled


def _goals(figures: Figures) -> list[Goal]:
    bounds = [found for name in (COPY, HASH) if (found := ratio(figures, name, OURS)) is not None]
    slower, peer = min(bounds, default=None), ratio(figures, OURS, PIPELINE)
    return [
        judged("our time, in times of the slower bound", slower, most=1.15),
        judged(f"as fast as `{PIPELINE}`, times", peer, least=3),
    ]


async def cameras(plan: Plan) -> None:
    """Cameras that are docked all at once, with one capture of 48 MiB each."""
    length = 48 * MIB
    volumes = [plan.folder / f"volume{number}" for number in range(plan.cameras)]
    for volume in volumes:
        fill(volume, 1, length)
    station, copy = plan.folder / "station", quoted(plan.folder / "copy")

    async def ours(_: int) -> Measured:
        clear(station)
        for volume in volumes:
            forget(volume)
        os.sync()
        return await all_held_by(station, volumes)

    def peer(more: str = "") -> Callable[[int], Awaitable[Measured]]:
        script = f'f=$0; n={copy}/$(basename "$f"); cp -r "$f" "$n" && find "$n" -type f -exec sync {{}} \\;{more}'
        names = " ".join(quoted(volume) for volume in volumes)
        line = f"mkdir -p {copy}; printf '%s\\n' {names} | xargs -P 60 -n 1 sh -c {shlex.quote(script)}"

        async def run(_: int) -> Measured:
            clear(plan.folder / "copy", station)
            for volume in volumes:
                forget(volume)
            os.sync()
            try:
                return await asyncio.to_thread(command, line)
            finally:
                clear(plan.folder / "copy")

        return run

    def goals(figures: Figures) -> list[Goal]:
        row = figures.row("Evidock")
        rate = None if row.median is None else row.median * 1e6 / MIB
        longest = None if not row.values else contest.work / min(row.values)
        return [
            judged("together", rate, least=400, unit="MiB/s"),
            judged("resident at most", row.memory / 1e6 if row.memory else None, most=512, unit="MB"),
            judged("everything is held after, so no bay waited longer", longest, most=30, unit="s"),
        ]

    contest = Contest(
        "cameras",
        f"{plan.cameras} cameras at once, 48 MiB each",
        "Docked in one moment, at a daemon at rest. The peer: a script for each camera, with cp, sync of the file, "
        "sha256sum and b3sum. The bound: cp and sync alone.",
        plan.cameras * length / 1e6,
        "MB/s",
        [
            Entrant("Evidock", ours, ours=True),
            Entrant("a script for each", peer(" -exec sha256sum {} \\; -exec b3sum {} \\;")),
            Entrant("cp for each, forced", peer(), limit=True),
        ],
        goals,
    )
    await hold(contest, plan.out, rounds=plan.rounds, until=plan.until)
