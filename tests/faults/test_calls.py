"""Each durable step failed once, in both forms: refused and not done, done and yet reported as failed.

After the failure the daemon may go on or may have ended; what its disk says must be right, and after a start without
harm everything arrives. In the short form a few of each call are failed, with EVIDOCK_FAULT_ROUNDS all of them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.testing.dems import EmulatedDems
from agent.testing.devices import some_bytes
from tests.faults.rig import Nursery, Rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LONG = int(os.environ.get("EVIDOCK_FAULT_ROUNDS", "12")) > 12
FEW = 2
"""Failed calls of a kind in the short form."""
WITHIN = 2.0
"""Seconds that a daemon gets after which its camera need not be empty: it may be waiting for its next try."""
STATE, CAMERA = "station/state", "camera"
CALLS = {
    (STATE, "fsync"): errno.EIO,
    (STATE, "fdatasync"): errno.EIO,
    (STATE, "pwrite"): errno.ENOSPC,
    (STATE, "renameat"): errno.EIO,
    (STATE, "unlinkat"): errno.EIO,
    (STATE, "unlink"): errno.EIO,
    (STATE, "ftruncate"): errno.EIO,
    (STATE, "fallocate"): errno.ENOSPC,
    (CAMERA, "fsync"): errno.EIO,
    (CAMERA, "unlinkat"): errno.EROFS,
}


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library that makes calls fail."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not here: the library that makes calls fail cannot be compiled")
    library = tmp_path_factory.mktemp("shim") / "evidock_faults.so"
    source = Path(__file__).with_name("evidock_faults.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
async def nursery(shim: Path) -> AsyncIterator[Nursery]:
    made = await Nursery.open(LD_PRELOAD=str(shim))
    yield made
    await made.close()


def ended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def lived(rig: Rig, nursery: Nursery, fault: str, counts: str = "") -> int:
    """One life: until the camera is empty, the daemon has ended, or its time is over; its exit code."""
    await rig.daemon.install()
    pid = await nursery.fork(rig.daemon.config, rig.daemon.words, fault, counts)
    waited = 0.0
    while list(rig.camera.still()) and not ended(pid) and waited < WITHIN:
        await asyncio.sleep(0.02)
        waited += 0.02
    await asyncio.sleep(0.05)
    return await nursery.end(pid, signal.SIGTERM)


def filled(folder: Path, nursery: Nursery, dems: EmulatedDems) -> Rig:
    rig = Rig(folder, nursery, dems, read_back=True)
    rig.camera.record(some_bytes(1000))
    rig.camera.record(b"")
    rig.camera.record(some_bytes(1_500_000))
    return rig


async def counted(folder: Path, nursery: Nursery, below: str) -> Counter[str]:
    """How often a life without harm makes each call."""
    counts = folder / "counts"
    async with EmulatedDems(folder / "dems") as dems:
        rig = filled(folder, nursery, dems)
        assert await lived(rig, nursery, f"none 0 0 refused {folder / below}", str(counts)) == 0
    made: Counter[str] = Counter()
    for name, number in map(str.split, counts.read_text().splitlines()):
        made[name] += int(number)
    return made


@pytest.mark.parametrize("below", [STATE, CAMERA])
async def test_no_other_call_is_made(tmp_path: Path, nursery: Nursery, below: str) -> None:
    """Else it is to be failed below as well."""
    made = {(below, call) for call, count in (await counted(tmp_path, nursery, below)).items() if count}
    assert made <= CALLS.keys()


@pytest.mark.parametrize("how", ["refused", "done"])
@pytest.mark.parametrize(("below", "call"), CALLS)
async def test_each_call_fails_once(tmp_path: Path, nursery: Nursery, call: str, below: str, how: str) -> None:
    (tmp_path / "count").mkdir()
    most = (await counted(tmp_path / "count", nursery, below))[call]
    if not most:
        pytest.skip(f"no {call} is made below {below}")
    chosen = range(1, most + 1) if LONG else sorted({1 + most * n // FEW for n in range(FEW)})
    for number in chosen:
        folder = tmp_path / f"{number}"
        folder.mkdir()
        async with EmulatedDems(folder / "dems") as dems:
            rig = filled(folder, nursery, dems)
            code = await lived(rig, nursery, f"{call} {number} {CALLS[below, call]} {how} {folder / below}")
            told = f"{call} {number} of {most}, {how}, ended with {code}\n{rig.daemon.words.read_text()[-4000:]}\n"
            assert code in (0, 2, 20, 21, 22, 30), told  # ended in order, or with the code of what failed
            wrong = await rig.wrong()
            assert not wrong, told + "\n".join(wrong)
            try:
                await rig.drain()
            except AssertionError as error:
                raise AssertionError(f"{told}then: {error}") from error
        shutil.rmtree(folder)
