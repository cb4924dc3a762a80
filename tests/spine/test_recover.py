"""What an earlier run left, one case after the other: nothing is deleted or lost, and the start always succeeds."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from agent.capture import Digest, Parts, Standing
from agent.errors import DeviceGone
from agent.ingest import SMALL
from agent.journal import Desk
from agent.journal.database import open_database
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.uplinks import BenchUplink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.journal import Journal
    from agent.testing.station import Station

BIG = 5 * SMALL


def lying(station: Station, folder: str) -> set[str]:
    return {path.name for path in (station.spool.root / folder).iterdir()}


async def reasons(station: Station) -> dict[str, str]:
    return dict(
        await station.desk.read(
            lambda journal: journal.connection.execute("SELECT hex(sha256), reason FROM part").fetchall()
        )
    )


async def test_a_stage_that_can_be_continued_stays(station: Station, bench: BenchDevice) -> None:
    bench.record("a", some_bytes(BIG), wire="rG")
    await station.dock(bench)
    before = lying(station, "stage")
    await station.restart()
    assert lying(station, "stage") == before != set()


@pytest.mark.parametrize("name", ["00112233445566778899aabbccddeeff-0", "anything", "00112233.doubtful"])
async def test_a_stage_that_nobody_can_continue_becomes_a_part_with_a_reason(station: Station, name: str) -> None:
    (station.spool.root / "stage" / name).write_bytes(b"half a capture")
    await station.restart()
    sha256 = hashlib.sha256(b"half a capture").hexdigest()
    assert lying(station, "stage") == set()
    assert lying(station, "parts") == {sha256}
    assert "before it was complete" in (await reasons(station))[sha256.upper()]


async def test_the_same_bytes_left_twice_are_one_part(station: Station) -> None:
    for name in ("one", "two"):
        (station.spool.root / "stage" / name).write_bytes(b"half a capture")
    await station.restart()
    (station.spool.root / "stage" / "three").write_bytes(b"half a capture")
    await station.restart()
    assert len(lying(station, "parts")) == len(await reasons(station)) == 1


async def test_an_empty_stage_is_nothing_to_stumble_over(station: Station) -> None:
    (station.spool.root / "stage" / "empty").touch()
    await station.restart()
    assert lying(station, "stage") == set()


async def test_a_kept_file_that_was_never_promised_goes_aside_and_is_taken_again(
    station: Station, bench: BenchDevice
) -> None:
    data = some_bytes(100)
    bench.record("a", data)
    await station.spool.press(bytes(16), [data])  # and the agent was killed before the journal heard of it
    await station.restart()
    assert lying(station, "kept") == set()
    assert "before it could promise" in (await reasons(station))[hashlib.sha256(data).hexdigest().upper()]
    assert await station.dock(bench) == {Standing.HELD: 1}


async def test_two_names_of_one_file_as_a_power_cut_may_leave_them_become_one_part(station: Station) -> None:
    """btrfs: the new name is there after a rename, and so is the old one; rename(2) between the two does nothing."""
    data = some_bytes(100)
    name = hashlib.sha256(data).hexdigest()
    stage = station.spool.root / "stage" / "00112233445566778899aabbccddeeff-0"
    stage.write_bytes(data)
    os.link(stage, station.spool.root / "kept" / name)
    await station.restart()
    assert [lying(station, folder) for folder in ("stage", "kept", "parts")] == [set(), set(), {name}]


async def test_a_kept_file_with_a_strange_name_is_reported_and_left(station: Station) -> None:
    strange = station.spool.root / "kept" / "note-to-self.txt"
    strange.write_text("hello")
    await station.restart()
    assert strange.exists()
    strange.unlink()


@pytest.mark.parametrize("how", ["unlink", "truncate"])
async def test_a_promised_file_that_is_missing_is_told_and_taken_again_from_its_device(
    station: Station, bench: BenchDevice, how: str
) -> None:
    data = some_bytes(100)
    bench.record("a", data)
    await station.dock(bench)
    path = station.spool.path(hashlib.sha256(data).digest())
    path.unlink() if how == "unlink" else os.truncate(path, 10)
    await station.restart()
    assert (await station.only()).standing is Standing.QUARANTINED
    assert await station.dock(bench) == {Standing.HELD: 1}
    assert (await station.only()).reason is None
    assert path.read_bytes() == data


async def test_a_receipted_file_that_is_missing_stays_receipted_and_comes_back(
    station: Station, bench: BenchDevice
) -> None:
    bench.record("a", some_bytes(100))
    station.connect(BenchUplink())
    await station.dock(bench)
    await station.send()
    station.spool.path((await station.only()).digest.sha256).unlink()
    await station.restart()
    assert (await station.only()).standing is Standing.RECEIPTED
    assert not (await station.only()).spooled
    assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    assert (await station.only()).spooled


@pytest.mark.parametrize("sent", [False, True])
async def test_a_file_that_was_missing_and_lies_there_again_is_never_deleted(
    station: Station, bench: BenchDevice, *, sent: bool
) -> None:
    """As after a start without the disk of the spool: that the DEMS has it lets the spool forget nothing."""
    bench.record("a", data := some_bytes(100))
    station.connect(BenchUplink())
    await station.dock(bench)
    if sent:
        await station.send()
    sha256 = hashlib.sha256(data).digest()
    path, away = station.spool.path(sha256), station.spool.root.parent / "away"
    path.rename(away)
    await station.restart()
    away.rename(path)
    await station.restart()
    assert (lying(station, "kept"), lying(station, "parts")) == ({sha256.hex()}, set())
    holding = await station.only()
    assert (holding.standing, holding.spooled) == (Standing.RECEIPTED if sent else Standing.HELD, True)
    assert (await station.events(holding.id))[-2:] == ["quarantined", "capture.found"]
    await station.send()
    assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    assert bench.given == (2 * len(data)), "it was superseded: its device's copy is read once more"
    await station.verify()


async def test_a_file_that_was_moved_to_the_parts_when_it_came_back_is_taken_back(
    station: Station, bench: BenchDevice
) -> None:
    """As earlier versions did; and what stood aside before it was lost stays there."""
    for name in ("a", "b", "c"):
        bench.record(name, some_bytes(100, name))
    await station.dock(bench)
    held = {one.origin.key: one for one in await station.holdings()}
    await station.desk.write(lambda journal: journal.quarantine(held["b"].id, "looks odd"))
    for one in held.values():
        station.spool.path(one.digest.sha256).rename(station.spool.root / "parts" / one.digest.sha256.hex())
    (station.spool.root / "parts" / held["c"].digest.sha256.hex()).write_bytes(b"others")
    await station.restart()  # they are lost now, and parts
    assert await station.count(Standing.QUARANTINED) == 3
    await station.restart()
    now = {one.origin.key: (one.standing, one.spooled) for one in await station.holdings()}
    assert now == {
        "a": (Standing.HELD, True),
        "b": (Standing.QUARANTINED, True),
        "c": (Standing.QUARANTINED, False),
    }
    await station.desk.write(lambda journal: journal.retry(held["b"].id, actor="anna", why="looked at it"))
    assert await station.count(Standing.HELD) == 2
    assert lying(station, "kept") == {held[name].digest.sha256.hex() for name in ("a", "b")}
    parts = station.spool.root / "parts"
    (parts / held["c"].digest.sha256.hex()).rename(parts / hashlib.sha256(b"others").hexdigest())


async def test_a_file_whose_purge_was_written_and_not_done_is_let_go(station: Station, bench: BenchDevice) -> None:
    bench.record("a", some_bytes(100))
    station.connect(BenchUplink())
    await station.dock(bench)
    await station.send()
    holding = await station.only()
    await station.desk.write(lambda journal: journal.purge(holding.id))
    assert lying(station, "kept") != set()
    await station.restart()
    assert lying(station, "kept") == set()
    assert not (await station.only()).spooled


@pytest.mark.parametrize("released", [True, False])
async def test_the_same_of_a_file_that_had_been_missing_before(
    station: Station,
    bench: BenchDevice,
    released: bool,  # noqa: FBT001
) -> None:
    bench.record("a", some_bytes(100))
    station.connect(BenchUplink())
    await station.dock(bench)
    await station.send()
    holding = await station.only()
    path = station.spool.path(holding.digest.sha256)
    away = path.rename(path.parents[1] / "away")
    await station.restart()
    away.rename(path)
    await station.restart()
    assert (await station.only()).spooled
    if released:
        await station.desk.write(lambda journal: journal.intend_release(holding.id, {"read_again": {}}))
        await station.desk.write(lambda journal: journal.release(holding.id))
    await station.desk.write(lambda journal: journal.purge(holding.id))
    before = await station.events(holding.id)
    await station.restart()
    assert lying(station, "kept") == set()
    assert not (await station.only()).spooled
    assert await station.events(holding.id) == before


async def test_a_part_whose_entry_was_not_written_gets_it_at_the_next_start(station: Station) -> None:
    """Killed between the move to parts/ and the journal: nothing may lie there without a reason."""
    (station.spool.root / "stage" / "left").write_bytes(b"half a capture")
    station.spool.aside.seal("left")
    assert await reasons(station) == {}
    await station.restart()
    assert len(await reasons(station)) == 1


async def test_recovering_twice_is_recovering_once(station: Station, bench: BenchDevice) -> None:
    bench.record("a", some_bytes(BIG), wire="rG")
    bench.record("b", some_bytes(100))
    await station.dock(bench)
    (station.spool.root / "stage" / "left").write_bytes(b"x")
    sizes = set()
    for _ in range(3):
        await station.restart()
        sizes.add(await station.desk.read(lambda journal: journal.leaves.size))
    assert len(sizes) == 1


async def test_a_purge_while_the_same_bytes_are_taken_does_not_promise_a_file_that_is_gone(
    station: Station, bench: BenchDevice
) -> None:
    """Two devices hold the same bytes; the first's are purged between the sealing and the promise of the second."""
    data = some_bytes(100)
    bench.record("a", data)
    station.devices.append(bench)
    digest = Digest(hashlib.sha256(data).digest(), b"", len(data))
    with pytest.raises(DeviceGone, match="taken again"):
        await station.ingest._hold(bench.offer("a").capture, digest, Parts())
    assert await station.holdings() == []


