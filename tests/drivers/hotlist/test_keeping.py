"""Reads that the law lets a service keep: sealed, searched with a reason, forgotten by keys, told by their number."""

from __future__ import annotations

import asyncio
import errno
import resource
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agent.capture import Standing
from agent.driver import unhurried
from agent.errors import Refusal
from drivers.alpr.hotlist import waiting
from drivers.alpr.hotlist.counting import COUNT, Counts
from drivers.alpr.hotlist.driver import PURGED
from drivers.alpr.hotlist.keeping import Sealed, Span
from tests.drivers.hotlist.rig import Bench, read_of, trace, until

if TYPE_CHECKING:
    from pathlib import Path

    from agent.capture import Device, Observation
    from agent.driver import Readable

HOUR = timedelta(hours=1)
AT = datetime(2026, 11, 22, 7, 41, tzinfo=UTC)


def purged(sealed: Sealed, now: datetime) -> list[Span]:
    gone = sealed.due(now)
    for span in gone:
        sealed.destroy(span)
    return gone


def test_a_span_is_forgotten_as_a_whole_and_counted(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path / "sealed", window=HOUR, keep=2 * HOUR)
    for minutes in (0, 1, 30, 70):
        sealed.add({"read": f"EVDK{minutes:03}"}, AT + timedelta(minutes=minutes))
    assert len(list(sealed.reads())) == 4
    raw = b"".join(path.read_bytes() for path in (tmp_path / "sealed").iterdir())
    assert b"EVDK" not in raw
    assert purged(sealed, AT + timedelta(hours=2)) == []
    kept = {path.name: path.read_bytes() for path in (tmp_path / "sealed").iterdir()}
    (gone,) = purged(sealed, AT + timedelta(hours=2, minutes=20))
    assert (gone.count, gone.begin.hour, gone.end.hour) == (2, 7, 8)
    assert len(list(sealed.reads())) == 2
    # Whoever has a copy of what is left, without the key that was destroyed, reads nothing.
    (tmp_path / "copy").mkdir()
    for name, content in kept.items():
        if name.endswith(".reads"):
            (tmp_path / "copy" / name).write_bytes(content)
    assert list(Sealed(tmp_path / "copy", window=HOUR, keep=HOUR).reads()) == []
    (gone,) = purged(sealed, AT + timedelta(hours=4))
    assert gone.count == 2
    assert list((tmp_path / "sealed").iterdir()) == []
    sealed.add({"read": "x"}, AT + timedelta(hours=4))
    assert len(list(sealed.reads())) == 1
    sealed.close()


def test_a_restart_uses_another_key_and_a_torn_record_costs_only_itself(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path, window=HOUR, keep=HOUR)
    sealed.add({"n": 1}, AT)
    sealed.add({"n": 2}, AT)
    sealed.close()
    (path,) = tmp_path.glob("*.reads")
    path.write_bytes(path.read_bytes()[:-3])
    again = Sealed(tmp_path, window=HOUR, keep=HOUR)
    again.add({"n": 3}, AT)
    again.close()
    assert len(list(tmp_path.glob("*.key"))) == 2
    assert sorted(one["n"] for one in again.reads()) == [1, 3]
    assert sum(one.count for one in purged(again, AT + 3 * HOUR)) == 2


def test_a_clock_that_was_ahead_keeps_no_read_for_years(tmp_path: Path) -> None:
    """Counted from when it was seen that the clock had been ahead; a clock that falls behind forgets nothing early."""
    sealed = Sealed(tmp_path, window=HOUR, keep=2 * HOUR)
    sealed.add({"n": 1}, AT)
    sealed.close()
    assert purged(sealed, datetime(1970, 1, 2, tzinfo=UTC)) == []
    sealed.add({"n": 2}, AT + timedelta(days=9000))
    sealed.close()
    assert purged(sealed, AT + HOUR) == []
    (gone,) = purged(sealed, AT + timedelta(hours=2, minutes=20))
    assert gone.begin.hour == 7
    assert purged(sealed, AT + timedelta(hours=3, minutes=50)) == []
    assert len(purged(sealed, AT + timedelta(hours=4, minutes=1))) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_was_changed_is_not_read(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path, window=HOUR, keep=HOUR)
    sealed.add({"n": 1}, AT)
    sealed.close()
    (path,) = tmp_path.glob("*.reads")
    raw = path.read_bytes()
    for at in range(len(raw)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        assert list(sealed.reads()) == []


def test_a_full_disk_costs_only_what_it_had_no_room_for(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path, window=HOUR, keep=HOUR)
    sealed.add({"n": 1}, AT)
    (path,) = tmp_path.glob("*.reads")
    _, most = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, most))
    try:
        for n in (2, 3):
            with pytest.raises(OSError, match="File too large"):
                sealed.add({"n": n}, AT)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, most))
        with pytest.raises(OSError, match="File too large"):
            sealed.add({"n": 4}, AT + HOUR)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(list(tmp_path.iterdir())) == 2, "what could not be begun leaves nothing behind"
    for n in (5, 6):
        sealed.add({"n": n}, AT)
    sealed.close()
    assert sorted(one["n"] for one in sealed.reads()) == [1, 5, 6]
    assert sum(one.count for one in purged(sealed, AT + 3 * HOUR)) == 3


