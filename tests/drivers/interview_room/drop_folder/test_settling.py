"""When a recording is complete: writers that pause, append, reserve, rename, lie about time, or never end."""

from __future__ import annotations

import asyncio
import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from agent.testing.probe import Probe
from agent.testing.rig import held, running, until
from agent.testing.station import Station
from drivers.interview_room.drop_folder.emulator import FaultyWire
from drivers.interview_room.drop_folder.looking import Entry, Look
from drivers.interview_room.drop_folder.options import FolderOptions
from drivers.interview_room.drop_folder.settling import Known, Settling, Sorted
from drivers.interview_room.drop_folder.sidecars import Beside, Told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from drivers.interview_room.drop_folder import DropFolder
    from drivers.interview_room.drop_folder.emulator import RecorderEmulator

FILM = bytes(range(256)) * 1000


class Clocked:
    """The rules alone, with a clock that a test turns."""

    def __init__(self, **options: object) -> None:
        known: dict[str, Any] = {"use": "x", "name": "room-1", "folder": "/srv/room", "settle": 10.0, "patience": 1000}
        self._settling = Settling(FolderOptions.model_validate(known | options))
        self.now = 1000.0

    def look(
        self,
        *entries: Entry,
        after: float = 0.0,
        writing: set[str] | None = None,
        told: dict[str, list[Told]] | None = None,
        unread: dict[str, str] | None = None,
        unfinished: tuple[Entry, ...] = (),
    ) -> Sorted:
        self.now += after
        still = self._settling.still(entries, self.now)
        beside = Beside(one.key for one in entries)
        known = Known(still, writing or set(), beside, told or {}, unread or {})
        return self._settling.sort(Look(list(entries), list(unfinished)), self.now, known)


def keys(found: Sorted) -> list[str]:
    return [one.entry.key for one in found.ready]


def test_it_must_stand_still_as_we_saw_it_and_not_as_it_says() -> None:
    room, old = Clocked(), Entry("a.mp4", 5, 0)  # by its own word it is decades old
    assert keys(room.look(old)) == []
    assert keys(room.look(old, after=9.9)) == []
    assert keys(room.look(old, after=0.2)) == ["a.mp4"]


@pytest.mark.parametrize("changed", [Entry("a.mp4", 6, 100), Entry("a.mp4", 5, 99), Entry("a.mp4", 5, 10**18)])
def test_any_change_begins_anew_also_a_clock_that_runs_backwards(changed: Entry) -> None:
    room = Clocked()
    room.look(Entry("a.mp4", 5, 100))
    room.look(Entry("a.mp4", 5, 100), after=9)
    assert keys(room.look(changed, after=9)) == []
    assert keys(room.look(changed, after=9)) == []
    assert keys(room.look(changed, after=2)) == ["a.mp4"]


def test_the_moment_of_the_next_look_is_known() -> None:
    room = Clocked()
    assert room.look(Entry("a.mp4", 5, 1)).due == room.now + 10


def test_a_file_of_no_bytes_waits_four_times_as_long() -> None:
    room, empty = Clocked(), Entry("a.mp4", 0, 1)
    room.look(empty)
    assert keys(room.look(empty, after=39)) == []
    assert keys(room.look(empty, after=2)) == ["a.mp4"]


def test_what_is_open_for_writing_waits_however_still_it_stands() -> None:
    room, film = Clocked(), Entry("a.mp4", 5, 1)
    room.look(film)
    found = room.look(film, after=500, writing={"a.mp4"})
    assert [(one.key, one.late) for one in found.waiting] == [("a.mp4", False)]
    found = room.look(film, after=600, writing={"a.mp4"})
    assert [(one.entry.key, one.how) for one in found.ready] == [("a.mp4", "patience")], "a writer that never closes"


def test_what_changes_for_ever_is_told_of_and_never_taken() -> None:
    room = Clocked()
    for second in range(0, 2000, 5):
        found = room.look(Entry("a.mp4", second, second), after=5)
        assert not found.ready
    assert [(one.key, one.late) for one in found.waiting] == [("a.mp4", True)]


def test_an_unfinished_name_is_told_of_and_never_taken() -> None:
    room, part = Clocked(), Entry("a.mp4.part", 5, 1)
    for _ in range(3):
        found = room.look(unfinished=(part,), after=600)
    assert not found.ready
    assert [(one.key, one.late) for one in found.waiting] == [("a.mp4.part", True)]


def test_a_side_car_that_is_asked_for() -> None:
    room, film, car = Clocked(complete="side-car"), Entry("a.mp4", 5, 1), Entry("a.xml", 5, 1)
    room.look(film)
    found = room.look(film, after=20)
    assert [one.why for one in found.waiting] == ["its side-car is not here"]
    room.look(film, car)
    found = room.look(film, car, after=11)
    assert [(one.entry.key, one.how, one.beside) for one in found.ready] == [
        ("a.mp4", "side-car", None),
        ("a.xml", "settled", "a.mp4"),
    ]


def test_a_side_car_that_never_comes_keeps_nothing_from_being_held() -> None:
    room, film = Clocked(complete="side-car"), Entry("a.mp4", 5, 1)
    room.look(film)
    assert not room.look(film, after=999).ready
    assert [one.how for one in room.look(film, after=2).ready] == ["patience"]


def test_a_marker_in_the_same_folder() -> None:
    room, marker = Clocked(complete="marker"), Entry("one/complete", 1, 1)
    films = (Entry("one/a.mp4", 5, 1), Entry("two/a.mp4", 5, 1))
    room.look(*films)
    assert not room.look(*films, after=20).ready
    room.look(*films, marker)
    assert keys(room.look(*films, marker, after=11)) == ["one/a.mp4", "one/complete"]


