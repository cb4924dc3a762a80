"""Number plates: a look into a hotlist of millions, reads a second on one core, and the way of a hit to the broker."""

from __future__ import annotations

import asyncio
import logging
import random
import statistics
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from benchmarks import alpr, hotlist, reads
from benchmarks.contest import Figures, Row, judged
from drivers.alpr.hotlist.emulator import invented, write_list
from drivers.alpr.hotlist.index import Index

if TYPE_CHECKING:
    from benchmarks.suite import Plan

__all__ = ["plates"]

_MAKERS = ("axis", "hikvision")
_HITS_SECONDS = 30
_SETTLES = 15
"""Seconds for setting it up, and until everything has arrived."""


async def plates(plan: Plan) -> None:
    """The index first, since whatever follows needs less."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    figures = Figures(
        "plates",
        "Number plates",
        f"A list of {plan.plates:,} invented plates. Reads have a picture of 100 KiB; rates are those of one core, "
        "senders included. A hit is timed from its POST to the broker's word, beside 50 reads a second.",
        drawn=False,
    )
    await asyncio.to_thread(_looked_up, plan, figures)
    figures.write(plan.out)
    for maker in _MAKERS:
        await _read(plan, figures, maker)
        figures.write(plan.out)
    if monotonic() + _HITS_SECONDS + _SETTLES < plan.until:
        await _hits(plan, figures)
        figures.write(plan.out)


def _looked_up(plan: Plan, figures: Figures) -> None:
    source, target = plan.folder / "list.txt", plan.folder / "bench.index"
    write_list(source, invented(plan.plates))
    cost = hotlist.built(source, target)
    index = Index.open(target)
    chance = random.Random(1)  # noqa: S311 - the same each time
    listed = [index.entry(chance.randrange(index.plates)).plate for _ in range(20_000)]
    middle, slow = [], []
    for number in range(3):
        times, _ = hotlist.looks(index, hotlist.asked(listed, number))
        times.sort()
        middle.append(times[len(times) // 2] / 1000)
        slow.append(times[len(times) * 99 // 100] / 1000)
    figures.rows += [
        Row("a read held against the list, median", "us", middle, ours=True),
        Row("a read held against the list, p99", "us", slow, ours=True),
        Row("looks a second on one core", "/s", [1e6 / one for one in middle], ours=True),
        Row("the index, of a plate", "bytes", [cost["bytes a plate"]], ours=True),
        Row("the index, made", "s", [cost["seconds"]], [cost["cpu"]], int(cost["memory"] * (1 << 20)), ours=True),
    ]
    figures.goals.append(judged("a look", statistics.median(middle), most=20, unit="us"))
    index.close()
    source.unlink()
    target.unlink()


async def _read(plan: Plan, figures: Figures, maker: str) -> None:
    """On one core: the rate is by the processor's time."""
    for wanted, word in ((False, "passed by"), (True, "held")):
        values = []
        for number in range(3):
            folder = plan.folder / f"{maker}-{word.split()[0]}-{number}"
            folder.mkdir()
            values.append(1 / (await reads.taken(maker, 200, wanted=wanted, folder=Path(folder)))[1])
        figures.rows.append(Row(f"reads of {maker}, {word}", "/s and core", values, ours=True))


async def _hits(plan: Plan, figures: Figures) -> None:
    folder = plan.folder / "hits"
    folder.mkdir()
    found = await alpr.soak(
        folder, seconds=_HITS_SECONDS, rate=50, burst=0, plates=min(plan.plates, 100_000), say=lambda _: None
    )
    over = found.get("over the broker") or {}
    figures.rows += [
        Row(f"a hit from POST to the broker, {word}", "ms", [over[word]], ours=True)
        for word in ("median", "p99")
        if over.get(word) is not None
    ]
