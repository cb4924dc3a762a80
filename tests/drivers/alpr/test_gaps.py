"""A Hikvision camera's own list fills what its pushes left open, once each, and nothing that was pushed comes twice."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.errors import BadCapture, ConfigError, DeviceRefused, SpoolFull
from agent.testing.probe import Probe, read_all
from agent.testing.rig import until
from drivers.alpr.emulator import MESSAGES, Passage, PlateList
from drivers.alpr.makers import hikvision
from drivers.alpr.receiver import Receiver
from firmware_specs.formats import hikvision_anpr
from tests.drivers.alpr.conftest import received
from tests.drivers.alpr.rig import options, sender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BEFORE = Passage("EVDK001", identity="before")
PUSHED, LOST = BEFORE.later(60, plate="EVDK002", identity="pushed"), BEFORE.later(120, plate="EVDK003", identity="lost")


@asynccontextmanager
async def listening(camera: PlateList) -> AsyncIterator[int]:
    runner = web.AppRunner(camera.application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def told(folder: Path, port: int, **more: Any) -> Receiver.Options:  # noqa: ANN401
    (folder / "password").write_text("pass-word-1\n")
    poll = {"url": f"http://127.0.0.1:{port}", "user": "admin", "password_file": folder / "password"}
    poll |= {"every": 1, "settle": 0, **more}
    found = options(folder, camera={"poll": poll})
    camera = found.camera[0]
    quick = camera.model_copy(update={"poll": camera.poll and camera.poll.model_copy(update={"every": 0.05})})
    return found.model_copy(update={"camera": (quick,)})


def numbers(probe: Probe) -> list[str]:
    return [offer.read.plate.number for offer in probe.offered]  # type: ignore[attr-defined]


async def test_what_was_never_brought_is_offered_once_and_what_was_is_not(tmp_path: Path) -> None:
    camera, probe = PlateList(), Probe()
    camera.saw(BEFORE)
    async with listening(camera) as port:
        config = told(tmp_path, port)
        async with received(config, probe):
            await until(lambda: len(camera.asked) > 1)
            assert probe.offered == [], "what a camera saw before it was ours is not offered"
            assert await sender(config).once(MESSAGES["hikvision"](PUSHED, "")) == 200
            camera.saw(PUSHED)
            camera.saw(LOST)
            await until(lambda: len(probe.offered) == 2)
            asked = len(camera.asked)
            await until(lambda: len(camera.asked) > asked + 2)
        assert numbers(probe) == ["EVDK002", "EVDK003"]
        polled = probe.offered[1]
        assert "polled" in polled.read.flags  # type: ignore[attr-defined]
        assert b"EVDK002" not in await read_all(polled, 0), "a read was kept with another one beside it"
        again = Probe()
        async with received(config, again):  # a restart goes on where the list was read to
            await until(lambda: len(camera.asked) > asked + 5)
        assert again.offered == []


@pytest.mark.parametrize("first", [True, False])
async def test_a_clock_that_was_years_ahead_hides_nothing_that_comes_after(tmp_path: Path, *, first: bool) -> None:
    """Numbers are times: by them, all that the camera sees once its clock is right is older than what was read."""
    camera, probe, days = PlateList(), Probe(), 86400
    camera.saw(BEFORE)
    if first:
        camera.saw(BEFORE.later(3650 * days, plate="EVDK009", identity="ahead"))
    async with listening(camera) as port:
        config = told(tmp_path, port)
        async with received(config, probe):
            await until(lambda: len(camera.asked) > 1)
            camera.saw(BEFORE.later(3651 * days, plate="EVDK004", identity="ahead too"))
            await until(lambda: len(probe.offered) == 1)
            camera.saw(LOST)
            await until(lambda: len(probe.offered) == 2)
            asked = len(camera.asked)
            await until(lambda: len(camera.asked) > asked + 2)
        async with received(config, probe):
            asked = len(camera.asked)
            await until(lambda: len(camera.asked) > asked + 2)
            camera.saw(LOST.later(60, plate="EVDK005", identity="more"))
            await until(lambda: len(probe.offered) == 3)
    assert numbers(probe) == ["EVDK004", "EVDK003", "EVDK005"]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("hours", [1, 10, 23, -24 * 366 * 56])
async def test_a_clock_that_is_set_by_less_than_a_day_or_to_1970_hides_nothing(
    tmp_path: Path, *, hours: int, first: bool
) -> None:
    """Summer time ends, a clock is put right, and one that lost its battery begins anew."""
    camera, probe = PlateList(), Probe()
    wrong = BEFORE.later(hours * 3600, plate="EVDK010", identity="wrong")
    camera.saw(BEFORE)
    if first:
        camera.saw(wrong)
    async with listening(camera) as port:
        config = told(tmp_path, port)
        async with received(config, probe):
            await until(lambda: len(camera.asked) > 1)
            camera.saw(wrong.later(30, plate="EVDK011"))
            await until(lambda: len(probe.offered) == 1)
            camera.saw(BEFORE.later(60, plate="EVDK012"))
            await until(lambda: len(probe.offered) == 2)
            asked = len(camera.asked)
            await until(lambda: len(camera.asked) > asked)  # it is noted by then; else it would be offered once more
        camera.saw(BEFORE.later(59, plate="EVDK013"))  # it wrote this one late, while nobody asked
        async with received(config, probe):
            await until(lambda: len(probe.offered) == 3)
            camera.saw(wrong.later(31, plate="EVDK014"))
            await until(lambda: len(probe.offered) == 4)
            asked = len(camera.asked)
            await until(lambda: len(camera.asked) > asked + 35)
    assert numbers(probe) == ["EVDK011", "EVDK012", "EVDK013", "EVDK014"]


async def test_a_camera_that_gives_a_few_at_a_time_is_asked_for_the_others(tmp_path: Path) -> None:
    camera, probe = PlateList(most=3), Probe()
    for number in range(10):
        camera.saw(BEFORE.later(number, plate=f"EVDK1{number:02}"))
    async with listening(camera) as port, received(told(tmp_path, port), probe):
        await until(lambda: len(camera.asked) > 6)
        for number in range(10):
            camera.saw(BEFORE.later(60 + number, plate=f"EVDK2{number:02}"))
        await until(lambda: len(probe.offered) == 10)
        camera.saw(BEFORE.later(30, plate="EVDK300"))
        await until(lambda: len(probe.offered) == 11)
    assert sorted(numbers(probe)) == [f"EVDK2{number:02}" for number in range(10)] + ["EVDK300"]


async def test_of_a_list_that_is_longer_than_is_read_the_end_is_read_and_a_person_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hikvision_anpr, "STORED_MAX", 5)
    camera, probe, now = PlateList(), Probe(), Passage(at=datetime.now(UTC))
    for number in range(10):
        camera.saw(now.later(number - 3 * 366 * 86400, plate=f"EVDK1{number:02}"))
    async with listening(camera) as port, received(told(tmp_path, port), probe) as driver:
        await until((tmp_path / "alpr" / "front.known").exists)
        camera.saw(now.later(0, plate="EVDK200"))
        await until(lambda: len(probe.offered) == 1)
        (notice,) = (one for one in driver.notices() if one.id == "alpr.list")
        assert "longer than is read" in notice.detail
    assert numbers(probe) == ["EVDK200"]


async def test_how_far_an_earlier_version_read_is_not_offered_again(tmp_path: Path) -> None:
    camera, probe = PlateList(), Probe()
    (tmp_path / "alpr").mkdir()
    camera.saw(BEFORE)
    (tmp_path / "alpr" / "front.picname").write_text(f"{camera.saw(PUSHED)}\n200001010000000000\n")
    camera.saw(LOST)
    async with listening(camera) as port:
        async with received(told(tmp_path, port), probe):
            await until(lambda: bool(probe.offered))
        async with received(told(tmp_path, port), probe):
            asked = len(camera.asked)
            await until(lambda: len(camera.asked) > asked + 3)
    assert numbers(probe) == ["EVDK003"]
    assert not (tmp_path / "alpr" / "front.picname").exists()


async def test_who_stands_in_the_future_since_an_earlier_version_reads_the_list_again(tmp_path: Path) -> None:
    camera, probe = PlateList(), Probe()
    camera.saw(LOST)
    (tmp_path / "alpr").mkdir()
    (tmp_path / "alpr" / "front.picname").write_text("203611290102030000\n")
    async with listening(camera) as port, received(told(tmp_path, port), probe):
        await until(lambda: bool(probe.offered))
    assert numbers(probe) == ["EVDK003"]


async def test_a_push_that_could_not_be_kept_and_never_comes_again_is_fetched(tmp_path: Path) -> None:
    """The camera of which one production test says that it never sends again."""
    full = True

    async def look(_: object) -> None:
        if full:
            raise SpoolFull("no room")

    camera, probe = PlateList(), Probe(look)
    async with listening(camera) as port:
        config = told(tmp_path, port)
        async with received(config, probe):
            await until(lambda: len(camera.asked) > 1)
            one = sender(config, never_resend=True)
            assert not await one.send(MESSAGES["hikvision"](LOST, ""))
            assert one.said == [0], "the connection is closed without an answer"
            camera.saw(LOST)
            await until(lambda: len(probe.offered) > 3)
            full = False
            taken = len(probe.done)
            await until(lambda: len(probe.done) > taken)
            asked = len(camera.asked)
            await until(lambda: len(camera.asked) > asked + 2)
            assert len(probe.done) <= taken + 2, "it is offered until it is taken, and not after"
    assert {offer.capture.began_at is None for offer in probe.offered[1:]} == {True}


@pytest.mark.parametrize("error", [DeviceRefused("no"), BadCapture("never"), KeyError("a fault of ours")])
async def test_a_plate_that_cannot_be_taken_keeps_no_other_back(tmp_path: Path, error: Exception) -> None:
    """It is offered again, also after a restart, unless it must not be taken; the others are not."""
    fails = True

    async def look(offer: Any) -> None:  # noqa: ANN401
        if fails and offer.read.plate.number == "EVDK002":
            raise error

    camera, probe = PlateList(), Probe(look)
    async with listening(camera) as port:
        config = told(tmp_path, port)
        async with received(config, probe):
            await until(lambda: len(camera.asked) > 1)
            camera.saw(PUSHED)
            camera.saw(LOST)
            camera.saw(LOST.later(60, plate="EVDK004", identity="more"))
            asked = len(camera.asked)
            await until(lambda: len(camera.asked) > asked + 3)
        fails = False
        async with received(config, probe):
            asked = len(camera.asked)
            await until(lambda: len(camera.asked) > asked + 3)
    found = numbers(probe)
    refused = found.count("EVDK002")
    assert refused == 1 if isinstance(error, BadCapture) else refused > 2
    assert found.count("EVDK003") == found.count("EVDK004") == 1
    bodies = [await read_all(offer, 0) for offer in probe.offered if offer.read.plate.number == "EVDK002"]  # type: ignore[attr-defined]
    assert len(set(bodies)) == 1, "what is offered again is another capture"


async def test_a_plate_waits_for_the_camera_to_bring_it(tmp_path: Path) -> None:
    camera, probe = PlateList(), Probe()
    async with listening(camera) as port:
        config = told(tmp_path, port, settle=2)
        async with received(config, probe):
            await until(lambda: len(camera.asked) > 1)
            camera.saw(PUSHED)
            asked = len(camera.asked)
            await until(lambda: len(camera.asked) > asked + 3)
            assert probe.offered == []
            assert await sender(config).once(MESSAGES["hikvision"](PUSHED, "")) == 200
            await until(lambda: len(camera.asked) > asked + 45)
    assert len(probe.offered) == 1


@pytest.mark.parametrize("at", ["00010101T000000", "99991231T235959", "00000000T000000", ""])
async def test_a_plate_at_the_end_of_the_calendar_stops_nobody(tmp_path: Path, at: str) -> None:
    camera, probe = PlateList(), Probe()
    async with listening(camera) as port:
        config = told(tmp_path, port)
        async with received(config, probe):
            await until(lambda: len(camera.asked) > 1)
            camera.saw(PUSHED)
            number, listed = camera._seen.pop()
            camera._seen.append((number, re.sub("<captureTime>[^<]*", f"<captureTime>{at}", listed)))
            camera.saw(LOST)
            await until(lambda: len(probe.offered) == 2)
            assert await sender(config).once(MESSAGES["hikvision"](BEFORE, "")) == 200
        assert numbers(probe)[:2] == ["EVDK002", "EVDK003"]


@pytest.mark.parametrize("faults", ["5", "c", "x", "h", "5cxh5"])
async def test_a_camera_that_answers_badly_is_asked_again(tmp_path: Path, faults: str) -> None:
    camera, probe = PlateList(), Probe()
    async with listening(camera) as port, received(told(tmp_path, port), probe) as driver:
        await until(lambda: len(camera.asked) > 1)
        camera.faults = faults
        camera.saw(LOST)
        await until(lambda: bool(probe.offered))
        await until(lambda: not driver.notices() or {one.id for one in driver.notices()} == {"alpr.clock"})
    assert numbers(probe) == ["EVDK003"]


async def test_a_wrong_password_is_told_in_a_notice(tmp_path: Path) -> None:
    camera = PlateList(password="another-one")  # noqa: S106 - of an emulated camera
    async with listening(camera) as port, received(told(tmp_path, port), Probe()) as driver:
        await until(lambda: bool(driver.notices()))
        (notice,) = driver.notices()
        assert notice.id == "alpr.list"
        assert "401" in notice.detail


@pytest.mark.parametrize("file", ["front.picname", "front.known"])
@pytest.mark.parametrize("note", ["\0\0\0", "202611220743\n", "1" * 50 + "\n2026", ""])
async def test_a_damaged_note_of_what_was_read_reads_it_again(tmp_path: Path, note: str, file: str) -> None:
    camera, probe = PlateList(), Probe()
    camera.saw(LOST)
    (tmp_path / "alpr").mkdir()
    (tmp_path / "alpr" / file).write_text(note)
    async with listening(camera) as port, received(told(tmp_path, port), probe):
        await until(lambda: bool(probe.offered))
    assert numbers(probe) == ["EVDK003"]


def test_a_password_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    config = told(tmp_path, 1)
    (tmp_path / "password").unlink()
    with pytest.raises(ConfigError):
        Receiver(config)


def test_the_camera_of_another_author_lists_in_no_order_and_in_json() -> None:
    """One entry alone is no list, and an answer may be JSON."""
    one = b'{"Plates": {"Plate": {"picName": "12", "plateNumber": "EVDK001"}}}'
    two = b'{"Plates": {"Plate": [{"picName": "9", "plateNumber": "A1"}, {"picName": "100", "plateNumber": "B2"}]}}'
    assert [name for name, _, _ in hikvision.listed(one, "front")] == ["12"]
    found = hikvision.listed(two, "front")
    assert [name for name, _, _ in found] == ["9", "100"]
    for (_, read, message), other in zip(found, (b"B2", b"A1"), strict=True):
        assert read.plate is not None
        assert read.plate.number.encode() in message.body
        assert other not in message.body
