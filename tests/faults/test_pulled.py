"""A camera pulled out at any moment, put back, or another put in its place that looks the same: nothing is mixed.

Two FAT volumes have the same label, and their n-th clips the same name, length and time; only the serial numbers and
the bytes differ. The real daemon works on them, to the deletion, while they are pulled and exchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.form import OVER, SEED, form, time_is_over, why
from tests.faults.machine import Machine, disk, needed
from tests.faults.report import reached

if TYPE_CHECKING:
    from pathlib import Path

PULLS = form(4, 50)
"""Of a campaign, in a machine of its own."""
CAMPAIGNS = form(1, 4)
FIGURE = "a camera pulled out at any moment, put back, or exchanged for its twin"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED, SEED + CAMPAIGNS))
def test_a_camera_pulled_and_exchanged_never_gives_a_mixed_or_partial_capture(tmp_path: Path, seed: int) -> None:
    needed("mkfs.fat")
    if time_is_over():
        reached(5, FIGURE, asked=PULLS, reached=0, violations=0, seed=seed, detail=OVER)
        return
    (out := tmp_path / "out").mkdir()
    cards = [
        disk(tmp_path / f"{name}.img", 64 << 20, "vfat", "-F", "16", "-n", "BWC", "-i", number)
        for name, number in (("one", "1a2b3c4d"), ("two", "1a2b3c4e"))
    ]
    with Machine(["tests.faults.guest.pulled", f"{seed}", f"{PULLS}"], cards, out=out) as machine:
        machine.finish(1200)
        (said,) = machine.told("RESULT")
    reached(
        5,
        FIGURE,
        asked=PULLS,
        reached=said["done"],
        violations=len(said["wrong"]),
        seed=seed,
        detail=why(PULLS, said["done"])
        or f"{said['captures']} captures of two cameras; {said['cut']} takes were cut and told of",
    )
    assert not said["wrong"], "\n".join(said["wrong"][:20])
