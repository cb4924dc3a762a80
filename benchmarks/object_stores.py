"""One capture to an object store, beside aws-cli and rclone: what `python -m benchmarks.stores` prints, as a case.

Three runs are what it prints whole: the slowest, the median and the fastest.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Final

from benchmarks.contest import Figures, Row, judged

if TYPE_CHECKING:
    from benchmarks.suite import Plan

__all__ = ["stores"]

_MIB: Final = 128
_RUNS: Final = 3
_ROW: Final = re.compile(r"^\| (.+?) \| ([\d.]+) MB/s \| ([\d.]+) \.\. ([\d.]+) \| ([\d.]+) s \| (?:([\d.]+) MB|-) \|$")
_WHY_MAX: Final = 200


async def stores(plan: Plan) -> None:
    """One after the other, to OpenStack Swift on this machine."""
    figures = Figures(
        "stores",
        f"To an object store: one capture of {_MIB} MiB",
        "To OpenStack Swift over plain HTTP on this machine, 16 MiB at a time, four at once; ours proves each part "
        "on the way. What each client's interpreter takes to start is taken off.",
    )
    line = (sys.executable, "-m", "benchmarks.stores", "--mib", str(_MIB), "--runs", str(_RUNS))
    process = await asyncio.create_subprocess_exec(
        *line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, wrong = await process.communicate()
    for text in said.decode(errors="replace").splitlines():
        if (found := _ROW.match(text)) is None:
            continue
        name, middle, low, high, cpu, memory = found.groups()
        ours = name.startswith("Evidock")
        values = [float(low), float(middle), float(high)]
        figures.rows.append(
            Row(name, "MB/s", values, [float(cpu)], int(float(memory or 0) * 1e6) if ours else 0, ours=ours)
        )
    if process.returncode or not figures.rows:
        why = wrong.decode(errors="replace").strip().splitlines()
        figures.rows.append(Row("the case", "MB/s", failed=(why[-1] if why else "it says nothing")[:_WHY_MAX]))
    medians = {row.name: row.median for row in figures.rows if row.median}
    ours_rate = next((rate for name, rate in medians.items() if name.startswith("Evidock")), None)
    best = max((rate for name, rate in medians.items() if not name.startswith("Evidock")), default=None)
    times = None if ours_rate is None or best is None else ours_rate / best
    figures.goals.append(judged("as fast as the best of the others, times", times, least=1))
    figures.write(plan.out)