def test_a_broken_side_car_waits() -> None:
    room, film = Clocked(), Entry("a.mp4", 5, 1)
    room.look(film)
    found = room.look(film, after=20, unread={"a.mp4": "a.mp4.sha256: it holds no digest"})
    assert [one.why for one in found.waiting] == ["its side-car cannot be read: a.mp4.sha256: it holds no digest"]


# -- with the real driver, on a real folder ----------------------------------------------------------------------------


async def test_a_writer_that_pauses_with_the_file_open(
    recorder: RecorderEmulator, made: Callable[..., DropFolder]
) -> None:
    """PRT-1: however long it pauses, the prefix is never offered; inotify tells that it is open."""
    probe = Probe()
    async with running(made(), probe):
        recorder.export("early.mp4", b"there before")
        await until(lambda: "early.mp4" in probe.keys)
        export = recorder.begin("film.mp4", FILM)
        export.write(1000)
        await asyncio.sleep(1.0)  # ten times as long as it takes to settle
        assert "film.mp4" not in probe.keys
        export.write()
        export.close()
        await until(lambda: "film.mp4" in probe.keys)
    (offer,) = [one for one in probe.offered if one.capture.key == "film.mp4"][:1]
    assert offer.capture.length == len(FILM)


async def test_a_writer_that_reserves_the_whole_length(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], tmp_path: Path
) -> None:
    async with Station(tmp_path / "station") as station, running(made(), station):
        recorder.export("early.mp4", b"there before")
        await held(station, 1)
        export = recorder.begin("film.mp4", FILM, reserve=True)
        export.write(1000)
        await asyncio.sleep(0.5)
        assert len(await station.holdings()) == 1
        export.write()
        export.close()
        await held(station, 2)
        (found,) = [one for one in await station.holdings() if one.origin.key == "film.mp4"]
        assert b"".join(station.spool.read(found.digest.sha256)) == FILM


async def test_a_temporary_name_and_then_the_real_one(
    recorder: RecorderEmulator, made: Callable[..., DropFolder]
) -> None:
    probe = Probe()
    async with running(made(), probe):
        part = recorder.export("film.mp4.filepart", FILM)
        recorder.export("other.mp4", FILM)
        await until(lambda: "other.mp4" in probe.keys)
        assert probe.keys == {"other.mp4"}
        part.rename(recorder.folder / "film.mp4")
        await until(lambda: "film.mp4" in probe.keys)
    assert probe.keys == {"other.mp4", "film.mp4"}


async def test_what_was_there_before_is_found_without_any_event(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PRT-3: the look is the truth, events are a hint."""
    monkeypatch.setattr("drivers.interview_room.drop_folder.watching.Watching.begin", lambda _: None)
    recorder.export("before.mp4", FILM)
    probe = Probe()
    async with running(made(), probe):
        await until(lambda: "before.mp4" in probe.keys)
        recorder.export("during.mp4", FILM)
        await until(lambda: "during.mp4" in probe.keys)


async def test_hours_of_copying_are_followed_by_no_hours_of_not_looking(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a share, which tells nothing of what comes."""
    monkeypatch.setattr("drivers.interview_room.drop_folder.watching.Watching.begin", lambda _: None)
    later = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + later)
    monkeypatch.setattr("drivers.interview_room.drop_folder.driver.time", clock)

    async def copied(_: object) -> None:
        nonlocal later
        later += 3600.0

    recorder.export("before.mp4", FILM)
    probe = Probe(copied)
    async with running(made(), probe):
        await until(lambda: "before.mp4" in probe.keys)
        recorder.export("during.mp4", FILM)
        await until(lambda: "during.mp4" in probe.keys)


async def test_many_events_make_one_capture(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], tmp_path: Path
) -> None:
    """PRT-2: opened and closed again and again, as a share does for one write."""
    async with Station(tmp_path / "station") as station, running(made(settle=0), station):
        path = recorder.export("film.mp4", FILM)
        for _ in range(50):
            path.open("ab").close()
            await asyncio.sleep(0.005)
        await held(station, 1)
        await asyncio.sleep(0.3)
        assert len(await station.holdings()) == 1
        await station.verify()


async def test_a_rewritten_file_is_another_capture(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], tmp_path: Path
) -> None:
    async with Station(tmp_path / "station") as station, running(made(), station):
        export = recorder.begin("film.mp4", FILM)
        export.write()
        export.close()
        await held(station, 1)
        export.rewrite(FILM[::-1])
        export.write()
        export.close()
        export.set_clock(1_000_000_000)  # and its clock ran backwards meanwhile
        await held(station, 2)
        kept = {b"".join(station.spool.read(one.digest.sha256)) for one in await station.holdings()}
        assert kept == {FILM, FILM[::-1]}
        await station.verify()


async def test_changed_in_the_middle_of_a_reading_nothing_mixed_is_held(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], tmp_path: Path
) -> None:
    film, other = os.urandom(3 << 20), os.urandom(3 << 20)
    recorder.export("film.mp4", film)

    def rewrite(count: int) -> None:
        if count == 1:
            (recorder.folder / "film.mp4").write_bytes(other)

    async with Station(tmp_path / "station") as station:
        async with running(made(wire=FaultyWire(after_read=rewrite)), station):
            await held(station, 1)
        whole = {b"".join(station.spool.read(one.digest.sha256)) for one in await station.holdings() if not one.reason}
        assert other in whole
        assert all(one in (film, other) for one in whole)
