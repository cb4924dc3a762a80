"""Each call that changes a disk failed once: refused and not done, done and yet reported as failed, or killed by it.

After the failure the daemon may go on or may have ended; what its disk says must be right, and after some lives of this
kind everything arrives. In the short form a few of each call are failed; in the long one every call up to the 150th
with every error, those up to the 500th with one error each, and every call of a life that begins with nothing.
"""

from __future__ import annotations

import asyncio
import errno
import signal
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from agent.testing.dems import EmulatedDems
from agent.testing.devices import some_bytes
from tests.faults.form import LONG, OVER, SEED, time_is_over
from tests.faults.report import reached
from tests.faults.rig import Nursery, Rig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WITHIN = 0.8
"""Seconds that a daemon gets after which its camera need not be empty: it may be waiting for its next try."""
EACH, MOST = 150, 500
TOGETHER = 20
"""Failures that share a camera, a DEMS and a state folder."""
STATE, CAMERA = "station/state", "camera"
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EROFS": errno.EROFS, "EINTR": errno.EINTR, "SIGKILL": -9}
HOWS = ("refused", "done")
CALLS = [
    *(
        (STATE, call)
        for call in (
            "fsync",
            "fdatasync",
            "syncfs",
            "pwrite",
            "renameat",
            "unlinkat",
            "unlink",
            "ftruncate",
            "fallocate",
        )
    ),
    *((CAMERA, call) for call in ("fsync", "unlinkat")),
]
SHARES = {"pwrite": 5, "fdatasync": 2} if LONG else {}
"""Of calls that are made often, into how many tests they are divided, so that processes share them."""
SHARED = [(below, call, share) for below, call in CALLS for share in range(SHARES.get(call, 1))]
OF_MANY = {"syncfs"}
"""Calls that are made only where several captures come together."""
OF_A_FIRST_LIFE = ("pwrite", "fdatasync", "fsync", "ftruncate", "unlink", "fallocate")
WAYS = [(error, how) for error in ERRORS for how in HOWS]
ENDS = (0, 2, 20, 21, 22, 30, 31, -9)
"""In order, with the code of what failed, or killed."""


def few(rig: Rig) -> None:
    """Every call is made for them."""
    rig.camera.record(some_bytes(1000, rig.count))
    rig.camera.record(some_bytes(4_300_000, rig.count))


def many(rig: Rig) -> None:
    for _ in range(30):
        rig.camera.record(some_bytes(300, rig.count))


def ended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def lived(rig: Rig, nursery: Nursery, fault: str, counts: Path | str = "", within: float = WITHIN) -> int:
    """One life: until the camera is empty, the daemon has ended, or its time is over; its exit code."""
    pid = await rig.start(fault, counts=counts)
    waited = 0.0
    while not rig.camera.empty() and not ended(pid) and waited < within:
        await asyncio.sleep(0.02)
        waited += 0.02
    if not ended(pid):
        await asyncio.sleep(0.05)
    return await nursery.end(pid, signal.SIGTERM)


@pytest.fixture(scope="module")
def made(failing_calls: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Counter[str]]:
    """How often each call is made, in a first life and in one with `few` or `many` captures after it."""

    async def count() -> dict[tuple[str, str], Counter[str]]:
        nursery = Nursery(LD_PRELOAD=str(failing_calls), EVIDOCK_FORKED="1")
        found: dict[tuple[str, str], Counter[str]] = {}
        for below in (STATE, CAMERA):
            folder = tmp_path_factory.mktemp("counted")
            async with EmulatedDems(folder / "dems") as dems:
                rig = Rig(folder, nursery, dems, read_back=True)
                for name, brings in (("first", few), ("few", few), ("many", many)):
                    brings(rig)
                    counts = folder / name
                    assert await lived(rig, nursery, f"none 0 0 refused {folder / below}", counts, within=60) == 0
                    found[below, name] = Counter()
                    for call, number in map(str.split, counts.read_text().splitlines()):
                        found[below, name][call] += int(number)
        nursery.close()
        return found

    return asyncio.run(count())


def test_no_other_call_is_made(made: dict[tuple[str, str], Counter[str]]) -> None:
    """Else it is to be failed below as well."""
    calls = {(below, call) for (below, _), counts in made.items() for call, count in counts.items() if count}
    never = sorted({call for counts in made.values() for call in counts} - {call for _, call in calls})
    reached(3, f"not made below state and camera: {', '.join(never)}", asked=0, reached=0, violations=0)
    assert calls == set(CALLS)


