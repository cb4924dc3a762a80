"""A dock into which nothing is plugged costs nothing: its daemon sleeps, and is hardly ever woken up."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from agent.testing.ports import free_port
from agent.testing.process import BARE, DaemonProcess

BAYS = 60
SECONDS = 6.0
MOST = 5.0
"""Wake-ups of all threads together in a second."""


def wake_ups(pid: int) -> dict[str, int]:
    """How often each thread went to sleep so far, and was therefore woken up (proc(5), `voluntary_ctxt_switches`)."""
    found = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        words = dict(line.split(":\t", 1) for line in (thread / "status").read_text().splitlines() if ":\t" in line)
        found[thread.name] = int(words["voluntary_ctxt_switches"])
    return found


@pytest.mark.slow
async def test_sixty_empty_bays_wake_nobody(tmp_path: Path) -> None:
    # In a table of mounts of its own: whatever is mounted elsewhere on the machine makes bays look, and rightly so.
    alone = ("unshare", "--mount", "--propagation", "private") if os.geteuid() == 0 and shutil.which("unshare") else ()
    bays = [tmp_path / f"bay-{number}" for number in range(BAYS)]
    for bay in bays:
        bay.mkdir()
    drivers = [{"use": "body_worn.usb_volume", "name": bay.name, "mount": str(bay)} for bay in bays]
    uplink = {"use": "tus", "name": "dems", "url": "http://127.0.0.1:9/evidence"}
    roster = tmp_path / "roster.json"
    roster.write_text("{}")
    status = {"port": free_port(), "roster_file": str(roster)}
    async with DaemonProcess(
        tmp_path / "station", drivers=drivers, uplink=uplink, status=status, command=(*alone, *BARE)
    ) as daemon:
        await daemon.ready()
        assert daemon.pid is not None
        found = []
        for _ in range(5):  # the first looks are over at some time, however busy the machine is
            await asyncio.sleep(1 if not found else 0)
            before = wake_ups(daemon.pid)
            await asyncio.sleep(SECONDS)
            after = wake_ups(daemon.pid)
            found.append(sum(count - before.get(name, 0) for name, count in after.items()) / SECONDS)
            if found[-1] <= MOST:
                break
        assert found[-1] <= MOST, f"wake-ups per second, in turn: {found}"
