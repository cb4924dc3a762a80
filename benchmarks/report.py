"""docs/benchmarks.md and its pictures, written anew from what the cases found; what people wrote in it stays.

The measured part stands between two marks. Pictures are plain SVG: a bar from nothing to the median, a line over the
range, ours in another colour, bounds of the machine hatched by a lighter one.
"""

from __future__ import annotations

import os
import platform
import statistics
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.contest import Figures, Row

__all__ = ["BEGIN", "END", "chart", "machine", "markdown", "write"]

BEGIN: Final = "<!-- measured: from here on `make bench` writes -->"
END: Final = "<!-- measured: to here -->"

_WIDTH, _NAME, _BAR, _STEP = 760, 270, 14, 24
_COLOURS: Final = {"ours": "#1a7f5a", "limit": "#c9b458", "peer": "#6b7a99"}


def machine() -> str:
    """On what it was measured: processor, memory, disk of the folder, kernel, Python."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{model}, {os.cpu_count()} processors, {memory:.0f} GiB of memory, Linux {platform.release()}, "
        f"Python {platform.python_version()}; load when it began: {load}"
    )


def write(page: Path, found: Sequence[Figures], about: str) -> None:
    """Put what was found into the page, and the pictures beside it in a folder of the page's name."""
    pictures = page.with_suffix("")
    pictures.mkdir(exist_ok=True)
    for old in pictures.glob("*.svg"):
        old.unlink()
    for one in found:
        if one.drawn and any(row.values for row in one.rows):
            (pictures / f"{one.name}.svg").write_text(chart(one), encoding="utf-8")
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{markdown(found, about, pictures.name)}\n{END}{after}", encoding="utf-8")


def markdown(found: Iterable[Figures], about: str, pictures: str) -> str:
    """The measured part of the page."""
    lines = [f"Measured on {datetime.now(UTC):%Y-%m-%d}: {about}.", ""]
    for one in found:
        lines += [f"## {one.title}", "", one.about, ""]
        lines += _goals(one) + _table(one)
        if one.drawn and any(row.values for row in one.rows):
            lines += [f"![{escape(one.title)}]({pictures}/{one.name}.svg)", ""]
    return "\n".join(lines)


def _goals(figures: Figures) -> list[str]:
    words = {True: "yes", False: "**no**", None: "-"}
    rows = [f"| {goal.text} | {goal.asked} | {goal.found} | {words[goal.met]} |" for goal in figures.goals]
    return ["| asked for | goal | found | reached |", "|---|---|---|---|", *rows, ""] if rows else []


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
    room = _WIDTH - _NAME - 90
    height = 16 + _STEP * len(rows)
    body = []
    for number, row in enumerate(rows):
        middle, top = row.median or 0.0, 8 + number * _STEP
        low, high = (_NAME + room * one / most for one in (min(row.values), max(row.values)))
        colour = _COLOURS["ours" if row.ours else "limit" if row.limit else "peer"]
        across = top + _BAR / 2
        body += [
            f'<text x="{_NAME - 8}" y="{top + 11}" text-anchor="end">{escape(row.name)}</text>',
            f'<rect x="{_NAME}" y="{top}" width="{room * middle / most:.1f}" height="{_BAR}" fill="{colour}"/>',
            f'<path d="M{low:.1f} {across}H{high:.1f}" stroke="#222" stroke-width="1.5"/>',
            f'<text x="{high + 6:.1f}" y="{top + 11}">{_number(middle)} {escape(row.unit)}</text>',
        ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12" role="img"><title>{escape(figures.title)}</title>'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>{"".join(body)}</svg>\n'
    )


def names(found: Iterable[Row]) -> list[str]:
    """Names of rows that failed."""
    return [row.name for row in found if row.failed]