def chosen(most: int, seed: int) -> list[tuple[int, str, str]]:
    """Which number fails, with which error, and how."""
    if LONG:
        return [(number, *way) for number in range(1, min(most, EACH) + 1) for way in WAYS]
    chance = Random(seed)
    return [(chance.randint(1, most), *way) for way in chance.sample(WAYS, 2)]


async def failed(
    folder: Path, nursery: Nursery, below: str, call: str, cases: Iterable[tuple[int, str, str]], brings: object = few
) -> tuple[int, list[str]]:
    """(how many calls really failed, what was wrong then) in lives that follow each other."""
    told, wrong = [], list[str]()
    async with EmulatedDems(folder / "dems") as dems:
        rig = Rig(folder, nursery, dems, read_back=True)
        for number, error, how in cases:
            if time_is_over():
                break
            brings(rig)
            code = await lived(rig, nursery, f"{call} {number} {ERRORS[error]} {how} {folder / below}")
            told.append(f"{call} {number}, {error}, {how}, ended with {code}")
            wrong += [] if code in ENDS else [f"it ended with {code}"]
            wrong += await rig.wrong()
            if wrong:
                break
        fired = rig.fired()
        if not wrong and told:
            wrong = await rig.drained()
        return fired, [*told[-TOGETHER:], rig.daemon.words.read_text()[-3000:], *wrong] if wrong else []


def in_turns(cases: list[tuple[int, str, str]]) -> Iterator[list[tuple[int, str, str]]]:
    for begin in range(0, len(cases), TOGETHER):
        yield cases[begin : begin + TOGETHER]


@pytest.mark.parametrize(("below", "call", "share"), SHARED)
async def test_each_call_fails_once(
    tmp_path: Path, failing: Nursery, made: dict[tuple[str, str], Counter[str]], call: str, below: str, share: int
) -> None:
    brings = many if call in OF_MANY else few
    most = made[below, brings.__name__][call] or made[below, "first"][call]
    cases, done, wrong = chosen(most, SEED)[share :: SHARES.get(call, 1)], 0, list[str]()
    for turn, some in enumerate(in_turns(cases)):
        (tmp_path / f"{turn}").mkdir()
        fired, wrong = await failed(tmp_path / f"{turn}", failing, below, call, some, brings)
        done += fired
        if wrong or time_is_over():
            break
    tell(f"{call}, {below.rpartition('/')[2]}", len(cases), done, wrong)


@pytest.mark.skipif(not LONG, reason="in the long form only")
@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "fsync", "renameat"])
async def test_up_to_the_five_hundredth(
    tmp_path: Path, failing: Nursery, made: dict[tuple[str, str], Counter[str]], call: str
) -> None:
    least = made[STATE, "few"][call] if call != "pwrite" else min(EACH, made[STATE, "few"][call])
    numbers = range(least + 1, min(MOST, made[STATE, "many"][call]) + 1)
    cases, done, wrong = [(number, *WAYS[number % len(WAYS)]) for number in numbers], 0, list[str]()
    for turn, some in enumerate(in_turns(cases)):
        (tmp_path / f"{turn}").mkdir()
        fired, wrong = await failed(tmp_path / f"{turn}", failing, STATE, call, some, many)
        done += fired
        if wrong or time_is_over():
            break
    tell(f"{call} of a life with thirty captures", len(cases), done, wrong)


@pytest.mark.skipif(not LONG, reason="in the long form only")
@pytest.mark.parametrize(
    ("call", "share"),
    [(call, share) for call in OF_A_FIRST_LIFE for share in range(SHARES.get(call, 1))],
)
async def test_of_a_first_life(
    tmp_path: Path, failing: Nursery, made: dict[tuple[str, str], Counter[str]], call: str, share: int
) -> None:
    cases = [(number, *WAYS[number % len(WAYS)]) for number in range(1, min(MOST, made[STATE, "first"][call]) + 1)]
    cases = cases[share :: SHARES.get(call, 1)]
    done, wrong = 0, list[str]()
    for case in cases:
        folder = tmp_path / f"{case[0]}"
        folder.mkdir()
        fired, wrong = await failed(folder, failing, STATE, call, [case])
        done += fired
        if wrong or time_is_over():
            break
    tell(f"{call} of a first life", len(cases), done, wrong)


def tell(what: str, asked: int, done: int, wrong: list[str]) -> None:
    """Report, and fail where something was wrong."""
    seldom = "some lives ended, or had nothing left to do, before they came to that call"
    detail = "" if done >= asked else OVER if time_is_over() else seldom
    reached(3, what, asked=asked, reached=done, violations=1 if wrong else 0, seed=SEED, detail=detail)
    assert not wrong, "\n".join(wrong)
