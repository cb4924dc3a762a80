"""One bit turned over where captures lie: on the device before its second reading, in the spool before it is sent.

Each is found, set aside and named; the device keeps what it has; and nothing but what was recorded reaches the DEMS.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from random import Random
from typing import TYPE_CHECKING

import pytest

from agent.capture import Standing
from agent.testing.dems import EmulatedDems
from agent.testing.devices import some_bytes
from tests.faults.form import LONG, SEED, form, time_is_over, why
from tests.faults.report import reached
from tests.faults.rig import POLICY, Nursery, Rig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLIPS = form(1, 30)


def flip(path: Path, chance: Random, within: int | None = None) -> None:
    """Turn one bit over, and leave every time as it was."""
    facts = path.stat()
    with path.open("r+b") as file:
        at = chance.randrange(within or facts.st_size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


async def lived(rig: Rig, nursery: Nursery, until: Callable[[str], bool]) -> None:
    """Run until its words say so."""
    pid = await rig.start()
    try:
        async with asyncio.timeout(60):
            while not rig.daemon.words.exists() or not until(rig.daemon.words.read_text()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await nursery.end(pid, signal.SIGTERM)


async def test_a_bit_of_the_device_that_reads_differently_the_second_time(tmp_path: Path, quick: Nursery) -> None:
    chance, wrong, done = Random(SEED), list[str](), 0
    for number in range(FLIPS):
        if time_is_over() or wrong:
            break
        folder = tmp_path / f"{number}"
        folder.mkdir()
        async with EmulatedDems(folder / "dems") as dems:
            kept = Rig(folder, quick, dems, policy={"device": "keep"})
            key = kept.camera.record(some_bytes(chance.randrange(1, 400_000), number))
            await lived(kept, quick, lambda words: " receipted " in words)
            flip(kept.camera.root / key, chance)
            flipped = (kept.camera.root / key).read_bytes()
            rig = Rig(folder, quick, dems, policy=POLICY)
            await lived(rig, quick, lambda words: "device_copy_differs" in words)
            (holding, *_) = (await rig.book()).holdings.values()
            reason = holding.reason or ""
            if holding.standing is not Standing.QUARANTINED or "read again and is SHA-256" not in reason:
                wrong.append(f"it stands {holding.standing}, {reason!r}")
            if not (rig.camera.root / key).exists() or (rig.camera.root / key).read_bytes() != flipped:
                wrong.append("the device forgot what read differently")
            done += 1
    reached(
        7,
        "bits of a device between its two readings",
        asked=FLIPS,
        reached=done,
        violations=len(wrong),
        seed=SEED,
        detail=why(FLIPS, done),
    )
    assert not wrong, "\n".join(wrong)


@pytest.mark.skipif(not LONG, reason="in the long form only: a mark is made every 64 MiB")
async def test_a_bit_of_what_was_copied_before_the_daemon_was_killed(tmp_path: Path, quick: Nursery) -> None:
    """What a mark vouches for is not gone on from, and nothing but what was recorded is ever held."""
    chance, wrong, done, flips = Random(SEED), list[str](), 0, 4
    for number in range(flips):
        if time_is_over() or wrong:
            break
        folder = tmp_path / f"{number}"
        folder.mkdir()
        async with EmulatedDems(folder / "dems") as dems:
            rig = Rig(folder, quick, dems, uplink={"part_length": 16 << 20})
            rig.camera.record(some_bytes(150 << 20, number))
            pid = await rig.start()
            stage = rig.daemon.state / "spool" / "stage"
            async with asyncio.timeout(60):
                while not any(b"mark" in about.read_bytes() for about in stage.glob("*.about")):  # noqa: ASYNC110
                    await asyncio.sleep(0.002)
            await quick.end(pid)
            if not (left := [path for path in stage.iterdir() if not path.name.endswith(".about")]):
                continue  # it was quicker than we
            flip(left[0], chance, within=64 << 20)
            wrong += await rig.drained()
            done += 1
        shutil.rmtree(folder)
    reached(
        7,
        "bits of a half-made copy, after a kill",
        asked=flips,
        reached=done,
        violations=len(wrong),
        seed=SEED,
        detail=why(flips, done),
    )
    assert not wrong, "\n".join(wrong)


async def test_a_bit_of_the_spool_before_it_is_sent(tmp_path: Path, quick: Nursery) -> None:
    chance, wrong, done = Random(SEED), list[str](), 0
    for number in range(FLIPS):
        if time_is_over() or wrong:
            break
        folder = tmp_path / f"{number}"
        folder.mkdir()
        async with EmulatedDems(folder / "dems") as dems:
            rig = Rig(folder, quick, dems)
            rig.camera.record(some_bytes(chance.randrange(1, 900_000), number))
            await dems.add_fault("*:*:503")
            await lived(rig, quick, lambda words: " held " in words)
            (path,) = (rig.daemon.state / "spool" / "kept").iterdir()
            flip(path, chance)
            await dems.clear_faults()
            wrong += await rig.drained()
            if path.name not in rig.daemon.words.read_text() and "damage" not in rig.daemon.words.read_text():
                wrong.append(f"nobody was told of {path.name}")
            done += 1
    reached(
        7,
        "bits of the spool before it is sent",
        asked=FLIPS,
        reached=done,
        violations=len(wrong),
        seed=SEED,
        detail=why(FLIPS, done),
    )
    assert not wrong, "\n".join(wrong)
