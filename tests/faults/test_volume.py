"""Power cut after every write of a camera's FAT volume while it forgets: what is gone stays gone, and all else whole.

The station is the real daemon with its driver and the program that deletes; the cuts are read by the kernel's FAT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.form import OVER, SEED, form, time_is_over, why
from tests.faults.imaging import copy_sparse
from tests.faults.machine import SIZES, Machine, disk, needed
from tests.faults.report import reached

if TYPE_CHECKING:
    from pathlib import Path

FIGURE = "power cut after each recorded write of a camera's vfat while it forgets"
CLIPS, POINTS, RECORDS = form(6, 350), form(14, 125), form(1, 8)
"""A record of so many clips has few more writes: what is forgotten together is written together."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED, SEED + RECORDS))
def test_a_cut_while_a_camera_forgets_brings_nothing_back_and_hurts_nothing_else(tmp_path: Path, seed: int) -> None:
    needed("mkfs.fat")
    if time_is_over():
        reached(2, FIGURE, asked=POINTS, reached=0, violations=0, seed=seed, detail=OVER)
        return
    (out := tmp_path / "out").mkdir()
    base = disk(tmp_path / "base.img", SIZES["vfat"], "vfat")
    copy_sparse(base, work := tmp_path / "work.img")
    log = disk(tmp_path / "log.img", 1 << 30)
    job = ["tests.faults.guest.volume", f"{seed}", f"{CLIPS}", f"{POINTS}"]
    with Machine(job, [work, log, base], out=out) as machine:
        machine.finish(900)
        wrong = [f"seed {seed}, entry {entry}, {share}: {said}" for entry, share, said in machine.told("WRONG")]
        (looked,) = machine.told("LOOKED")
    reached(
        2,
        FIGURE,
        asked=POINTS,
        reached=looked["points"],
        violations=len(wrong),
        seed=seed,
        detail=why(POINTS, looked["points"])
        or f"{looked['clips']} clips; at {looked['half']} points the one that is being forgotten is half there",
    )
    assert not wrong, "\n".join(wrong[:20])
