"""SIGKILL at random moments of ingest, forward and release; after each, and at the end, everything is verified.

EVIDOCK_FAULT_ROUNDS says how many rounds (12 in the short form), EVIDOCK_FAULT_SEED which ones.
"""

from __future__ import annotations

import asyncio
import os
import time
from random import Random
from typing import TYPE_CHECKING

import pytest

from agent.testing.dems import EmulatedDems
from tests.faults.rig import Rig

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.rig import Nursery

ROUNDS = int(os.environ.get("EVIDOCK_FAULT_ROUNDS", "12"))
SEED = int(os.environ.get("EVIDOCK_FAULT_SEED", "1"))
TOGETHER = 20
"""Rounds that share a camera, a DEMS and a state folder."""


def recording(chance: Random) -> bytes:
    """Mostly small, sometimes of several requests, rarely of several parts."""
    kind = chance.random()
    if kind < 0.7:
        return chance.randbytes(chance.randrange(60_000))
    if kind < 0.98:
        return chance.randbytes(chance.randrange(1_048_577, 3_000_000))
    return chance.randbytes(17_000_000)


@pytest.mark.parametrize("campaign", range(-(-ROUNDS // TOGETHER)))
async def test_killed_at_any_moment_nothing_is_lost_or_doubled_or_released_unproven(
    tmp_path: Path, nursery: Nursery, campaign: int, record_property: pytest.FixtureRequest
) -> None:
    chance = Random(SEED * 1_000_003 + campaign)
    rounds = min(TOGETHER, ROUNDS - campaign * TOGETHER)
    began = time.monotonic()
    async with EmulatedDems(tmp_path / "dems") as dems:
        rig = Rig(tmp_path, nursery, dems, read_back=False)
        for _ in range(rounds):
            for _ in range(chance.randrange(1, 5)):
                rig.camera.record(recording(chance))
            pid = await rig.start()
            await asyncio.sleep(chance.uniform(0.005, 0.4))
            assert await nursery.end(pid) == -9, rig.daemon.words.read_text()[-3000:]
            wrong = await rig.wrong()
            assert not wrong, "\n".join(wrong)
        await rig.drain()
        record_property("seconds", round(time.monotonic() - began, 1))
