"""What a film says becomes claims in its entry, read by a process that can do nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Capture, Device
from agent.journal import queries
from agent.reading.lane import Lane
from agent.reading.reader import Reader
from agent.reading.worker import told
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.station import Station
from tests.formats.make import camm_film

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.reading.lane import Asked

CAPTURE = Capture(Device("bench:1", "body_worn", "bench"), "film.mp4", None, media_type="video/mp4", claims={"a": "b"})


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    made = Reader()
    yield made
    await made.aclose()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(camm_film())
    return path


async def test_what_a_film_says_stands_in_its_entry(tmp_path: Path, reader: Reader) -> None:
    bench = BenchDevice()
    bench.record("film.mp4", camm_film())
    bench.record("cut.mp4", camm_film()[:-40])
    bench.record("noise.mp4", some_bytes(2_000_000))
    async with Station(tmp_path / "station") as station:
        station.ingest._words = reader.words
        await station.dock(bench)
        entries = {}
        for holding in await station.holdings():
            story = await station.desk.read(lambda journal, one=holding: list(queries.story(journal, one.id)))  # type: ignore[misc]
            entries[holding.origin.key] = story[0]["predicate"]["capture"]["claims"]["media"]
        await station.verify()
    assert entries["film.mp4"]["source"] == "says the device"
    assert entries["film.mp4"]["structure"]["verdict"] == "complete"
    assert entries["film.mp4"]["telemetry"][0]["first"]["latitude"] == "42.5000000"
    assert entries["cut.mp4"]["structure"]["verdict"] == "moov_truncated"
    assert "no ISO base media file" in entries["noise.mp4"]["unread"]


async def media(reader: Reader, path: Path, **more: Any) -> Any:  # noqa: ANN401
    claims = (await reader.words(replace(CAPTURE, **more), path)).claims
    assert claims["a"] == "b"
    return claims.get("media")


async def test_the_process_can_neither_write_nor_call_anybody(reader: Reader, film: Path) -> None:
    await media(reader, film)
    assert reader._lane._process is not None
    status = Path(f"/proc/{reader._lane._process.pid}/status").read_text()  # noqa: ASYNC240 - of the kernel's memory
    assert re.search(r"^Seccomp:\s2$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s1$", status, re.MULTILINE)
    limits = Path(f"/proc/{reader._lane._process.pid}/limits").read_text()  # noqa: ASYNC240
    assert re.search(r"^Max address space\s+536870912 ", limits, re.MULTILINE)
    assert re.search(r"^Max file size\s+0 ", limits, re.MULTILINE)


def test_it_loads_nothing_of_the_daemon() -> None:
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", "import agent.reading.worker, sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert not {"asyncio", "structlog", "ssl", "agent.capture"} & set(loaded)


async def test_what_hangs_is_ended_and_costs_only_the_words(tmp_path: Path, film: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = Reader(within=0.3)
    try:
        assert "takes longer" in (await media(reader, tmp_path / "pipe"))["unread"]
        reader._slow_lane._within = 60
        assert (await media(reader, film))["structure"]["verdict"] == "complete"
    finally:
        await reader.aclose()


async def test_it_starts_while_a_film_arrives_and_once(reader: Reader, film: Path) -> None:
    for media_type in ("application/pdf", "video/mp4", "video/mp4"):
        reader.expect(replace(CAPTURE, media_type=media_type))
        assert (reader._warming is None) is (media_type == "application/pdf")
    told = media(reader, film)  # asked before it runs: the same process
    assert (await told)["structure"]["verdict"] == "complete"
    assert reader._lane._process is not None
    pid = reader._lane._process.pid
    reader.expect(CAPTURE)
    assert (await media(reader, film))["structure"]["verdict"] == "complete"
    assert reader._lane._process.pid == pid


async def test_a_process_that_was_killed_is_started_again(reader: Reader, film: Path) -> None:
    await media(reader, film)
    assert reader._lane._process is not None
    reader._lane._process.kill()
    await reader._lane._process.wait()
    assert (await media(reader, film))["structure"]["verdict"] == "complete"


async def test_who_is_cancelled_leaves_no_answer_for_the_next(tmp_path: Path, reader: Reader, film: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    asking = asyncio.create_task(media(reader, tmp_path / "pipe"))
    await asyncio.sleep(0.2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    os.close(await asyncio.to_thread(os.open, tmp_path / "pipe", os.O_WRONLY))  # and it goes on, with nothing to read
    assert (await media(reader, film))["structure"]["verdict"] == "complete"


async def test_those_that_wait_are_asked_about_together_and_each_gets_its_own_answer(
    tmp_path: Path, reader: Reader, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    whole = reader._lane._ask

    async def counted(some: list[Asked]) -> None:
        lengths.append(len(some))
        await whole(some)

    monkeypatch.setattr(reader._lane, "_ask", counted)
    noise = [tmp_path / f"noise-{number}" for number in range(150)]
    for path in noise:
        path.write_bytes(some_bytes(500))
    found = await asyncio.gather(*(media(reader, path) for path in [*noise, film, *noise]))
    assert [index for index, told in enumerate(found) if "structure" in told] == [len(noise)]
    assert sum(lengths) == len(found)
    assert max(lengths) == 64
    assert len(lengths) < 10


async def test_one_that_leads_the_process_astray_costs_the_others_nothing(tmp_path: Path, film: Path) -> None:
    """Also while many are asked about together: exactly that one has no words."""
    os.mkfifo(bad := tmp_path / "bad.mp4")
    reader = Reader(within=0.5)
    try:
        found = await asyncio.gather(*(media(reader, one) for one in [film, film, bad, film, film]))
    finally:
        await reader.aclose()
    assert found[2] == {"unread": "reading it takes longer than 0.5 s"}
    assert {told["structure"]["verdict"] for told in found[:2] + found[3:]} == {"complete"}


async def test_a_card_full_of_films_that_take_long_holds_up_no_other(tmp_path: Path, film: Path) -> None:
    reader, bad, ends = Reader(within=0.5), list[asyncio.Task[Any]](), list[int]()
    try:
        for number in range(100):
            os.mkfifo(path := tmp_path / f"bad-{number}.mp4")
            bad.append(asyncio.create_task(media(reader, path, device=Device("bench:2", "body_worn", "bench"))))
        await asyncio.sleep(0)
        for _ in range(5):
            assert (await media(reader, film))["structure"]["verdict"] == "complete"
            if not ends:
                await asyncio.wait({bad[0]})
            ends.append(sum(one.done() for one in bad))
    finally:
        await reader.aclose()
    assert ends[0] >= 1, "the first was asked about, and took long"
    assert ends[-1] < 20, "good films waited for the bad ones of another device"
    assert "the station ended" in (await bad[-1])["unread"]


async def test_a_device_whose_films_are_read_slowly_is_read_beside_the_others(
    reader: Reader, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.reading.lane._SLOW", 0.0)
    found = await asyncio.gather(*(media(reader, film) for _ in range(8)))
    assert {one["structure"]["verdict"] for one in found} == {"complete"}
    assert reader._lane._process is None
    assert reader._slow_lane._process is not None


async def test_a_device_whose_films_are_quick_again_is_read_with_the_others(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And after more of them when that turns out to have been too soon."""
    os.mkfifo(bad := tmp_path / "bad.mp4")
    reader = Reader(within=1.0)
    asked = list[str]()
    for name, lane in (("all", reader._lane), ("slow", reader._slow_lane)):
        monkeypatch.setattr(lane, "ask", lambda one, name=name, true=lane.ask: (asked.append(name), true(one)))
    try:
        for wanted in (8, 16):
            await media(reader, bad)
            await media(reader, film)
            await media(reader, bad)  # counted anew
            asked.clear()
            for _ in range(wanted + 1):
                await media(reader, film)
            assert asked == ["slow"] * wanted + ["all"]
            await asyncio.gather(*(media(reader, film) for _ in range(3)))
            assert asked[-3:] == ["all"] * 3
    finally:
        await reader.aclose()


