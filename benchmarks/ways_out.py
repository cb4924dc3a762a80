"""Spool to server, and dock to receipt, beside the peers that `benchmarks.sending` knows: as cases of `make bench`.

A peer that fails, or a server that does not come up, is named in the table; the other servers have their turns.
"""

from __future__ import annotations

import asyncio
import statistics
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from benchmarks.alone import hashed, sent
from benchmarks.contest import Figures, Row, judged, ratio
from benchmarks.sending import SERVERS, SETS, dock_to_receipt, one_round, ready
from benchmarks.stations import clear

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.contest import Goal
    from benchmarks.measured import Series
    from benchmarks.sending import Files
    from benchmarks.suite import Plan

__all__ = [
    "life_clips",
    "life_large",
    "life_reads",
    "life_small",
    "sending_clips",
    "sending_large",
    "sending_plain",
    "sending_reads",
    "sending_small",
]

_WHY_MAX: Final = 200
_RESUMABLE: Final = ("tuspy", "tus-js-client")
_RCLONE: Final = "rclone copy to rclone serve webdav"


async def _sending(plan: Plan, which: str, *, tls: bool = True) -> None:
    files = _files(plan, which)
    figures = Figures(
        f"sending-{which}" if tls else "sending-plain",
        f"Sending: {files.name}, {'over TLS' if tls else 'in the clear'}",
        "From what stands held until the last receipt. The emulated DEMS verifies, forces and signs whoever sends; "
        "@tus/server and rclone's do none of it. All files lie in memory. The processor's time is the client's.",
    )
    here = await ready(plan.folder / "sending", files)
    for number, _ in enumerate(_rounds(plan)):
        for server in SERVERS:
            try:
                found = await one_round(here, server, number, tls=tls)
            except Exception as error:  # noqa: BLE001 - whatever a peer does wrong is its own
                _failed(figures, f"to {server}", files.unit, error)
                clear(here.folder / "server", here.folder / "station")
                continue
            for (client, where), series in found.items():
                _add(figures, f"{client} to {where}", files, series, ours=client == "Evidock")
            figures.goals = _sent_goals(figures, which)
            figures.write(plan.out)


def _sent_goals(figures: Figures, which: str) -> list[Goal]:
    goals = []
    names = {row.name for row in figures.rows if row.values}
    if {"Evidock to DEMS", "curl -T to DEMS"} <= names:
        times = ratio(figures, "Evidock to DEMS", "curl -T to DEMS")
        goals.append(judged("as fast as curl -T, times", times, least=0.9))
    for server in SERVERS:
        peers = [f"{client} to {server}" for client in _RESUMABLE if f"{client} to {server}" in names]
        if (ours := f"Evidock to {server}") in names and peers:
            best = max(peers, key=lambda name: figures.row(name).median or 0)
            least = 5 if which == "small" else 1
            text = f"to {server}, as fast as the best other resumable client, times"
            goals.append(judged(text, ratio(figures, ours, best), least=least))
    if {"Evidock to DEMS", _RCLONE} <= names:
        times = ratio(figures, "Evidock to DEMS", _RCLONE)
        goals.append(judged("as fast as rclone, each to its own server, times", times, least=1))
    return goals


async def _life(plan: Plan, which: str) -> None:
    files = _files(plan, which)
    figures = Figures(
        f"life-{which}",
        f"Dock to receipt: {files.name}, over TLS",
        "Ours with custody: held, journaled, sent, verified, signed for. rclone copies, and reads everything back to "
        "compare it; it gives no receipt and keeps no log.",
    )
    bounds = {"SHA-256 alone, for a GiB": await asyncio.to_thread(hashed)}
    bounds["TLS alone, for a GiB"] = await asyncio.to_thread(sent, plan.folder / "tls")
    alone = sum(bounds.values())
    figures.about += "".join(f" {name}: {spent:.2f} core-seconds." for name, spent in bounds.items())
    for _ in _rounds(plan):
        try:
            found = await dock_to_receipt(plan.folder / "life", files, 1)
        except Exception as error:  # noqa: BLE001 - whatever a peer does wrong is its own
            _failed(figures, "both", files.unit, error)
            figures.write(plan.out)
            return
        for name, series in found.items():
            _add(figures, name, files, series, ours=name.startswith("Evidock"))
        ours, theirs = (row.name for row in figures.rows[:2])
        figures.goals = [judged("as fast as rclone copy and check, times", ratio(figures, ours, theirs), least=1)]
        if not files.many:
            each = figures.row(ours)
            spent = statistics.median(each.cpu) / (files.count * files.length / 2**30)
            figures.goals.append(judged("core-seconds for a GiB, in times of the two bounds'", spent / alone, most=1.5))
        figures.write(plan.out)


def _rounds(plan: Plan) -> Iterator[None]:
    """As many as there is time for, and one in any case."""
    began = monotonic()
    for number in range(plan.rounds):
        if number and monotonic() + (monotonic() - began) / number >= plan.until:
            return
        yield


def _add(figures: Figures, name: str, files: Files, series: Series, *, ours: bool) -> None:
    row = next((one for one in figures.rows if one.name == name), None)
    if row is None:
        row = Row(name, files.unit, ours=ours)
        figures.rows.append(row)
    for run in series.runs:
        row.values.append(files.rate(run.seconds))
        row.cpu.append(run.cpu)
        row.memory = max(row.memory, run.memory)


def _failed(figures: Figures, name: str, unit: str, error: Exception) -> None:
    figures.rows.append(Row(name, unit, failed=f"{type(error).__name__}: {error}"[:_WHY_MAX]))


def _files(plan: Plan, which: str) -> Files:
    # Half of the one large capture: it is made, held and sent anew for each server, and a round is to end in time.
    return SETS[which](plan.large // 2 if which == "large" else plan.clips * 4, plan.count)


sending_large = partial(_sending, which="large")
sending_plain = partial(_sending, which="large", tls=False)
sending_clips = partial(_sending, which="clips")
sending_reads = partial(_sending, which="reads")
sending_small = partial(_sending, which="small")
life_large = partial(_life, which="large")
life_clips = partial(_life, which="clips")
life_reads = partial(_life, which="reads")
life_small = partial(_life, which="small")
