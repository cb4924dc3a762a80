"""The room's button: an HTTP request, a broker's message, another driver's observation, the hours of the day."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import durable
from agent.capture import Observation
from agent.driver import HearsObservations, RaisesNotices, TakesOrders
from agent.driver.unhurried import Unhurried
from agent.errors import ConfigError, DeviceGone, JournalFull, Refusal
from agent.testing.probe import Probe, read_all
from agent.testing.rig import running, until
from drivers.interview_room.live import LiveRoom, buttons, driver
from drivers.interview_room.live.buttons import now
from drivers.interview_room.live.schedule import Hours

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.capture import Json
    from agent.driver import Offer
    from agent.testing.broker import Mosquitto

TOKEN = "a-token-of-a-button"  # noqa: S105 - of this test alone
NOW = datetime.now(UTC)


@pytest.fixture
def http(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "token").write_text(TOKEN + "\n")
    return {"address": "127.0.0.1", "port": 0, "plain": True, "token_file": tmp_path / "token"}


def recording(room: LiveRoom) -> bool:
    return room._current is not None and room._current.ended_at is None


async def post(room: LiveRoom, word: str, token: str = TOKEN) -> int:
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{room._buttons.url}/{word}", headers={"Authorization": f"Bearer {token}"}) as answer,
    ):
        return answer.status


def test_it_can_what_it_says(made: Callable[..., LiveRoom]) -> None:
    room = made()
    assert isinstance(room, TakesOrders)
    assert isinstance(room, RaisesNotices)
    assert isinstance(room, HearsObservations)


async def test_by_http(made: Callable[..., LiveRoom], http: dict[str, Any]) -> None:
    room = made(http=http)
    async with running(room, Probe()):
        await until(lambda: room._buttons.url is not None and room._ready.is_set())
        assert await post(room, "start", "another token entirely") == 401
        assert await post(room, "explode") == 404
        assert not recording(room)
        assert await post(room, "start") == 204
        assert recording(room), "204 says that it stands on the disk"
        assert await post(room, "start") == 204
        assert await post(room, "mark") == 204
        assert len(room._current.marks) == 1 if room._current else False
        assert await post(room, "toggle") == 204
        assert not recording(room)
        assert await post(room, "toggle") == 204
        assert recording(room), "pressed while the one before still ended: it is not lost"


async def test_a_full_disk_keeps_nobody_recorded(
    made: Callable[..., LiveRoom], http: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full after the beginning of the interview was written down, and until after its end."""
    room, held, room_left = made(http=http), list[dict[str, Any]](), [True]
    write = durable.replace_file

    def full(*words: Any) -> None:  # noqa: ANN401
        if not room_left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room_left.pop()
        write(*words)

    async def look(offer: Offer) -> None:
        held.append(json.loads(await read_all(offer, 0)))

    async with running(room, Probe(look)):
        await until(lambda: room._buttons.url is not None and room._ready.is_set())
        with monkeypatch.context() as patch:
            patch.setattr(durable, "replace_file", full)
            assert await post(room, "start") == 204
            assert recording(room), "it stands on the disk, and goes on after a restart"
            assert await post(room, "stop") == 204
            await until(lambda: room._current is None)
        await until(lambda: bool(held))
    assert held[0]["ended_by"].startswith("http:"), "the notes that are held do not say that it ended"