async def test_a_full_disk_holds_up_no_hit_and_loses_no_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no room waits in memory, found by a search; hits are held meanwhile; then it is sealed."""
    monkeypatch.setattr(waiting, "_AGAIN", 0.0)
    bench = Bench(tmp_path, keep_non_hits="1 h")
    async with bench.open() as driver:
        with monkeypatch.context() as full:
            full.setattr(Sealed, "add", no_room)
            assert await bench.station.take(read_of("ZZZZ001", 1)) is Standing.UNKNOWN
            assert await bench.station.take(read_of("EVDK042", 2)) is Standing.HELD
            assert await bench.station.take(read_of("ZZZZ003", 3)) is Standing.UNKNOWN
            (notice,) = (one for one in driver.notices() if one.id == "hotlist.not_sealed")
            assert (
                "2 reads that are to be kept wait in memory, 0 % of what memory has for them: No space left"
                in notice.detail
            )
            assert len((await bench.order(driver, "search", plate="ZZZZ001", why="w"))["reads"]) == 1
            assert list(driver.sealed.reads()) == []
        await until(lambda: len(list(driver.sealed.reads())) == 2)
        assert [one for one in driver.notices() if one.id == "hotlist.not_sealed"] == []
        assert len((await bench.order(driver, "search", plate="ZZZZ001", why="w"))["reads"]) == 1
        await driver.tell_counts(all_=True)
    (told,) = (one.detail for one in bench.station.observed if one.kind == COUNT)
    assert [told[name] for name in ("reads", "sealed", "not_sealed", "hits")] == [3, 2, 0, 1]


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_waits_for_room_is_bounded_and_forgotten_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sealed, "add", no_room)
    sealed, counts = Sealed(tmp_path / "sealed", window=HOUR, keep=HOUR), Counts(tmp_path / "counts.json", "p")
    reads = waiting.Waiting(sealed, counts, keep=HOUR)
    for number in range(20):
        reads.add({"camera": "front", "read": {"number": number, "pad": "x" * (1 << 20)}}, AT)
    assert [one["read"]["number"] for one in reads.reads()] == list(range(5, 20))
    assert "5 were forgotten" in next(reads.notices()).detail
    reads.settle(AT + HOUR)
    assert list(reads.reads()) == []
    (notice,) = reads.notices()
    assert (notice.id, notice.state) == ("hotlist.not_kept", "warning"), "it is told after that, too"
    assert "20 reads of 2026" in notice.detail
    assert "No space left" in notice.detail
    reads.add({"camera": "front", "read": {}}, AT)
    reads.close()
    counts.close(AT, all_=True)
    ((_, told),) = counts.due(AT, {})
    assert (told.detail["sealed"], told.detail["not_sealed"]) == (0, 21)
    assert "21 reads" in next(reads.notices()).detail
    monkeypatch.setattr(waiting, "_TOLD", 0.0)
    assert list(reads.notices()) == [], "after a day without another one"


class Late:
    """An intake whose disk has no room for entries."""

    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.observed: list[Observation] = []

    async def sight(self, device: Device, /) -> None:
        raise NotImplementedError

    async def take(self, offer: Readable, /) -> Standing:
        raise NotImplementedError

    async def observe(self, observation: Observation, /) -> None:
        await self.room.wait()
        self.observed.append(observation)


async def test_what_is_to_be_forgotten_waits_for_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal has no room: what the law lets be kept for an hour goes after an hour, and is told when there is."""
    bench, late = Bench(tmp_path, keep_non_hits="1 h"), Late()
    async with bench.open() as driver:
        assert await bench.station.take(read_of("ZZZZ001", 1)) is Standing.UNKNOWN
        assert len(list(driver.sealed.reads())) == 1
        driver._forgetting = unhurried.Unhurried(late, moment=0.0)
        monkeypatch.setattr(Sealed, "_is_over", lambda *_: True)
        await until(lambda: list(driver.sealed.reads()) == [])
        assert late.observed == []
        late.room.set()
        await until(lambda: [one.kind for one in late.observed] == [PURGED])


async def test_a_read_that_is_longer_than_any_read_stops_no_other(tmp_path: Path) -> None:
    bench = Bench(tmp_path, keep_non_hits="1 h")
    async with bench.open() as driver:
        for number, plate in enumerate(("zzzz 001", "Z" * (5 << 20)), 1):
            long = read_of(plate, number, vendor_list="x" * (5 << 20))
            assert await bench.station.take(long) is Standing.UNKNOWN
        (found,) = (await bench.order(driver, "search", plate="ZZZZ001", why="w"))["reads"]
        assert found["plate"] == "ZZZZ001"
        assert [len(one["read"]["plate"]["number"]) for one in driver.sealed.reads()] == [7, 64]


async def test_by_the_law_of_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, keep_non_hits="1 h", keep_window="1 min", policy="law-1")
    async with bench.open() as driver:
        for number in range(5):
            assert await bench.station.take(read_of(f"ZZZZ{number:03}", number)) is Standing.UNKNOWN
        assert await bench.station.holdings() == [], "they are no captures, and are sent nowhere"
        with pytest.raises(Refusal, match="say why"):
            await bench.order(driver, "search", plate="ZZZZ001")
        told = await bench.order(driver, "search", plate="zzzz-OO1", why="warrant 26-1")
        assert [one["plate"] for one in told["reads"]] == ["ZZZZ001"]
        assert bench.entries[-1]["found"] == 1
        assert "ZZZZ" not in repr(bench.entries)
        later = datetime.now(UTC) + timedelta(hours=2)
        due = driver.sealed.due
        monkeypatch.setattr(driver.sealed, "due", lambda _: due(later))
        await until(lambda: any(one.kind == PURGED for one in bench.station.observed))
        (gone,) = [one for one in bench.station.observed if one.kind == PURGED]
        assert (gone.detail["count"], gone.detail["policy"]) == (5, "law-1")
        assert (await bench.order(driver, "search", plate="ZZZZ001", why="w"))["reads"] == []
    assert trace(tmp_path, "ZZZZ") == []


async def test_without_such_a_law_there_is_nothing_to_search(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open() as driver:
        with pytest.raises(Refusal, match="not kept here"):
            await bench.order(driver, "search", plate="EVDK042", why="w")
