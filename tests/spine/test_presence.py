"""Who is docked, and what a device's clock says against ours."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agent import presence
from agent.capture import Device, Stamp
from agent.clock import Clock, Step, compare
from agent.driver import ClockReading, reckoning
from agent.errors import DeviceGone
from agent.journal import Desk, Journal
from agent.presence import GONE_AFTER, Presence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CAMERA = Device(id="usb:1:2:3", family="body_worn", driver="bay-1", serial="3")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def stamp(at: datetime, seconds: float, uncertainty_us: int | None = 0) -> Stamp:
    return Stamp(at, "boot", int(seconds * 1e9), "kernel", uncertainty_us is not None, uncertainty_us)


class CameraWithClock:
    def __init__(self, *, fails: bool = False) -> None:
        self.fails, self.asked = fails, 0

    async def run(self, intake: object, /) -> None:
        raise NotImplementedError

    async def read_clock(self, _: Device, /) -> ClockReading:
        self.asked += 1
        if self.fails:
            raise DeviceGone("pulled out")
        return ClockReading(datetime.now(UTC) + timedelta(hours=1), timedelta(seconds=2))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(lambda: Journal.open(tmp_path / "journal.db", log="edge.example.org/dock-1/log1", stamp=Clock().stamp))
    await made.open()
    yield made
    await made.close()


async def events(desk: Desk) -> list[dict[str, Any]]:
    size = await desk.read(lambda journal: journal.leaves.size)
    return await desk.read(lambda journal: _predicates(journal, size))


def _predicates(journal: Journal, size: int) -> list[dict[str, Any]]:
    return [json.loads(leaf)["predicate"] for _, leaf in journal.leaves.between(0, size)]


def test_an_offset_is_the_device_minus_the_middle_of_the_asking() -> None:
    before, after = stamp(NOON, 100.0), stamp(NOON + timedelta(seconds=2), 102.0, uncertainty_us=500)
    found = compare(before, ClockReading(NOON + timedelta(seconds=61), timedelta(seconds=2)), after)
    assert found.offset == timedelta(seconds=60)
    assert found.uncertainty == timedelta(seconds=3, microseconds=500)
    assert found.claims["offset_us"] == 60_000_000


def test_our_own_clock_being_set_meanwhile_does_not_become_uncertainty() -> None:
    before, after = stamp(NOON, 100.0), stamp(NOON + timedelta(days=300), 101.0)
    found = compare(before, ClockReading(NOON, timedelta(0)), after)
    assert found.uncertainty == timedelta(seconds=0.5)


def test_a_step_is_what_the_wall_clock_moved_beyond_the_time_that_passed() -> None:
    step = Step(stamp(NOON, 0))
    assert step.since(stamp(NOON + timedelta(seconds=5.2), 5)) is None
    back = NOON - timedelta(days=365)
    assert step.since(stamp(back + timedelta(seconds=10), 10)) == timedelta(days=-365, seconds=-0.2)
    assert step.since(stamp(back + timedelta(seconds=15), 15)) is None


async def test_each_coming_and_going_is_an_entry(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(presence, "monotonic", lambda: now[0])
    here = Presence(desk, Clock(), {})
    assert await here.sight(CAMERA)
    assert not await here.sight(CAMERA)
    await here.notice_gone()
    assert here.devices[CAMERA.id].present
    now[0] += GONE_AFTER + 1
    assert await here.notice_gone()
    assert not await here.notice_gone()
    assert not here.devices[CAMERA.id].present
    assert await here.sight(CAMERA)
    told = [entry["event"] for entry in await events(desk)]
    assert told == ["log.opened", "device.attached", "device.detached", "device.attached"]


async def test_a_device_that_says_something_else_of_itself_is_told_again(desk: Desk) -> None:
    here = Presence(desk, Clock(), {})
    await here.sight(CAMERA)
    assert await here.sight(Device(id=CAMERA.id, family="body_worn", driver="bay-1", serial="3", firmware="2.0"))
    assert [entry["event"] for entry in await events(desk)].count("device.attached") == 2


async def test_the_clock_is_compared_at_each_coming(desk: Desk) -> None:
    camera = CameraWithClock()
    here = Presence(desk, Clock(), {"bay-1": camera})
    await here.sight(CAMERA)
    await here.sight(CAMERA)
    assert camera.asked == 1
    observation = (await events(desk))[-1]["observation"]
    assert observation["kind"] == "clock.compared"
    offset = timedelta(microseconds=observation["detail"]["offset_us"])
    uncertainty = timedelta(microseconds=observation["detail"]["uncertainty_us"])
    assert abs(offset - timedelta(hours=1)) <= uncertainty
    assert uncertainty >= timedelta(seconds=2)


async def test_a_clock_that_cannot_be_read_hurts_nothing(desk: Desk) -> None:
    here = Presence(desk, Clock(), {"bay-1": CameraWithClock(fails=True)})
    assert await here.sight(CAMERA)
    assert [entry["event"] for entry in await events(desk)] == ["log.opened", "device.attached"]


async def test_two_that_claim_to_be_one_are_told_of_once_each(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(presence, "monotonic", lambda: now[0])
    here = Presence(desk, Clock(), {})
    one, other = replace(CAMERA, place="usb 1-1"), replace(CAMERA, place="usb 1-2")
    for look in range(50):
        for number, device in enumerate((one, other)):
            await here.sight(device)
            assert await here.observe(reckoning.observation(device.id, {"listed": number}))
        now[0] += 5
        await here.notice_gone()
        assert here.twice(CAMERA.id) == (look > 0)
    told = [entry["event"] for entry in await events(desk)]
    assert told == ["log.opened"] + ["device.attached", "observed"] * 2 + ["observed"]
    (notice,) = here.notices()
    assert notice["id"] == "device.twice"
    assert "usb 1-1" in str(notice["detail"])
    assert "usb 1-2" in str(notice["detail"])
    for _ in range(5):
        await here.sight(one)
        now[0] += 5
        assert not await here.notice_gone()
    assert not here.twice(CAMERA.id)
    assert not list(here.notices())
    left = (await events(desk))[-1]
    assert (left["event"], left["device"]["place"]) == ("device.detached", "usb 1-2")
    now[0] += GONE_AFTER
    assert await here.notice_gone()
    assert (await events(desk))[-1]["device"]["place"] == "usb 1-1"


async def test_a_device_that_is_docked_elsewhere_at_once_is_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(presence, "monotonic", lambda: now[0])
    here = Presence(desk, Clock(), {})
    for place, new in (("usb 1-1", True), ("usb 1-2", True), ("usb 1-1", False)):
        assert await here.sight(replace(CAMERA, place=place)) is new
    assert not here.twice(CAMERA.id)
    for _ in range(5):
        now[0] += 5
        await here.sight(replace(CAMERA, place="usb 1-1"))
        assert not await here.notice_gone()
    assert here.devices[CAMERA.id].changes == 0
    assert [entry["event"] for entry in await events(desk)].count("device.detached") == 0
