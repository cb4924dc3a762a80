"""Sixty cameras docked in the same second, and a DEMS that takes far less than comes in.

Memory does not grow with what waits; every bay comes further again and again; and what the spool may not take stays on
its camera. In the long form the cameras bring more than the spool has room for, for minutes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from agent.testing.cameras import CameraFolder
from agent.testing.dems import EmulatedDems
from agent.testing.devices import some_bytes
from agent.testing.process import DaemonProcess, audit_state, tus
from tests.faults.form import LONG, OVER, form, time_is_over
from tests.faults.machine import disk
from tests.faults.mounting import may_mount, mounted
from tests.faults.report import reached
from tests.faults.rig import POLICY, Nursery

if TYPE_CHECKING:
    from pathlib import Path

CAMERAS = form(12, 60)
CLIP = form(200_000, 3_000_000)
EACH = form(1, 4)
"""Recordings of a camera."""
MEMORY = 512 << 20
LATEST = 30.0
"""Seconds within which each bay comes further, as long as it has something to give."""
MINUTES = 1.2
"""For which the uplink is slower than the intake, in the long form."""


def resident(pid: int) -> int:
    """The most memory that it ever had, in bytes."""
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - a file of the kernel
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


async def test_sixty_cameras_in_one_second(tmp_path: Path) -> None:
    nursery = Nursery(EVIDOCK_FORKED="1")
    cameras = [CameraFolder(tmp_path / f"bay-{number}", f"cam-{number:02}") for number in range(CAMERAS)]
    for number, camera in enumerate(cameras):
        for clip in range(EACH):
            camera.record(some_bytes(CLIP, number * 100 + clip))
    (place := tmp_path / "station").mkdir()
    async with AsyncExitStack() as stack:
        if LONG and may_mount():  # where others write as well, nobody can say how much room there is
            image = disk(tmp_path / "disk.img", CAMERAS * EACH * CLIP, "ext4")
            stack.enter_context(mounted(image, "ext4", place))
        room = shutil.disk_usage(place).free
        allowed = form(10**9, CAMERAS * EACH * CLIP * 2 // 3)
        dems = await stack.enter_async_context(EmulatedDems(tmp_path / "dems"))
        await dems.add_fault("*:*:delay=0.5")
        daemon = DaemonProcess(
            place,
            drivers=[camera.driver(name=f"bay-{number}") for number, camera in enumerate(cameras)],
            uplink=tus(dems.url, dems.receipt_vkey, part_length=256 * 1024),
            policy=POLICY,
            spool={"watermark": f"{max(0, room - allowed)} B"},
        )
        await daemon.install()
        pid = await nursery.fork(daemon.config, daemon.words)
        began, moved, waits, most = time.monotonic(), dict[str, float](), dict[str, float](), 0
        last, ends = dict.fromkeys((camera.name for camera in cameras), 0), form(60, int(MINUTES * 60))
        while time.monotonic() - began < ends and not time_is_over():
            await asyncio.sleep(0.2)
            now, words = time.monotonic(), daemon.words.read_text() if daemon.words.exists() else ""
            held = {camera.name: words.count(f"device={camera.name} key") for camera in cameras}
            for name, count in held.items():
                if count > last[name]:
                    waits[name] = max(waits.get(name, 0), now - moved.get(name, began))
                    moved[name], last[name] = now, count
            most = max(most, resident(pid))
            if all(count >= (1 if LONG else EACH) for count in held.values()) and not LONG:
                break
        spooled = sum(one.stat().st_size for one in (daemon.state / "spool").rglob("*") if one.is_file())
        code = await nursery.end(pid, signal.SIGTERM)
        if not moved and time_is_over():
            nursery.close()
            reached(11, "cameras at once", asked=CAMERAS, reached=0, violations=0, detail=OVER)
            return
        wrong = [] if code == 0 else [f"it ended with {code}"]
        wrong += await audit_state(daemon.state, cameras, dems)
        silent = [camera.name for camera in cameras if camera.name not in moved]
        slow = {name: round(wait, 1) for name, wait in waits.items() if wait > LATEST}
        wrong += [f"{len(silent)} bays never came further"] if silent else []
        wrong += [f"the daemon took {most >> 20} MiB"] if most > MEMORY else []
        wrong += (
            [f"the spool holds {spooled} bytes, and {allowed} were allowed"] if spooled > allowed + CLIP * 8 else []
        )
        nursery.close()
    detail = f"{most >> 20} MiB at most, the longest wait of a bay {max(waits.values(), default=0):.0f} s"
    reached(
        11,
        f"{CAMERAS} cameras at once: each bay came further",
        asked=CAMERAS,
        reached=len(moved),
        violations=len(wrong),
        detail=detail,
    )
    # How long a bay waited is a figure of this machine in this minute: told, and asserted where nothing else runs.
    reached(
        11,
        f"bays that never waited longer than {LATEST:.0f} s",
        asked=CAMERAS,
        reached=CAMERAS - len(slow),
        violations=0,
        detail="" if not slow else f"the longest waits: {sorted(slow.values())[-3:]}, load {os.getloadavg()[0]:.0f}",
    )
    assert not wrong, "\n".join(wrong)