@pytest.mark.parametrize("kills", [1, 5])
async def test_a_process_that_somebody_ends_costs_no_film_its_words(
    reader: Reader, film: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    whole, left = Lane._answer, [True] * kills

    async def killed(lane: Lane, process: asyncio.subprocess.Process, question: bytes) -> dict[str, Any] | str:
        if left:
            left.pop()
            process.kill()
            await process.wait()
        return await whole(lane, process, question)

    monkeypatch.setattr(Lane, "_answer", killed)
    words = await media(reader, film)
    assert words.get("unread") == (None if kills == 1 else "the reader was ended by it")


async def test_each_answer_is_bounded_by_itself(reader: Reader, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = len(json.dumps(told(str(film))))
    monkeypatch.setattr("agent.reading.lane._LINE_MAX", alone + 100)
    found = await asyncio.gather(*(media(reader, film) for _ in range(8)))
    assert {one["structure"]["verdict"] for one in found} == {"complete"}
    monkeypatch.setattr("agent.reading.lane._LINE_MAX", 64)
    await reader.aclose()
    assert "no answer that can be taken" in (await media(reader, film))["unread"]


async def test_whoever_waits_while_the_station_ends_is_told_so(tmp_path: Path) -> None:
    """Not cancelled: a cancellation that nobody ordered would end whatever task group the taking is in."""
    os.mkfifo(tmp_path / "pipe")
    reader = Reader()
    asking = [asyncio.create_task(media(reader, tmp_path / "pipe")) for _ in range(3)]
    while reader._lane._process is None:  # noqa: ASYNC110 - the reader sets no event
        await asyncio.sleep(0.01)
    await reader.aclose()
    for one in asking:
        assert (await one)["unread"] == "the station ended meanwhile"
    assert reader._lane._process is None


async def test_a_fault_of_reading_keeps_no_capture_from_being_held(
    reader: Reader, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(reader._lane, "_running", broken)
    assert "reading it failed" in (await media(reader, film))["unread"]
    monkeypatch.undo()
    assert (await media(reader, film))["structure"]["verdict"] == "complete"


async def test_what_is_nested_deeper_than_an_entry_can_be_costs_only_the_words(
    reader: Reader, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process would answer that a film has made its own."""
    nested: dict[str, Any] = {}
    for _ in range(100_000):
        nested = {"a": nested}

    async def answer(*_: object) -> dict[str, Any]:
        return nested

    monkeypatch.setattr(reader._lane, "_answer", answer)
    assert "more than" in (await media(reader, film))["unread"]


async def test_only_films_are_read_and_the_driver_s_word_stays(reader: Reader, film: Path) -> None:
    assert await media(reader, film, media_type="image/jpeg") is None
    assert await media(reader, film, claims={"a": "b", "media": "mine"}) == "mine"
    assert reader._lane._process is None
    assert "more than" in (await media(reader, film, claims={"a": "b", "more": "x" * 32_300}))["unread"]
    assert await media(reader, film, claims={"a": "b", "more": "x" * 32_700}) is None


def test_what_cannot_be_opened_is_told(tmp_path: Path, film: Path) -> None:
    (tmp_path / "link").symlink_to(film)
    for wrong in ("nothing", "link"):
        assert "cannot be opened" in told(str(tmp_path / wrong))["unread"]
    assert "unread" in told(str(tmp_path))
