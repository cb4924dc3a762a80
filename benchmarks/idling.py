"""What a daemon costs while nothing happens: a dock with sixty empty bays, and the unit of a car.

Wake-ups are counted by the kernel: how often each thread of the daemon went to sleep (proc(5)).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.testing.process import COMMAND, DaemonProcess
from benchmarks.contest import Figures, Row, judged
from benchmarks.measured import cpu_seconds

if TYPE_CHECKING:
    from benchmarks.suite import Plan

__all__ = ["idle"]

_SETTLES = 8.0
_WINDOW = 20.0


def wake_ups(pid: int) -> int:
    """Of all threads, so far."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for line in (thread / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total


def resident(pid: int) -> dict[str, int]:
    """Bytes, by the kernel's names: `Rss` with what is shared, `Pss` with a fair part of it, `Private` without."""
    names = {"Rss": "Rss", "Pss": "Pss", "Private_Clean": "Private", "Private_Dirty": "Private"}
    found = dict.fromkeys(names.values(), 0)
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        if name in names:
            found[names[name]] += int(rest.split()[0]) * 1024
    return found


async def idle(plan: Plan) -> None:
    """One after the other, each for some seconds."""
    figures = Figures(
        "idle",
        "Doing nothing",
        "Wake-ups of all threads and the processor's time, over 20 s each, and what is resident then.",
        drawn=False,
    )
    await _one(plan, figures, "sixty empty bays, the screen, one destination", *_dock(plan))
    await _one(plan, figures, "the unit of a car: position, trigger dock, one destination", *_car())


def _dock(plan: Plan) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    bays = [plan.folder / f"bay-{number}" for number in range(60)]
    for bay in bays:
        bay.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    drivers = [{"use": "body_worn.usb_volume", "name": bay.name, "mount": str(bay)} for bay in bays]
    return drivers, {"status": {"port": port}}


def _car() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    drivers = [
        {"use": "in_car.gpsd", "name": "position"},
        {"use": "in_car.trigger_dock", "name": "triggers", "port": "/dev/serial/by-id/none"},
    ]
    return drivers, {}


async def _one(plan: Plan, figures: Figures, name: str, drivers: list[dict[str, Any]], tables: dict[str, Any]) -> None:
    alone = ("unshare", "--mount", "--propagation", "private") if os.geteuid() == 0 and shutil.which("unshare") else ()
    uplink = {"use": "tus", "name": "dems", "url": "http://127.0.0.1:9/evidence"}
    folder = plan.folder / f"station-{len(figures.rows)}"
    async with DaemonProcess(folder, drivers=drivers, uplink=uplink, command=(*alone, *COMMAND), **tables) as daemon:
        await daemon.ready()
        pid = daemon.pid or 0
        await asyncio.sleep(_SETTLES)
        woken, busy = wake_ups(pid), cpu_seconds(pid)
        await asyncio.sleep(_WINDOW)
        rate, share = (wake_ups(pid) - woken) / _WINDOW, (cpu_seconds(pid) - busy) / _WINDOW * 100
        memory = resident(pid)
    figures.rows += [
        Row(f"{name}: wake-ups", "/s", [rate], ours=True),
        Row(f"{name}: of one core", "%", [share], ours=True),
        Row(f"{name}: resident, libraries and all", "MB", [memory["Rss"] / 1e6], ours=True),
        Row(f"{name}: resident, its share of what is shared", "MB", [memory["Pss"] / 1e6], ours=True),
        Row(f"{name}: resident, its own alone", "MB", [memory["Private"] / 1e6], ours=True),
    ]
    figures.goals += [
        judged(f"{name}: wake-ups", rate, most=5, unit="/s"),
        judged(f"{name}: of one core", share, most=0.5, unit="%"),
    ]
    if "car" in name:
        figures.goals.append(judged(f"{name}: resident", memory["Rss"] / 1e6, most=60, unit="MB"))
    figures.write(plan.out)
