"""One bit of the journal's write-ahead log turned over: what was committed is there, or the journal does not open.

The log is what a daemon left that was killed. Of its last commit a changed bit says as little as a power cut does: to
lose that one, and nothing else, is allowed.
"""

from __future__ import annotations

import asyncio
import shutil
import struct
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest

from agent.errors import JournalError
from agent.journal import wal
from agent.testing.dems import EmulatedDems
from agent.testing.devices import some_bytes
from tests.faults.form import SEED, form, time_is_over, why
from tests.faults.report import reached
from tests.faults.rig import Nursery, Rig
from tests.faults.test_journal_bits import looked

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = form(40, 2_000)
HEAD, FRAME, PAGE = 32, 24, 4096


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both files of a daemon that was killed a moment after many commits."""
    folder = tmp_path_factory.mktemp("killed")

    async def live() -> Path:
        nursery = Nursery(EVIDOCK_FORKED="1")
        async with EmulatedDems(folder / "dems") as dems:
            rig = Rig(folder, nursery, dems)
            await dems.add_fault("*:*:503")
            pid = await rig.start()
            for number in range(12):
                rig.camera.record(some_bytes(300, number))
                async with asyncio.timeout(60):
                    while said(rig.daemon.words).count(" held ") <= number:  # noqa: ASYNC110 - it tells nobody
                        await asyncio.sleep(0.02)
            await nursery.end(pid)
        nursery.close()
        return rig.daemon.state

    return asyncio.run(live())


def said(words: Path) -> str:
    return words.read_text() if words.exists() else ""


def commits(log: bytes) -> list[int]:
    """Where the frames of one time that end a commit end, in bytes."""
    salts, found = log[16:24], list[int]()
    for at in range(HEAD, len(log) - FRAME - PAGE + 1, FRAME + PAGE):
        if log[at + 8 : at + 16] != salts:
            break
        if struct.unpack_from(">I", log, at + 4)[0]:
            found.append(at + FRAME + PAGE)
    return found


def put(state: Path, folder: Path, log: bytes) -> Path:
    """A journal of its own, with this log beside it."""
    for old in folder.glob("journal.db*"):
        old.unlink()
    shutil.copy(state / "journal.db", folder)
    (folder / "journal.db-wal").write_bytes(log)
    return folder / "journal.db"


@pytest.mark.slow
def test_a_bit_of_the_log_that_turned_over_loses_no_commit_but_the_last(killed: Path, tmp_path: Path) -> None:
    log, chance = (killed / "journal.db-wal").read_bytes(), Random(SEED)
    ends = commits(log)
    assert len(ends) > 10
    whole, before_last = (looked(put(killed, tmp_path, log[:end])) for end in (ends[-1], ends[-2]))
    assert whole[0] == before_last[0] == []
    told, wrong = {"does not open": 0, "loses the last commit": 0, "loses nothing": 0}, list[str]()
    while sum(told.values()) < FLIPS and not time_is_over():
        at, bit = chance.randrange(ends[-1]), chance.randrange(8)
        flipped = log[:at] + bytes([log[at] ^ 1 << bit]) + log[at + 1 :]
        try:
            found = looked(put(killed, tmp_path, flipped))
        except JournalError:
            told["does not open"] += 1
            assert (tmp_path / "journal.db-wal").read_bytes() == flipped, "what was refused is changed"
            continue
        if found == whole:  # the last commit may be one that says only how far something got
            told["loses nothing"] += 1
        elif found == before_last:
            told["loses the last commit"] += 1
            if at < ends[-3]:
                wrong.append(f"bit {bit} of byte {at}, long before the last commit")
        else:
            wrong.append(f"bit {bit} of byte {at}: {found[0] or 'more than the last commit is gone'}")
    done = sum(told.values()) + len(wrong)
    for how, count in told.items():
        reached(7, f"a bit of the journal's log that {how}", asked=count, reached=count, violations=0, seed=SEED)
    reached(
        7,
        "bits of the journal's log",
        asked=FLIPS,
        reached=done,
        violations=len(wrong),
        seed=SEED,
        detail=why(FLIPS, done),
    )
    assert not wrong, wrong[:10]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_log_that_was_cut_off_is_no_damage(killed: Path, tmp_path: Path, share: float) -> None:
    log = (killed / "journal.db-wal").read_bytes()
    ends = commits(log)
    for begin, end in pairwise(ends):
        path = put(killed, tmp_path, log[: begin + int((end - begin) * share)])
        assert wal.damage(path.with_name("journal.db-wal")) is None


def test_frames_of_an_earlier_time_behind_the_end_are_no_damage(killed: Path, tmp_path: Path) -> None:
    log = (killed / "journal.db-wal").read_bytes()
    ends = commits(log)
    stale = bytearray(log[ends[4] : ends[8]])
    for at in range(8, len(stale), FRAME + PAGE):
        stale[at : at + 8] = bytes(8)
    path = put(killed, tmp_path, log[: ends[4]] + stale)
    assert wal.damage(path.with_name("journal.db-wal")) is None


def test_a_log_that_was_never_begun_or_is_not_there_is_no_damage(tmp_path: Path) -> None:
    assert wal.damage(tmp_path / "journal.db-wal") is None
    (tmp_path / "journal.db-wal").write_bytes(b"")
    assert wal.damage(tmp_path / "journal.db-wal") is None
    (tmp_path / "journal.db-wal").write_bytes(bytes(3 * PAGE))
    assert wal.damage(tmp_path / "journal.db-wal") is None