async def test_a_journal_without_room_keeps_nobody_recorded(
    made: Callable[..., LiveRoom], http: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told of a room waits for the journal, and the room does not: neither its button nor an order."""
    monkeypatch.setattr(driver, "Unhurried", partial(Unhurried, moment=0.05))
    has_room, entries = asyncio.Event(), list[Observation]()

    class Short(Probe):
        async def observe(self, observation: Observation, /) -> None:
            await has_room.wait()
            entries.append(observation)

    async def record(_: Mapping[str, Json]) -> None:
        raise JournalFull("the journal cannot be written: the disk is full")

    room = made(http=http)
    async with running(room, Short()):
        await until(lambda: room._buttons.url is not None and room._ready.is_set())
        for _ in range(2):
            assert await post(room, "start") == 204
            assert recording(room)
            assert await post(room, "stop") == 204
            await until(lambda: room._current is None)
        with pytest.raises(JournalFull):
            await room.order("start", {}, actor="uid:1000", record=record)
        assert await post(room, "start") == 204
        await room.order("stop", {}, actor="uid:1000", record=record)
        assert not recording(room)
        assert entries == []
        has_room.set()
        await until(lambda: len(entries) >= 6)
    kinds = [one.kind for one in entries if one.kind in {"room.started", "room.stopped"}]
    assert kinds == ["room.started", "room.stopped"] * 3, "in their order"


async def test_on_a_full_disk_no_interview_begins_and_whoever_asked_is_told_why(
    made: Callable[..., LiveRoom], http: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = made(http=http)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def record(_: Mapping[str, Json]) -> None:
        """It was asked for."""

    async with running(room, Probe()):
        await until(lambda: room._buttons.url is not None and room._ready.is_set())
        with monkeypatch.context() as patch:
            patch.setattr(durable, "replace_file", full)
            with pytest.raises(DeviceGone, match="cannot be written down: No space left"):
                await room.order("start", {}, actor="uid:1000", record=record)
            assert await post(room, "start") == 503
        assert not recording(room)
        assert await post(room, "start") == 204


def test_a_token_that_protects_nothing(made: Callable[..., LiveRoom], http: dict[str, Any]) -> None:
    Path(http["token_file"]).write_text("short")
    with pytest.raises(ConfigError, match="at least 16"):
        made(http=http)


BUTTON = {"host": "127.0.0.1", "tls": False, "topic": "room/1/button", "start": "ON"}


def connected(room: LiveRoom) -> bool:
    return room._buttons._session is not None and room._buttons._session.up


def told(room: LiveRoom) -> list[str]:
    return [one.detail for one in room.notices() if one.id == "room.unheeded"]


async def test_a_press_that_the_broker_kept_while_we_were_away_begins_nothing_and_is_told(
    made: Callable[..., LiveRoom], mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    mqtt = BUTTON | {"port": mosquitto.port}
    async with running(away := made(mqtt=mqtt), Probe()):
        await until(lambda: connected(away))
    for payload in ("stop", "ON"):
        await asyncio.to_thread(publish, mosquitto.port, payload)
    async with running(room := made(mqtt=mqtt), Probe()):
        await until(lambda: connected(room) and bool(told(room)))
        assert not recording(room)
        assert "pressed start" in told(room)[0]
        assert "kept it while we were away" in told(room)[0]
        monkeypatch.setattr(buttons, "now", lambda: now() + buttons._KEPT_MAX)  # all that it kept was handed over
        await asyncio.to_thread(publish, mosquitto.port, "ON")
        await until(lambda: recording(room))
        assert not told(room)


async def test_a_press_that_is_to_be_kept_begins_nothing_and_is_told(
    made: Callable[..., LiveRoom], mosquitto: Mosquitto
) -> None:
    room = made(mqtt=BUTTON | {"port": mosquitto.port})
    async with running(room, Probe()):
        await until(lambda: connected(room))
        await asyncio.to_thread(publish, mosquitto.port, "ON", retain=True)
        await until(lambda: bool(told(room)))
        assert not recording(room)
        assert "retain" in next(one.todo for one in room.notices() if one.id == "room.unheeded")
    async with running(again := made(mqtt=BUTTON | {"port": mosquitto.port, "client_id": "another"}), Probe()):
        await until(lambda: connected(again))
        await asyncio.to_thread(publish, mosquitto.port, "mark")  # comes after whatever was kept
        await asyncio.to_thread(publish, mosquitto.port, "ON")
        await until(lambda: recording(again))


async def test_a_press_by_a_broker_that_cannot_be_done_is_told_and_comes_never_again(
    made: Callable[..., LiveRoom], mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = made(mqtt=BUTTON | {"port": mosquitto.port})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with running(room, Probe()):
        await until(lambda: connected(room))
        with monkeypatch.context() as patch:
            patch.setattr(durable, "replace_file", full)
            await asyncio.to_thread(publish, mosquitto.port, "ON")
            await until(lambda: bool(told(room)))
        assert "No space left" in told(room)[0]
        assert connected(room), "who presses next is heard"
        await asyncio.to_thread(publish, mosquitto.port, "mark")
        await until(lambda: not told(room))
        assert not recording(room)
    async with running(again := made(mqtt=BUTTON | {"port": mosquitto.port}), Probe()):
        await until(lambda: connected(again))
        await asyncio.sleep(0.2)
        assert not recording(again)
        assert not told(again)


async def test_a_press_that_had_to_wait_too_long_is_none(
    made: Callable[..., LiveRoom], http: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = made(http=http, input={"device": "modbus:1", "kind": "trigger.room-1", "acts": "press"})
    async with running(room, Probe()):
        await until(lambda: room._buttons.url is not None and room._ready.is_set())
        async with room._acting:  # the disk hangs
            asked = asyncio.create_task(post(room, "start"))
            for on in (False, True):
                room.heard(observed(on=on))
            await until(lambda: len(room._acting._waiters or ()) == 2)
            monkeypatch.setattr(buttons, "now", lambda: now() + 3600)
        assert await asked == 503
        await until(lambda: bool(told(room)))
        assert not recording(room)


async def test_a_switch_that_stays_on_is_tried_again_and_told_once(
    made: Callable[..., LiveRoom], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buttons, "_AGAIN", 0.05)
    room, fails = made(input={"device": "modbus:1", "kind": "trigger.room-1"}), [True] * 5
    write = durable.replace_file

    def full(*words: Any) -> None:  # noqa: ANN401
        if fails:
            fails.pop()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*words)

    seen: list[str] = []
    unheeded = room.unheeded

    async def tell(word: str, *words: str) -> None:
        seen.append(word)
        await unheeded(word, *words)

    monkeypatch.setattr(durable, "replace_file", full)
    monkeypatch.setattr(room, "unheeded", tell)
    async with running(room, Probe()):
        await until(room._ready.is_set)
        room.heard(observed(on=True))
        await until(lambda: recording(room))
        assert seen == ["start"]
        await until(lambda: not told(room))


async def test_a_mark_that_failed_and_is_pressed_again_is_noted_once(
    made: Callable[..., LiveRoom], http: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it stands on the disk and was only not known to."""
    room, write = made(http=http), durable.replace_file
    async with running(room, Probe()):
        await until(lambda: room._buttons.url is not None and room._ready.is_set())
        assert await post(room, "start") == 204
        for stored in (False, True):
            with monkeypatch.context() as patch:

                def fails(*words: Any, stored: bool = stored) -> None:  # noqa: ANN401
                    if stored:
                        write(*words)
                    raise OSError(errno.EIO, os.strerror(errno.EIO))

                patch.setattr(durable, "replace_file", fails)
                assert await post(room, "mark") == 503
            assert await post(room, "mark") == 204
        assert room._current is not None
        notes = json.loads((room._current.folder / "interview.json").read_text())
        assert len(notes["marks"]) == len(room._current.marks) == 2


async def test_by_a_broker(made: Callable[..., LiveRoom], mosquitto: Mosquitto) -> None:
    room = made(
        mqtt={"host": "127.0.0.1", "port": mosquitto.port, "tls": False, "topic": "room/1/button", "start": "ON"}
    )
    async with running(room, Probe()):
        await until(lambda: room._buttons._session is not None and room._buttons._session.up)
        for payload, expected in (("ON", True), ("nonsense \x00\xff", True), ("stop", False), ("ON", True)):
            await asyncio.to_thread(publish, mosquitto.port, payload)
            await until(lambda expected=expected: recording(room) is expected)  # type: ignore[misc]


def publish(port: int, payload: str, *, retain: bool = False) -> None:
    """With a client of another author."""
    from paho.mqtt import publish as paho  # noqa: PLC0415

    paho.single("room/1/button", payload, qos=1, retain=retain, hostname="127.0.0.1", port=port)


def observed(*, on: object, kind: str = "trigger.room-1", device: str = "modbus:1") -> Observation:
    return Observation(device, kind, NOW, {"on": on} if isinstance(on, bool) else {})


async def test_a_switch_that_another_driver_observes(made: Callable[..., LiveRoom]) -> None:
    room = made(input={"device": "modbus:1", "kind": "trigger.room-1"})
    async with running(room, Probe()):
        await until(room._ready.is_set)
        for strange in (
            observed(on=True, kind="trigger.other"),
            observed(on=True, device="modbus:2"),
            observed(on="on"),
        ):
            room.heard(strange)
        room.heard(observed(on=False))
        await asyncio.sleep(0.1)
        assert not recording(room)
        room.heard(observed(on=True))
        await until(lambda: recording(room))
        room.heard(observed(on=True))
        room.heard(observed(on=False))
        await until(lambda: not recording(room))


async def test_a_push_button_that_another_driver_observes(made: Callable[..., LiveRoom]) -> None:
    room = made(input={"device": "modbus:1", "kind": "trigger.room-1", "acts": "press"})
    async with running(room, Probe()):
        await until(room._ready.is_set)
        for on in (False, True, False):
            room.heard(observed(on=on))
        await until(lambda: recording(room))
        room.heard(observed(on=True))
        await until(lambda: not recording(room))


async def test_hours_begin_and_end_only_what_they_began(
    made: Callable[..., LiveRoom], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_SCHEDULE", 0.02)
    is_open = [True]
    monkeypatch.setattr(Hours, "open_at", lambda _self, _now: is_open[0])
    room = made(schedule=["Mon-Fri 08:00-18:00"], zone="America/Toronto")
    async with running(room, Probe()):
        await until(lambda: recording(room))
        is_open[0] = False
        await until(lambda: not recording(room))
        await room.start("uid:1000")
        is_open[0] = True
        await asyncio.sleep(0.1)
        is_open[0] = False
        await asyncio.sleep(0.1)
        assert recording(room), "what a person began, a person ends"


@pytest.mark.parametrize(
    ("text", "moment", "is_open"),
    [
        ("Mon-Fri 08:00-18:00", "2026-11-27T08:00", True),
        ("Mon-Fri 08:00-18:00", "2026-11-27T18:00", False),
        ("Mon-Fri 08:00-18:00", "2026-11-28T12:00", False),
        ("Fri 22:00-06:00", "2026-11-28T05:59", True),
        ("Sat-Mon 00:00-24:00", "2026-11-30T23:59", True),
        ("10:00-10:00", "2026-11-28T03:00", True),
    ],
)
def test_hours(text: str, moment: str, is_open: bool) -> None:  # noqa: FBT001 - one of a table
    local = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo("America/Toronto"))
    assert Hours.parse(text).open_at(local) is is_open


@given(st.text(max_size=40))
def test_any_hours_are_read_or_refused(text: str) -> None:
    try:
        Hours.parse(text).open_at(NOW)
    except ValueError:
        return


# -- orders ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "arguments"),
    [
        ("explode", {}),
        ("start", {"note": 5}),
        ("start", {"note": "x" * 501}),
        ("start", {"note": "", "room": "x"}),
        ("stop", {}),
        ("mark", {"note": "nothing goes on"}),
    ],
)
async def test_a_wrong_order_is_refused_and_never_recorded(
    made: Callable[..., LiveRoom], word: str, arguments: dict[str, Json]
) -> None:
    room = made()
    written: list[Mapping[str, Json]] = []

    async def record(detail: Mapping[str, Json]) -> None:
        written.append(detail)

    async with running(room, Probe()):
        await until(room._ready.is_set)
        with pytest.raises(Refusal):
            await room.order(word, arguments, actor="uid:1000", record=record)
    assert not written


async def test_an_order_to_a_driver_that_does_not_run(
    made: Callable[..., LiveRoom], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_STARTING", 0.05)

    async def record(detail: Mapping[str, Json]) -> None:
        raise AssertionError(detail)

    with pytest.raises(DeviceGone, match="not running"):
        await made().order("start", {}, actor="uid:1000", record=record)


async def test_an_interview_that_nobody_ends_is_told_of(
    made: Callable[..., LiveRoom], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = made(long=1)
    async with running(room, Probe()):
        await until(room._ready.is_set)
        await room.start("uid:1000")
        assert room._current is not None
        room._current.began_at = (NOW - timedelta(hours=2)).isoformat()
        assert "room.long" in [one.id for one in room.notices()]
        assert recording(room)
