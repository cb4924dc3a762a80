"""In which order the real daemon asks the kernel, seen by strace: each promise comes after what it rests on.

A killed process shows no fsync that is missing, and a power cut takes a machine of its own. The order shows it at once:

    a capture's bytes are forced, then it is renamed to its digest, then both folders are forced, then the journal
    writes that it is held; what the journal writes is forced before a device is told to forget; the deletion is forced
    before the journal writes that it is released.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from agent import durable
from agent.testing.cameras import CameraFolder
from agent.testing.dems import EmulatedDems
from agent.testing.devices import some_bytes
from agent.testing.process import BARE, DaemonProcess, tus
from tests.faults.form import LONG
from tests.faults.report import reached
from tests.faults.rig import POLICY

TRACED = "trace=fsync,fdatasync,syncfs,rename,renameat,renameat2,unlink,unlinkat,pwrite64,pwritev"
NAMED = re.compile(r'/stage>, "(?P<stage>[^"]+)", \d+<[^>]*/kept>, "(?P<digest>[0-9a-f]{64})"')


def strace(out: Path) -> tuple[str, ...]:
    return ("strace", "-f", "-qqq", "-y", "-s", "9000", "-e", "signal=none", "-e", TRACED, "-o", str(out))


def calls(out: Path) -> list[tuple[str, str]]:
    """(call, its arguments and result) in the order in which they ended."""
    begun: dict[tuple[str, str], str] = {}
    found: list[tuple[str, str]] = []
    for line in out.read_text(errors="replace").splitlines():
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            name, _, arguments = rest.partition("(")
            begun[pid, name] = arguments.removesuffix("<unfinished ...>")
        elif rest.startswith("<... "):
            name = rest.split()[1]
            found.append((name, begun.pop((pid, name), "") + rest.partition("resumed>")[2]))
        else:
            name, _, arguments = rest.partition("(")
            found.append((name, arguments))
    return found


def after(told: list[tuple[str, str]], start: int, end: int, names: tuple[str, ...], what: str) -> bool:
    """Whether such a call about such a path ended between these two."""
    return any(name in names and what in rest for name, rest in told[start:end])


def held(told: list[tuple[str, str]]) -> tuple[int, list[str]]:
    """(how many captures got their name, what came too late for them)."""
    wrong, count = [], 0
    for place, (name, rest) in enumerate(told):
        moved = NAMED.search(rest) if name.startswith("rename") else None
        if moved is None:
            continue
        count += 1
        stage, digest = moved.groups()
        promised = next((at for at in range(place, len(told)) if writes_journal(told[at], digest)), len(told))
        if not forced(told[:place], stage):
            wrong.append(f"{stage} was named before its bytes were forced")
        wrong += [
            f"{digest[:8]} was promised before the folder {folder} was forced"
            for folder in ("kept", "stage")
            if not after(told, place, promised, ("fsync",), f"/spool/{folder}>")
        ]
    return count, wrong


def forced(told: list[tuple[str, str]], stage: str) -> bool:
    """Whether a stage file was forced: by itself, or with its file system after it was written."""
    if after(told, 0, len(told), ("fsync",), f"/stage/{stage}>"):
        return True
    written = max(
        (at for at, (name, rest) in enumerate(told) if name == "pwrite64" and f"/{stage}>" in rest), default=0
    )
    return after(told, written, len(told), ("syncfs",), "/spool/stage>")


def writes_journal(call: tuple[str, str], what: str) -> bool:
    return call[0].startswith("pwrite") and "journal.db-wal" in call[1] and what in call[1]


def forgotten(told: list[tuple[str, str]]) -> tuple[int, list[str]]:
    """(how many recordings were deleted on the camera, what came too late for them)."""
    wrong, count = [], 0
    for place, (name, rest) in enumerate(told):
        if not name.startswith("unlink") or "/camera/" not in rest:
            continue
        count += 1
        intended = max((at for at in range(place) if writes_journal(told[at], "release.intended")), default=None)
        if intended is None or not after(told, intended, place, ("fdatasync", "fsync"), "journal.db-wal"):
            wrong.append(f"{rest[:80]} was deleted before the intention was forced")
        done = next(
            (at for at in range(place, len(told)) if writes_journal(told[at], '\\"event\\":\\"released\\"')), len(told)
        )
        if not after(told, place, done, ("fsync",), "/camera/"):
            wrong.append(f"{rest[:80]}: the journal says released before the deletion was forced")
    return count, wrong


def children(pid: int | None) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(("length", "count"), [(1000, 1), (1_500_000, 1), (4_500_000, 1), (1000, 60)])
async def test_each_promise_comes_after_what_it_rests_on(tmp_path: Path, length: int, count: int) -> None:
    """One recording, for a page of the journal that is written again still has what an earlier entry said.

    Many, for their way into the spool: of that a promise is the first word.
    """
    if not LONG:
        pytest.skip("in the long form only: whoever is traced is slow")
    if shutil.which("strace") is None:
        pytest.skip("strace is not here")
    camera, out = CameraFolder(tmp_path / "camera"), tmp_path / "calls"
    async with EmulatedDems(tmp_path / "dems") as dems:
        daemon = DaemonProcess(
            tmp_path / "station",
            drivers=[camera.driver()],
            uplink=tus(dems.url, dems.receipt_vkey, part_length=256 * 1024),
            policy=POLICY,
            command=(*strace(out), *BARE),
        )
        for number in range(count):
            camera.record(some_bytes(length, number))
        await daemon.start()
        try:
            async with asyncio.timeout(90):
                while not camera.empty():  # noqa: ASYNC110 - a camera tells nobody
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
        finally:
            # strace lets go of whom it traces when it ends; it ends by itself when he does.
            for child in children(daemon.pid):
                os.kill(child, signal.SIGTERM)
            await daemon.wait()
    told = calls(out)
    (kept, late), (gone, later) = held(told), forgotten(told) if count == 1 else (count, [])
    reached(1, "promises by the order of calls", asked=2, reached=kept + gone, violations=len(late + later))
    assert (kept, gone) == (count, count)
    if count > 1 and durable.forces_all(os.open(tmp_path, os.O_RDONLY | os.O_CLOEXEC)):
        assert any(name == "syncfs" for name, _ in told)
    assert not late + later, "\n".join(late + later)
