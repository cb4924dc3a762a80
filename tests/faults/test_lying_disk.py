"""fsync reports an error once, then success: no promise rests on what never reached the disk.

The kernel takes pages whose write failed for clean, so that the next fsync succeeds, and reads them from memory as if
they were on the disk. Here a station's disk fails for moments and is well again; the daemon ends and is started again
on a machine that goes on; and what it had promised is looked for on the disk alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.faults.examining import Promises, examined, quiet
from tests.faults.form import LONG, SEED, why
from tests.faults.machine import SIZES, Machine, disk, needed
from tests.faults.mounting import may_mount
from tests.faults.report import reached

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 20


@pytest.mark.skipif(not LONG, reason="only in `make faults`: it takes a minute")
@pytest.mark.parametrize("file_system", ["ext4", "xfs", "btrfs"])
def test_nothing_is_promised_on_what_the_disk_has_lost(tmp_path: Path, file_system: str) -> None:
    needed(f"mkfs.{file_system}")
    if not may_mount():
        pytest.skip("only root may mount the disk and look at it")
    quiet()
    (out := tmp_path / "out").mkdir()
    (top := tmp_path / "top").mkdir()
    image = disk(tmp_path / "disk.img", SIZES[file_system], file_system)
    job = ["tests.faults.guest.lying", file_system, f"{SEED}", f"{ROUNDS}"]
    with Machine(job, [image], out=out) as machine:
        machine.finish(900)
        (said,) = machine.told("RESULT")
    ever = {tuple(one) for one in json.loads((out / "ever.json").read_text())}
    wrong: list[str] = list(said["wrong"])
    for number in range(said["done"]):
        told = json.loads((out / f"{number}.json").read_text())
        arrived = {capture: [bytes.fromhex(one) for one in found] for capture, found in told["arrived"].items()}
        promises = Promises(ever=ever, arrived=arrived)
        for mark in told["promises"]:
            promises.hear(mark)
        found = examined(out / f"{number}.img", file_system, top, promises)
        wrong += [f"{file_system}, seed {SEED}, round {number}: {one}" for one in found]
    reached(
        4,
        f"a disk that fails for a moment under the station, on {file_system}",
        asked=ROUNDS,
        reached=said["done"],
        violations=len(wrong),
        seed=SEED,
        detail=f"{len(said['codes'])} times the daemon ended, {said['remounts']} times the file system gave up; "
        f"noticed in {said['noticed']} rounds, {said['promises']} promises {why(ROUNDS, said['done'])}",
    )
    assert not wrong, "\n".join(wrong[:30])
    assert 2 * said["noticed"] >= said["done"], "the daemon seldom noticed: this test did nothing"


@pytest.mark.slow
@pytest.mark.parametrize(("file_system", "how"), [("xfs", "kill"), ("ext4", "close")] if LONG else [("ext4", "kill")])
def test_what_is_committed_after_a_failed_commit_is_on_the_disk(tmp_path: Path, file_system: str, how: str) -> None:
    """Memory still shows the commit that failed: entries behind it would go with it when the power does."""
    needed(f"mkfs.{file_system}", "filefrag")
    image = disk(tmp_path / "disk.img", SIZES[file_system], file_system)
    with Machine(["tests.faults.guest.lost_commit", file_system, how], [image]) as machine:
        machine.finish(220)
        assert machine.told("FAILED"), "the disk took everything: this test did nothing"
        assert machine.told("ON-DISK") == machine.told("COMMITTED")[-1:]
