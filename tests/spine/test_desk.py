"""The journal's one thread: what arrives together shares a commit, and one that fails fails alone."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import apsw
import pytest

from agent.capture import Holding, Parts
from agent.clock import Clock
from agent.errors import JournalError, Refusal
from agent.journal import Desk, Event, Journal, queries
from agent.testing.audit import read_journal
from tests.spine.make import capture, digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

LOG = "edge.example.org/bench-1/log1"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(lambda: Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp))
    await desk.open()
    yield desk
    await desk.close()


def holding(key: str) -> Callable[[Journal], Holding]:
    return lambda journal: journal.hold(capture(key), digest(key), Parts())


def refusing(journal: Journal) -> None:
    journal.hold(capture("undone"), digest("undone"), Parts())
    raise Refusal("no")


async def commits(desk: Desk) -> int:
    """How often the database was forced to the disk so far, as SQLite counts it."""
    return await desk.read(lambda journal: journal.connection.execute("PRAGMA data_version").get)


async def test_many_at_once_share_commits(desk: Desk) -> None:
    count = []

    def look(journal: Journal) -> None:
        journal.connection.set_commit_hook(lambda: bool(count.append(1)))

    await desk.read(look)
    held = await asyncio.gather(*(desk.write(holding(f"{n}")) for n in range(500)))
    assert len({one.id for one in held}) == 500
    assert len(count) < 50
    assert [one.index for one in held] == list(range(1, 501))
    assert (await desk.read(read_journal)).problems == []


async def test_an_act_that_fails_undoes_itself_alone(desk: Desk) -> None:
    acts = [refusing if n % 7 == 3 else holding(f"{n}") for n in range(100)]
    done = await asyncio.gather(*(desk.write(act) for act in acts), return_exceptions=True)
    assert sum(isinstance(one, Refusal) for one in done) == 14
    assert len(await desk.read(lambda journal: queries.listing(journal, limit=1000))) == 86
    assert (await desk.read(read_journal)).problems == []


@pytest.mark.parametrize(
    "error", [ValueError("v"), KeyError("k"), OSError(5, "io"), TypeError("t"), ZeroDivisionError()]
)
@pytest.mark.parametrize("way", ["read", "write"])
async def test_an_error_that_nobody_foresaw_reaches_the_one_who_asked(desk: Desk, error: Exception, way: str) -> None:
    def fails(journal: Journal) -> None:
        if way == "write":
            journal.hold(capture("undone"), digest("undone"), Parts())
        raise error

    asked = [getattr(desk, way)(fails), desk.write(holding("b")), desk.read(lambda journal: journal.leaves.size)]
    async with asyncio.timeout(30):
        done = await asyncio.gather(*asked, return_exceptions=True)
    assert done[0] is error
    assert not isinstance(done[1], BaseException)
    assert isinstance(done[2], int)
    async with asyncio.timeout(30):
        assert (await desk.read(read_journal)).problems == []


async def test_a_disk_that_fails_a_look_up_ends_it_for_all_and_keeps_nobody_waiting(desk: Desk) -> None:
    def fails(_: Journal) -> None:
        raise apsw.IOError("disk I/O error")

    async with asyncio.timeout(30):
        with pytest.raises(JournalError):
            await desk.read(fails)
        with pytest.raises(JournalError):
            await desk.write(holding("a"))


async def test_whoever_finds_out_that_it_is_broken_it_is_told_at_once(desk: Desk) -> None:
    told: asyncio.Future[JournalError] = asyncio.get_running_loop().create_future()
    desk.on_broken = told.set_result

    def fails(_: Journal) -> None:
        raise apsw.IOError("disk I/O error")

    with pytest.raises(JournalError) as raised:
        await desk.write(fails)
    async with asyncio.timeout(30):
        assert await told is raised.value


async def test_once_it_cannot_be_written_every_later_call_says_so(desk: Desk) -> None:
    def fails(_: Journal) -> None:
        raise apsw.IOError("disk I/O error")

    await desk.write(holding("a"))
    done = await asyncio.gather(
        desk.write(holding("b")), desk.write(fails), desk.write(holding("c")), return_exceptions=True
    )
    assert all(isinstance(one, JournalError) for one in done)
    with pytest.raises(JournalError):
        await desk.write(holding("d"))
    with pytest.raises(JournalError):
        await desk.read(lambda journal: journal.leaves.size)


async def test_what_is_cancelled_is_done_all_the_same(desk: Desk) -> None:
    for n in range(20):
        waiting = asyncio.create_task(desk.write(holding(f"{n}")))
        await asyncio.sleep(0)
        waiting.cancel()
    assert await desk.read(lambda journal: journal.leaves.size) == 21


async def test_a_look_up_sees_what_was_written_before_it(desk: Desk) -> None:
    written = [asyncio.create_task(desk.write(holding(f"{n}"))) for n in range(10)]
    await asyncio.sleep(0)
    assert await desk.read(lambda journal: len(queries.listing(journal))) == 10
    await asyncio.gather(*written)


async def test_nothing_happens_on_the_event_loop(desk: Desk) -> None:
    assert await desk.read(lambda _: threading.get_ident()) != threading.get_ident()


async def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database at all" * 100)
    desk = Desk(lambda: Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp))
    with pytest.raises(JournalError):
        await desk.open()
    await desk.close()


async def test_a_closed_desk_says_so(tmp_path: Path) -> None:
    desk = Desk(lambda: Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp))
    with pytest.raises(JournalError, match="closed"):
        await desk.read(lambda _: None)
    await desk.open()
    queued = [asyncio.create_task(desk.write(holding(f"{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    await desk.close()
    assert len(await asyncio.gather(*queued)) == 50
    with pytest.raises(JournalError, match="closed"):
        await desk.write(holding("late"))


async def test_an_entry_that_is_too_large_hurts_nobody_else(desk: Desk) -> None:
    done = await asyncio.gather(
        desk.write(holding("a")),
        desk.write(lambda journal: journal.record(Event.OBSERVED, {"lots": "x" * 70_000})),
        desk.write(holding("b")),
        return_exceptions=True,
    )
    assert isinstance(done[1], ValueError)
    assert (await desk.read(read_journal)).problems == []
