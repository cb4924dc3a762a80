"""What is offered as `Screened`: asked about before anything, passed by without a trace, or taken as it says."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import structlog

from agent.capture import Capture, Device, Priority, Standing
from agent.config import parse
from agent.daemon import Agent
from agent.driver import Screen, Screened
from agent.errors import DeviceRefused
from agent.ingest import Screening
from agent.journal import queries
from agent.testing.devices import BEGAN_AT
from agent.testing.process import toml
from agent.testing.rig import WantsAll
from agent.testing.station import Station

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.capture import Stamp
    from agent.driver import Offer

MARK = "EVDK042"


class Read:
    """A read that asks to be screened."""

    screened_by = "alpr"

    def __init__(self, key: str = "read-1", *, length: int | None = None) -> None:
        device = Device(id="alpr:front", family="alpr", driver="front")
        self.data = f"the plate {MARK}".encode()
        self.capture = Capture(device, key, BEGAN_AT, len(self.data) if length is None else length, volatile=True)
        self.opened = 0

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        self.opened += 1
        yield self.data[offset:]

    async def release(self) -> None: ...


class Wants:
    """A screen that wants one key, as a hit."""

    screens = "alpr"

    def __init__(self, key: str) -> None:
        self.key, self.asked = key, list[tuple[str, bool]]()

    def screen(self, offer: Offer, stamp: Stamp, /) -> Offer | None:
        self.asked.append((offer.capture.key, stamp.at.utcoffset() is not None))
        if offer.capture.key != self.key:
            return None
        offer.capture = dataclasses.replace(offer.capture, priority=Priority.HIT, claims={"list": "v1"})  # type: ignore[misc]
        return offer


class Fails(Wants):
    def screen(self, offer: Offer, stamp: Stamp, /) -> Offer | None:  # noqa: ARG002 - it fails at any
        raise ValueError(f"what is this: {MARK}")


def trace(folder: Path, *words: str) -> list[str]:
    """Files below a folder that hold one of these words."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(word.encode() in path.read_bytes() for word in words)]


def test_the_two_protocols_are_found_by_what_they_have() -> None:
    assert isinstance(Read(), Screened)
    assert isinstance(Wants("x"), Screen)
    assert isinstance(WantsAll("alpr"), Screen)


@pytest.mark.parametrize("screens", [[], [WantsAll("enotes")], [Wants("another")]], ids=["none", "other", "no"])
async def test_what_no_screen_wants_leaves_no_trace(tmp_path: Path, screens: list[object]) -> None:
    read = Read()
    async with Station(tmp_path, screens=screens) as station:
        size = await station.desk.read(lambda journal: journal.leaves.size)
        assert await station.take(read) is Standing.UNKNOWN
        assert read.opened == 0
        assert await station.holdings() == []
        assert await station.desk.read(lambda journal: journal.leaves.size) == size
        await station.verify()
    assert trace(tmp_path, MARK, "read-1") == []


async def test_a_hit_is_taken_as_its_screen_says(tmp_path: Path) -> None:
    screen = Wants("read-1")
    async with Station(tmp_path, screens=[WantsAll("enotes"), screen]) as station:
        assert await station.take(Read()) is Standing.HELD
        held = await station.only()
        assert held.priority is Priority.HIT
        story = await station.desk.read(lambda journal: list(queries.story(journal, held.id)))
        assert story[0]["predicate"]["capture"]["claims"] == {"list": "v1"}
        assert await station.take(Read()) is Standing.HELD, "offered again it is the same"
        await station.verify()
    assert screen.asked == [("read-1", True)] * 2


async def test_where_no_screen_is_configured_a_person_is_told_and_only_then(tmp_path: Path) -> None:
    screens = list[object]()
    screening = Screening(lambda: screens, Station(tmp_path).stamp)
    assert list(screening.notices()) == [], "nothing was offered yet"
    camera = SimpleNamespace(screened_by="alpr")
    screens.append(camera)
    assert [one["what"] for one in screening.notices()] == ["family alpr"], "a driver that says that it will"
    screens.append(Wants("another"))
    assert list(screening.notices()) == []
    screens.clear()
    screens.append(WantsAll("enotes"))
    assert screening.passed(Read()) is None
    (told,) = screening.notices()
    assert (told["id"], told["what"]) == ("screen.none", "family alpr")
    assert MARK not in repr(told)
    screens.append(Wants("another"))
    assert screening.passed(Read()) is None, "looked at, and passed by"
    assert list(screening.notices()) == []


async def test_several_screens_are_asked_until_one_wants_it(tmp_path: Path) -> None:
    screens = [Wants("other"), Wants("read-1"), Wants("read-1")]
    async with Station(tmp_path, screens=screens) as station:
        assert await station.take(Read()) is Standing.HELD
    assert [len(one.asked) for one in screens] == [1, 1, 0]


async def test_a_screen_that_fails_keeps_nothing_and_tells_nobody_what_it_was_asked(tmp_path: Path) -> None:
    screening = Screening(lambda: [Fails("x")], Station(tmp_path).stamp)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(DeviceRefused) as caught:
                screening.passed(Read())
    assert [entry["event"] for entry in logs] == ["screening_failed"], "said once"
    assert MARK not in repr(logs) + str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert MARK not in repr(error)
        error = error.__context__ or error.__cause__


async def test_the_daemon_asks_its_drivers_before_anything(tmp_path: Path) -> None:
    agent = Agent(parse(toml({"station": {"name": "d", "agency": "example.org", "state": str(tmp_path)}})))
    screen = Wants("read-2")
    agent.equipment = dataclasses.replace(agent.equipment, drivers=(_Loaded(screen),))  # type: ignore[arg-type]
    await agent.desk.open()
    try:
        with structlog.testing.capture_logs() as logs:
            assert await agent.take(Read()) is Standing.UNKNOWN
        assert logs == []
        assert await agent.take(Read("read-2")) is Standing.HELD
        assert await agent.take(Read("read-1")) is Standing.UNKNOWN
        assert [one["id"] for one in agent.screening.notices()] == []
        agent.equipment = dataclasses.replace(agent.equipment, drivers=())
        assert await agent.take(Read("read-1")) is Standing.UNKNOWN
        assert "screen.none" in [one["id"] for one in agent.troubles()]
    finally:
        await agent.desk.close()
        await asyncio.to_thread(agent.spool.close)
    assert trace(tmp_path, "read-1") == []
    assert trace(tmp_path, "read-2")


class _Loaded:
    def __init__(self, driver: object) -> None:
        self.driver = driver
