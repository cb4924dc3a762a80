"""SIGKILL at any moment of ingest, forward and release; after each, and at the end, everything is verified.

Half of the points are moments in time, half are calls: before or after the n-th of all writes, forcings, renames and
deletions of a life, so that the moments between two of them come as often as the long ones in which bytes are copied.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest

from agent.errors import Refusal
from agent.testing.dems import EmulatedDems
from tests.faults.form import OVER, SEED, form, time_is_over, why
from tests.faults.report import reached
from tests.faults.rig import Rig

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.rig import Nursery

POINTS = form(24, 10_000)
TOGETHER = form(12, 50)
"""Points that share a camera, a DEMS and a state folder."""
CALLS = 130
"""A life that ends in order makes about so many calls that change its disk."""
LIFE = 0.3
"""Seconds after which a life has little left to do: it takes 0.15 of the processor, which others want, too."""
PATIENCE = 1.0
"""Seconds in which it should have come to the call that is its last."""
AGAIN = 20
"""Starts of one life: a program that the one before had just begun may hold its lock for a moment longer."""


def recording(chance: Random) -> bytes:
    """Mostly small, sometimes of several requests, rarely of several parts."""
    kind = chance.random()
    if kind < 0.85:
        return chance.randbytes(chance.randrange(20_000))
    if kind < 0.995:
        return chance.randbytes(chance.randrange(1_048_577, 1_600_000))
    return chance.randbytes(17_000_000)


async def one_life(rig: Rig, nursery: Nursery, chance: Random) -> str:
    """Record, start, and kill; at a call, or at a moment."""
    for _ in range(chance.randrange(1, 3)):
        rig.camera.record(recording(chance))
    before, fault = rig.fired(), ""
    if chance.random() < 0.5:
        fault = f"any {chance.randrange(1, CALLS)} -9 {chance.choice(['refused', 'done'])} {rig.folder}"
    moment = PATIENCE if fault else chance.uniform(0.005, LIFE)
    for _ in range(AGAIN):
        pid = await rig.start(fault)
        await nursery.dies(pid, moment)
        if (code := await nursery.end(pid)) != Refusal.exit_code:
            break
    assert code == -9, rig.daemon.words.read_text()[-3000:]
    return "at a call" if rig.fired() > before else "at a moment"


@pytest.mark.slow
@pytest.mark.parametrize("campaign", range(-(-POINTS // TOGETHER)))
async def test_killed_at_any_moment_nothing_is_lost_or_doubled_or_released_unproven(
    tmp_path: Path, failing: Nursery, campaign: int
) -> None:
    seed, asked = SEED * 1_000_003 + campaign, min(TOGETHER, POINTS - campaign * TOGETHER)
    chance, points, wrong = Random(seed), Counter[str](), list[str]()
    if time_is_over():
        reached(1, "killed at a moment", asked=asked, reached=0, violations=0, seed=seed, detail=OVER)
        return
    async with EmulatedDems(tmp_path / "dems") as dems:
        rig = Rig(tmp_path, failing, dems, read_back=False)
        while points.total() < asked and not wrong and not time_is_over():
            points[await one_life(rig, failing, chance)] += 1
            wrong = await rig.wrong()
        if points and not wrong:
            wrong = await rig.drained()
    missing = asked - points.total()
    for how, more in (("at a call", 0), ("at a moment", missing)):
        detail = why(points[how] + more, points[how])
        reached(
            1,
            f"killed {how}",
            asked=points[how] + more,
            reached=points[how],
            violations=len(wrong[:1]),
            seed=seed,
            detail=detail,
        )
    assert not wrong, "\n".join(wrong)
