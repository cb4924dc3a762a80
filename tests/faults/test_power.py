"""Power cut after every write of a station's disk: each promise that was given before is kept.

In a machine of its own a station takes, sends and lets forget, is killed and started again, on a disk that records
each write. Each state in which a cut could have left that disk is built, mounted, and examined as the next start
would; a few are started by the real daemon, which has to bring everything that is left to the DEMS.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from agent.testing.dems import EmulatedDems
from agent.testing.ports import free_port
from tests.faults.examining import quiet
from tests.faults.form import LONG, OVER, SEED, form, time_is_over, why
from tests.faults.imaging import copy_sparse
from tests.faults.machine import SIZES, Machine, disk, needed
from tests.faults.mounting import may_mount, mounted
from tests.faults.replaying import Cut, Recorded, Wrong, replay, states
from tests.faults.report import reached
from tests.faults.rig import Rig

if TYPE_CHECKING:
    from tests.faults.rig import Nursery

RECORDS = {"ext4": 10, "xfs": 7, "btrfs": 3} if LONG else {"ext4": 1}
"""Several short records are looked through faster than a long one, and differ more."""
IN_TURN = [(name, number) for number in range(max(RECORDS.values())) for name in RECORDS if number < RECORDS[name]]
"""Each file system has its share of the time."""
POINTS = {"ext4": form(20, 1_000), "xfs": 360, "btrfs": 834}
"""Of one record: xfs and btrfs write less often, and some records have few more than these."""
CAPTURES = form(6, 60)
STARTS = form(1, 5)
"""Points of each record at which the real daemon is started."""
WITHIN = 900.0
"""Seconds in which a daemon that was started again has brought everything: it is not its speed that is tried here."""
TOGETHER = 100
"""Points that are looked at before the time is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One record that is to be made."""

    folder: Path
    file_system: str
    seed: int
    port: int


def record(plan: Plan) -> Recorded:
    """Let a station live on a recorded disk."""
    (out := plan.folder / "out").mkdir(parents=True)
    base = disk(plan.folder / "base.img", SIZES[plan.file_system], plan.file_system)
    copy_sparse(base, work := plan.folder / "work.img")
    log = disk(plan.folder / "log.img", 4 << 30)
    job = ["tests.faults.guest.record", plan.file_system, str(plan.seed), str(CAPTURES), str(plan.port)]
    with Machine(job, [work, log], out=out) as machine:
        machine.finish(600)
    work.unlink()
    return Recorded(plan.folder, plan.file_system)


def look_inside(recorded: Recorded, cuts: list[Cut]) -> list[Wrong]:
    """Examine cuts where only a machine may mount images."""
    told = [f"{cut.entry}:{cut.share}" for cut in cuts]
    with Machine(["tests.faults.guest.replay", recorded.file_system, *told], [], out=recorded.folder) as machine:
        machine.finish(600)
        return [Wrong(Cut(entry, share), said) for entry, share, said in machine.told("WRONG")]


@pytest.mark.slow
@pytest.mark.parametrize(("file_system", "number"), IN_TURN)
async def test_a_power_cut_after_any_write_breaks_no_promise(
    tmp_path: Path, nursery: Nursery, file_system: str, number: int
) -> None:
    figure, asked = f"power cut after each recorded write, station on {file_system}", POINTS[file_system]
    needed(f"mkfs.{file_system}")
    quiet()
    if time_is_over():
        reached(2, figure, asked=asked, reached=0, violations=0, detail=OVER)
        return
    plan = Plan(tmp_path / "record", file_system, SEED * 1000 + number, free_port())
    recorded = record(plan)
    look = replay if may_mount() else look_inside
    cuts, wrong, looked = recorded.cuts(plan.seed, asked), list[str](), 0
    while looked < len(cuts) and not time_is_over():
        some = cuts[looked : looked + TOGETHER]
        wrong += [
            told(plan, one.cut, "; ".join(one.sentences[:5])) for one in await asyncio.to_thread(look, recorded, some)
        ]
        looked += len(some)
    starts = Random(plan.seed).sample(cuts, STARTS) if may_mount() and not wrong else []
    for cut in starts:
        # Not below `tmp_path`: a station's socket lies deep below, and its path may have 107 bytes (unix(7)).
        again = Path(tempfile.mkdtemp(prefix="evidock-"))
        wrong += [told(plan, cut, one) for one in await started_again(plan, recorded, cut, again, nursery)]
    reached(
        2,
        figure,
        asked=asked,
        reached=looked,
        violations=len(wrong),
        seed=plan.seed,
        detail=why(asked, looked) or "a tenth of them within the write; the daemon was started again at some of them",
    )
    assert not wrong, f"{len(wrong)} of {looked} points:\n" + "\n".join(wrong[:20])


def told(plan: Plan, cut: Cut, sentence: str) -> str:
    """With where to find it again."""
    return f"{plan.file_system}, seed {plan.seed}, {cut}: {sentence}"


async def started_again(plan: Plan, recorded: Recorded, cut: Cut, folder: Path, nursery: Nursery) -> list[str]:
    """Start the real daemon on this disk: whatever is left to be done is done, and nothing is doubled."""
    (top := folder / "top").mkdir(parents=True)
    shutil.copytree(recorded.folder / "out/dems", folder / "dems")
    try:
        _, image, promises = next(states(recorded, [cut], folder))
        with mounted(image, plan.file_system, top):
            async with EmulatedDems(folder / "dems", port=plan.port) as dems:
                rig = Rig(top, nursery, dems)
                book = await rig.book()
                for clip in sorted((recorded.folder / "out/camera").iterdir()):
                    rig.camera.record(clip.read_bytes())
                for capture in promises.forget:
                    (rig.camera.root / book.holdings[capture].origin.key).unlink()
                try:
                    await rig.drain(WITHIN)
                except AssertionError as error:
                    return [f"{error}"]
                return []
    finally:
        shutil.rmtree(folder)
