"""How long the command line and the daemon take to be there, start after start; `evidock version` of nobody else.

The bounds are the interpreter with nothing to do, and with the libraries that the daemon cannot do without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter
from typing import TYPE_CHECKING

from agent.testing.process import COMMAND, DaemonProcess
from benchmarks.contest import Figures, Row, judged
from benchmarks.measured import cpu_seconds, peak_memory
from benchmarks.stations import clear, driver

if TYPE_CHECKING:
    from benchmarks.suite import Plan

__all__ = ["start"]

_TIMES = 10
HELP = "evidock --help"
READY = "evidock run, until systemd is told that it is ready"
BOUNDS = {
    "the bound: python -c pass": "pass",
    "the bound: aiohttp, apsw, cryptography, pydantic imported": (
        "import aiohttp.web, apsw, pydantic, cryptography.hazmat.primitives.asymmetric.ed25519"
    ),
}


async def start(plan: Plan) -> None:
    """In turn, so that whatever else the machine does hits all alike."""
    figures = Figures("start", "Starting", "Seconds from the start of the process; less is better.")
    helps, ready = Row(HELP, "s", ours=True), Row(READY, "s", ours=True)
    bounds = [(Row(name, "s", limit=True), code) for name, code in BOUNDS.items()]
    figures.rows = [helps, ready, *(row for row, _ in bounds)]
    for _ in range(_TIMES):
        _timed(helps, [sys.executable, "-m", "agent.cli", "--help"])
        await _ready(ready, plan)
        for row, code in bounds:
            _timed(row, [sys.executable, "-c", code])
        figures.goals = [
            judged(HELP, helps.median, most=0.25, unit="s"),
            judged("the daemon is ready", ready.median, most=1, unit="s"),
        ]
        figures.write(plan.out)


def _timed(row: Row, command: list[str]) -> None:
    began = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    row.values.append(perf_counter() - began)
    process.returncode = os.waitstatus_to_exitcode(status)
    row.cpu.append(used.ru_utime + used.ru_stime)
    if process.returncode:
        row.failed = f"it ended with {process.returncode}"


async def _ready(row: Row, plan: Plan) -> None:
    folder, volume = plan.folder / "station", plan.folder / "volume"
    volume.mkdir(exist_ok=True)
    began = perf_counter()
    async with DaemonProcess(folder, command=COMMAND, drivers=[driver(volume)]) as daemon:
        await daemon.ready()
        row.values.append(perf_counter() - began)
        pid = daemon.pid or 0
        row.cpu.append(cpu_seconds(pid))
        row.memory = max(row.memory, peak_memory(pid))
    clear(folder)
