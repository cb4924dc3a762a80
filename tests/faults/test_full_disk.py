"""A disk that is full at each allocation in turn, without inodes, or beyond a quota: it goes on by itself within 60 s.

The disk is a real one, of a machine of its own; somebody else fills it up to the last block. That ends nothing; without
inodes, or beyond a quota that shows when bytes are forced, the agent may end, and is started again, as systemd does.
Nothing that is not receipted may leave the spool meanwhile, and what arrived is as whole as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.errors import JournalError, JournalFull, SpoolDamaged, SpoolFull
from tests.faults.form import SEED, form, why
from tests.faults.machine import Machine, disk, needed
from tests.faults.report import reached

if TYPE_CHECKING:
    from pathlib import Path

MEGABYTE = 1 << 20
POINTS = {"blocks": form(3, 70), "inodes": form(4, 12), "quota": form(0, 25)}
FORMATS = {
    "blocks": (48 * MEGABYTE, "ext4", "-b", "4096", "-m", "0"),
    "inodes": (48 * MEGABYTE, "ext4", "-b", "4096", "-m", "0", "-N", "256"),
    "quota": (128 * MEGABYTE, "btrfs"),
}


SHARES = {"quota": form(0, 2), "inodes": form(0, 1), "blocks": form(1, 5)}
"""Machines that share the points."""


@pytest.mark.slow
@pytest.mark.parametrize(("what", "share"), [(what, share) for what, of in SHARES.items() for share in range(of)])
def test_a_full_disk_costs_nothing_and_work_goes_on_by_itself(tmp_path: Path, what: str, share: int) -> None:
    length, file_system, *options = FORMATS[what]
    needed(f"mkfs.{file_system}", *(("btrfs",) if what == "quota" else ()))
    (out := tmp_path / "out").mkdir()
    image = disk(tmp_path / "disk.img", length, file_system, *options)
    points, of = POINTS[what], SHARES[what]
    asked = len(range(share, points, of))
    job = ["tests.faults.guest.full", what, f"{SEED}", f"{points}", f"{share}", f"{of}"]
    with Machine(job, [image], out=out) as machine:
        machine.finish(1200)
        (said,) = machine.told("RESULT")
    reached(
        6,
        {"blocks": "disk full", "inodes": "no inodes left", "quota": "beyond a quota"}[what],
        asked=asked,
        reached=said["done"],
        violations=len(said["wrong"]),
        seed=SEED,
        detail=f"{said['met']} times something waited, {len(said['ended'])} times the daemon ended and was started; "
        f"with room again all was done after at most {said['slowest']} s {why(asked, said['done'])}",
    )
    assert not said["wrong"], "\n".join(said["wrong"][:20])
    assert said["met"] or not said["done"], "there was always room: this test did nothing"
    assert what != "blocks" or not said["ended"], f"a full disk ended it with {said['ended']}"
    known = {JournalError.exit_code, JournalFull.exit_code, SpoolFull.exit_code, SpoolDamaged.exit_code}
    assert set(said["ended"]) <= known, f"it ended with {said['ended']}, and says nothing useful"
