"""Server-Sent Events: everything on connecting, then what is different, and what was missed where it is known."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest

from agent.station import news as news_module
from agent.station.status import EVENTS
from tests.screen.dock import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.screen.dock import Dock


class Event(NamedTuple):
    id: str | None
    kind: str
    data: Any


@pytest.fixture
async def dock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Dock]:
    monkeypatch.setattr(news_module, "PACE", 0.02)
    async with served(tmp_path, 3) as made:
        made.put(1, "charging")
        yield made


@asynccontextmanager
async def listening(dock: Dock, last: str | None = None) -> AsyncIterator[Callable[..., Any]]:
    """A reader of the standard's text format (WHATWG HTML, section 9.2.6), as far as it is used."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with aiohttp.ClientSession() as session, session.get(dock.url + EVENTS, headers=headers) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"

        async def following(kind: str | None = None) -> Event:
            async with asyncio.timeout(10):
                while True:
                    found: dict[str, str] = {}
                    while line := (await answer.content.readline()).decode().rstrip("\n"):
                        name, _, value = line.partition(": ")
                        found[name] = value
                    if "data" not in found or kind not in (None, found["event"]):
                        continue
                    told = Event(found.get("id"), found["event"], json.loads(found["data"]))
                    if told.kind != "change" or "bays" in told.data:  # else: the disk has other room now
                        return told

        yield following


async def test_everything_first_then_what_is_different(dock: Dock) -> None:
    async with listening(dock) as following:
        first = await following()
        assert first.kind == "state"
        assert [bay["state"] for bay in first.data["bays"]] == ["charging", "empty", "empty"]
        assert first.data["status"]["station"]["name"] == "dock-0042"
        dock.put(2, "safe")
        change = await following("change")
        assert [(bay["name"], bay["state"]) for bay in change.data["bays"]] == [("bay-02", "safe")]
        assert "others" not in change.data
        assert change.id != first.id


async def test_what_was_missed_is_told_and_not_twice(dock: Dock) -> None:
    async with listening(dock) as following, listening(dock) as other:
        first = await following()
        await other()
        dock.put(2, "copying")
        seen = await following("change")
        dock.put(2, "safe")
        await other("change")
        await other("change")
    async with listening(dock, seen.id) as following:
        missed = await following()
        assert (missed.kind, [bay["state"] for bay in missed.data["bays"]]) == ("change", ["safe"])
        assert (await following()).kind == "alive"
    async with listening(dock, first.id) as following:
        states = [(await following()).data["bays"][-1]["state"] for _ in range(2)]
        assert states == ["copying", "safe"]


@pytest.mark.parametrize("last", ["", "x", "00000000-1", "-", "00000000-999999999999999999999", "é" * 8])
async def test_an_id_that_nobody_knows_gives_everything(dock: Dock, last: str) -> None:
    async with listening(dock, last) as following:
        assert (await following()).kind == "state"


async def test_an_id_of_another_run_or_of_the_future_gives_everything(dock: Dock) -> None:
    async with listening(dock) as following:
        run, _, number = ((await following()).id or "").partition("-")
    for last in (f"{run}-{int(number) + 5}", f"{'0' * 8}-{number}"):
        async with listening(dock, last) as following:
            assert (await following()).kind == "state"


async def test_what_happened_while_nobody_listened_is_not_lost(dock: Dock) -> None:
    async with listening(dock) as following:
        first = await following()
    dock.put(3, "safe")
    async with listening(dock, first.id) as following:
        told = await following()
        assert (told.kind, [bay["name"] for bay in told.data["bays"]]) == ("change", ["bay-03"])


async def test_where_nothing_happens_there_is_a_heartbeat(dock: Dock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news_module, "HEARTBEAT", 0.05)
    async with listening(dock) as following:
        beats = [await following("alive") for _ in range(3)]
    assert beats[0].data["at"] < beats[2].data["at"]
    assert beats[0].id is None


async def test_where_the_agent_cannot_look_there_is_none(dock: Dock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news_module, "HEARTBEAT", 0.0)

    def broken() -> None:
        raise RuntimeError("a driver that fails when it is asked")

    async with listening(dock) as following:
        await following("alive")
        with monkeypatch.context() as patch:
            patch.setattr(dock.bays, "bays", broken)
            await asyncio.sleep(0.1)
            async with asyncio.timeout(10):
                await silent(following)


async def silent(following: Callable[..., Any]) -> None:
    """Return when no heartbeat comes for so long that there would have been many."""
    while True:
        try:
            async with asyncio.timeout(0.3):
                await following("alive")
        except TimeoutError:
            return


async def test_a_bay_that_comes_or_goes_is_told_with_everything(dock: Dock) -> None:
    async with listening(dock) as following:
        await following("state")
        dock.put(4, "safe")
        assert len((await following("state")).data["bays"]) == 4
