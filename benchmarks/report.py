"""docs/benchmarks.md and its pictures, written anew from what the cases found last; what people wrote in it stays.

The measured part stands between two marks, and begins with every goal and whether it was reached. Pictures are plain
SVG: a bar from nothing to the median, a line over the range, ours and the bounds of the machine in other colours.
Beside them lie the figures of each case, so that one can be measured again without the others.
"""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.contest import Figures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BEGIN", "END", "Run", "chart", "kept", "machine", "write"]

BEGIN: Final = "<!-- measured: from here on `make bench` writes -->"
END: Final = "<!-- measured: to here -->"

_BARS, _BAR, _STEP = 400, 14, 24
"""Pixels: of the longest line, of a bar, from one bar to the next."""
_LETTER: Final = 7
"""Pixels of a character at 12 px, on the generous side: a name that is cut off names nobody."""
_REACHED: Final = {True: "yes", False: "**no**", None: "not shown"}
_NOTHING: Final = "| everything | | nothing was found | not shown |"
_COLOURS: Final = {"ours": "#1a7f5a", "limit": "#c9b458", "peer": "#6b7a99"}


@dataclass(frozen=True, slots=True)
class Run:
    """What holds for all cases of a page."""

    machine: str
    versions: str
    sizes: str
    cases: Mapping[str, str]
    """Name and purpose of each case, in the order of the page."""


def machine(folder: Path) -> str:
    """On what it was measured: processor, memory, file system of the folder, kernel, Python."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model}, {os.cpu_count()} processors, {memory:.0f} GiB of memory, files on {_disk(folder)}, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def _disk(folder: Path) -> str:
    """Type and source of the file system that a folder lies on (proc_pid_mountinfo(5))."""
    place, best, disk = str(folder.resolve()), "", "a file system that is not listed"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        mount = before.split()[4]
        if len(mount) >= len(best) and (place == mount or place.startswith(mount.rstrip("/") + "/")):
            kind, source = after.split()[:2]
            best, disk = mount, f"{kind} ({source.removeprefix('/dev/')})"
    return disk


def write(page: Path, found: Figures, run: Run) -> None:
    """Put a case into the page, and its picture and figures beside it; what was found on another machine goes."""
    beside = page.with_suffix("")
    beside.mkdir(exist_ok=True)
    found.write(beside / f"{found.name}.json")
    everything = kept(page, run)
    for old in (*beside.glob("*.svg"), *beside.glob("*.json")):
        if old.suffix == ".svg" or old.stem not in {one.name for one in everything}:
            old.unlink()
    for one in everything:
        if one.drawn and any(row.values for row in one.rows):
            (beside / f"{one.name}.svg").write_text(chart(one), encoding="utf-8")
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{_markdown(everything, run, beside.name)}\n{END}{after}", encoding="utf-8")


def kept(page: Path, run: Run) -> list[Figures]:
    """What each case found last on this machine, in the order of the page."""
    paths = [page.with_suffix("") / f"{name}.json" for name in run.cases]
    found = [Figures.read(path) for path in paths if path.exists()]
    return [one for one in found if one.machine == run.machine]


def _markdown(found: Sequence[Figures], run: Run, pictures: str) -> str:
    lines = [f"Measured on: {run.machine}.", "", f"{run.versions}.", "", run.sizes, ""]
    lines += _in_short(found, run)
    for one in found:
        lines += [f"## {one.title}", "", one.about, "", f"Measured {one.when}.", ""]
        if one.goals:
            lines += ["| asked for | goal | found | reached |", "|---|---|---|---|", *_goals(one), ""]
        lines += _table(one)
        if one.drawn and any(row.values for row in one.rows):
            lines += [f"![{escape(one.title)}]({pictures}/{one.name}.svg)", ""]
    return "\n".join(lines)


def _in_short(found: Sequence[Figures], run: Run) -> list[str]:
    """Every goal in one table: what was not reached is to be seen at once, and what was not measured as well."""
    met = [met for one in found for met in ([goal.met for goal in one.goals] or [None])]
    lines = ["## In short", ""]
    if met:
        lines += [f"{met.count(True)} of {len(met)} goals were reached, {met.count(False)} were not"]
        lines[-1] += f", and {met.count(None)} could not be shown." if None in met else "."
        lines += ["", "| | asked for | goal | found | reached |", "|---|---|---|---|---|"]
        lines += [f"| {one.title} {row}" for one in found for row in _goals(one) or [_NOTHING]]
        lines.append("")
    names = {one.name for one in found}
    if never := [f"{name} ({about})" for name, about in run.cases.items() if name not in names]:
        lines += [f"Not measured: {'; '.join(never)}.", ""]
    return lines


def _goals(figures: Figures) -> list[str]:
    return [f"| {goal.text} | {goal.asked} | {goal.found} | {_REACHED[goal.met]} |" for goal in figures.goals]


def _table(figures: Figures) -> list[str]:
    lines = ["| | median | range | runs | processor | memory |", "|---|---|---|---|---|---|"]
    for row in figures.rows:
        name = f"**{row.name}**" if row.ours else row.name
        if row.median is None:
            lines.append(f"| {name} | {row.failed or 'not run'} | | | | |")
            continue
        cpu = f"{statistics.median(row.cpu):.2f} s" if row.cpu else ""
        memory = f"{row.memory / 1e6:.0f} MB" if row.memory else ""
        spread = f"{_number(min(row.values))} to {_number(max(row.values))}" if len(row.values) > 1 else ""
        told = f"{len(row.values)}" + (f", then: {row.failed}" if row.failed else "")
        lines.append(f"| {name} | {_number(row.median)} {row.unit} | {spread} | {told} | {cpu} | {memory} |")
    return [*lines, ""]


def _number(value: float) -> str:
    if abs(value) >= 100:  # noqa: PLR2004 - three digits tell enough
        return f"{value:,.0f}"
    return f"{value:.3g}"


def chart(figures: Figures) -> str:
    """One bar for each row that has a median."""
    rows = [row for row in figures.rows if row.values]
    most = max(max(row.values) for row in rows)
    said = [f"{_number(row.median or 0.0)} {row.unit}" for row in rows]
    left = 16 + _LETTER * max(len(row.name) for row in rows)
    width, height = left + _BARS + 16 + _LETTER * max(map(len, said)), 16 + _STEP * len(rows)
    body = []
    for number, row in enumerate(rows):
        middle, top = row.median or 0.0, 8 + number * _STEP
        low, high = (left + _BARS * one / most for one in (min(row.values), max(row.values)))
        colour = _COLOURS["ours" if row.ours else "limit" if row.limit else "peer"]
        across = top + _BAR / 2
        body += [
            f'<text x="{left - 8}" y="{top + 11}" text-anchor="end">{escape(row.name)}</text>',
            f'<rect x="{left}" y="{top}" width="{_BARS * middle / most:.1f}" height="{_BAR}" fill="{colour}"/>',
            f'<path d="M{low:.1f} {across}H{high:.1f}" stroke="#222" stroke-width="1.5"/>',
            f'<text x="{high + 6:.1f}" y="{top + 11}">{escape(said[number])}</text>',
        ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12" role="img"><title>{escape(figures.title)}</title>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(body)}</svg>\n'
    )