async def test_a_station_of_another_name_does_not_use_this_journal(station: Station) -> None:
    await station.stop()
    station.log = "edge.example.org/other/log1"
    with pytest.raises(Exception, match="this journal is the log"):
        await station.desk.__class__(station.desk._open).open()
    station.log = "edge.example.org/bench-1/log1"
    await station.start()


@pytest.mark.parametrize("standing", [Standing.REFUSED, Standing.QUARANTINED])
async def test_what_waits_for_a_person_waits_through_restarts(
    station: Station, bench: BenchDevice, standing: Standing
) -> None:
    bench.record("a", some_bytes(100))
    await station.dock(bench)
    name = (await station.only()).id
    act = "refuse" if standing is Standing.REFUSED else "quarantine"
    await station.desk.write(lambda journal: getattr(journal, act)(name, "because"))
    for _ in range(3):
        await station.restart()
        assert await station.dock(bench) == {standing: 1}
    assert (await station.only()).reason == "because"
    assert (await station.only()).spooled


async def test_a_start_asks_the_journal_as_often_for_five_hundred_kept_files_as_for_one(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def reads_of_a_start() -> int:
        async def read(desk: Desk, look: Callable[[Journal], object]) -> object:
            asked.append(1)
            return await real(desk, look)

        asked.clear()
        with monkeypatch.context() as patched:
            patched.setattr(Desk, "read", read)
            await station.restart()
        return len(asked)

    real = Desk.read
    bench.record("first", some_bytes(10))
    await station.dock(bench)
    with_one = await reads_of_a_start()
    for number in range(500):
        bench.record(f"c{number}", b"content %d" % number)
    await station.dock(bench)
    (station.spool.root / "kept" / hashlib.sha256(b"content 7").hexdigest()).unlink()
    assert len(lying(station, "kept")) == 500
    assert await reads_of_a_start() <= with_one + 1  # whose file is missing is asked for once more
    assert sum(not one.spooled for one in await station.holdings()) == 1


async def test_no_question_of_a_start_goes_through_all_captures_or_all_entries(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: dict[str, int] = {}

    def traced(path: Path) -> apsw.Connection:
        def note(told: dict[str, Any]) -> None:
            steps[told["sql"]] = told["stmt_status"]["SQLITE_STMTSTATUS_FULLSCAN_STEP"]

        connection = open_database(path)
        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, note)
        return connection

    for number in range(20):
        bench.record(f"c{number}", b"content %d" % number)
    await station.dock(bench)
    monkeypatch.setattr("agent.journal.book.open_database", traced)
    await station.restart()
    assert any("part.sha256" in sql for sql in steps)
    assert [sql for sql, count in steps.items() if count and re.search(r"\b(capture|entry)\b", sql)] == []


@pytest.mark.parametrize("few", [-1, 0, 3, 1000])
async def test_however_much_is_compared_at_a_time_everything_is_compared(
    station: Station, bench: BenchDevice, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.ingest.leavings._FEW", few)
    for number in range(40):
        bench.record(f"c{number}", b"content %d" % number)
    await station.dock(bench)
    gone, strays = sorted(lying(station, "kept"))[::5], [b"\x00", b"\xff", b"of nobody"]
    for name in gone:
        (station.spool.root / "kept" / name).unlink()
    for stray in strays:
        await station.spool.press(bytes(16), [stray])
    await station.restart()
    assert [one.digest.sha256.hex() in gone for one in await station.holdings() if not one.spooled] == [True] * 8
    assert set(await reasons(station)) == {hashlib.sha256(stray).hexdigest().upper() for stray in strays}


async def test_a_start_looks_at_the_spool_through_its_index(station: Station) -> None:
    plan = await station.desk.read(
        lambda journal: journal.connection.execute(
            "EXPLAIN QUERY PLAN SELECT sha256, length, row FROM capture WHERE spooled = 1 AND sha256 BETWEEN ? AND ?",
            (b"\x00", b"\x01"),
        ).fetchall()
    )
    assert "USING COVERING INDEX capture_spooled (sha256>? AND sha256<?)" in str(plan)


@pytest.mark.parametrize("folder", ["stage", "kept", "parts"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
async def test_what_is_no_plain_file_in_the_spool_stops_no_start(
    station: Station, bench: BenchDevice, folder: str, kind: str
) -> None:
    bench.record("a", some_bytes(100))
    await station.dock(bench)
    there = station.spool.root / folder / hashlib.sha256(b"odd").hexdigest()
    {"pipe": os.mkfifo, "folder": os.mkdir, "link": lambda path: path.symlink_to("/etc/passwd")}[kind](there)
    async with asyncio.timeout(60):
        await station.restart()
    assert await station.count(Standing.HELD) == 1
    assert there.is_symlink() or there.exists()
    there.rmdir() if kind == "folder" else there.unlink()
