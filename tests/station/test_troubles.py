"""What a running daemon finds wrong by itself: it is told once, stands as a notice, and goes when its cause goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import structlog

from agent.capture import DRILL, Capture, Device, Stamp, Standing
from agent.config import Policy, parse
from agent.daemon import Agent
from agent.errors import BadCapture, DeviceGone
from agent.machine.disk import Disk, Ground
from agent.spool import Room
from agent.station import forecast, problems
from agent.station.live import Live, room_view
from agent.station.troubles import Troubles
from agent.testing.devices import BenchDevice
from agent.testing.uplinks import BenchUplink
from tests.station.conftest import TOML

if TYPE_CHECKING:
    from pathlib import Path

    from tests.station.conftest import Bench

DEVICE = Device("usb:bench:1", "body_worn", "bay-1")
CLIP = Capture(DEVICE, "CLIP1.MP4", None)
STAMP = Stamp(datetime.now(UTC), "boot", 0, "kernel", synchronised=True, uncertainty_us=10)


def test_a_capture_that_cannot_be_taken_is_told_once_and_leaves_with_its_cause() -> None:
    troubles = Troubles()
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            troubles.not_taken(CLIP, DeviceGone("the cable"))
        (notice,) = troubles.notices({DEVICE.id})
        troubles.taken(CLIP)
        troubles.taken(CLIP)
    assert [log["event"] for log in logs] == ["capture_not_taken", "capture_taken_after_all"]
    assert notice["id"] == "captures.not_taken"
    assert "the cable" in str(notice["detail"])
    assert notice["todo"] == DeviceGone.hint
    assert list(troubles.notices({DEVICE.id})) == []
    troubles.not_taken(CLIP, BadCapture("cut off"))
    assert list(troubles.notices(set())) == [], "its device left"


def test_a_driver_that_fails_is_told_once_and_again_when_it_runs() -> None:
    troubles = Troubles()
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            troubles.driver_failed("bay-1", OSError("no bus"))
        (notice,) = troubles.notices(())
        troubles.driver_well("bay-1")
    assert (notice["id"], notice["state"]) == ("driver.failed", "problem")
    assert [log["event"] for log in logs] == ["driver_failed", "driver_recovered"]
    assert list(troubles.notices(())) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DeviceGone("the cable was pulled"), "the cable was pulled"),
        (ExceptionGroup("several", [DeviceGone("the cable was pulled")]), "the cable was pulled"),
        (FileNotFoundError(2, "No such file or directory", "/dev/bay-1"), "again: No such file or directory"),
        (TimeoutError(), "no answer in time"),
        (KeyError(7), "a fault of Evidock itself (KeyError: 7)"),
        (None, "it ended by itself"),
    ],
)
def test_why_a_driver_failed_is_said_to_people(error: BaseException | None, words: str) -> None:
    """The dock's screen shows it; what is of use to a programmer alone stands in the log."""
    troubles = Troubles()
    with structlog.testing.capture_logs() as logs:
        troubles.driver_failed("bay-1", error)
    (notice,) = troubles.notices(())
    detail = str(notice["detail"])
    assert words in detail
    assert "Errno" not in detail
    assert "('" not in detail
    assert (logs[0]["exc_info"] is not None) is isinstance(error, KeyError)


async def test_no_device_may_bear_the_name_of_a_drill(tmp_path: Path) -> None:
    agent = Agent(parse(TOML.format(state=tmp_path / "state")))
    device = BenchDevice(f"{DRILL}camera")
    device.record("CLIP.MP4", b"hidden from every list")
    await agent.desk.open()
    try:
        standings = [await _taken(agent, offer) for offer in device.offers()]
        assert standings == ["BadCapture"]
    finally:
        await agent.desk.close()
        agent.spool.close()


async def _taken(agent: Agent, offer: object) -> str:
    try:
        return str(await agent.take(offer))  # type: ignore[arg-type]
    except BadCapture as error:
        return type(error).__name__


async def test_how_long_the_room_lasts(bench: Bench) -> None:
    now = datetime.now(UTC)

    async def measured(policy: Policy, at: datetime) -> forecast.Forecast | None:
        return await bench.desk.read(lambda journal: forecast.measured(journal, policy, at))

    assert await measured(Policy(), now) is None, "too young"
    found = await measured(Policy(), now + timedelta(hours=12))
    assert found is not None
    assert found.a_day == 2 * 12  # 4 + 8 bytes in half a day
    assert found.full_in(24) == 86400.0
    assert room_view(Room(100, 50, 26), found)["full_in"] == 86400.0
    assert forecast.Forecast(-5).full_in(100) is None, "it empties"
    later = await measured(Policy(), now + timedelta(days=3))
    assert later is not None
    assert later.a_day == 0


def test_the_room_and_the_disk_in_words() -> None:
    config = parse(TOML.format(state="/nowhere"))
    summary = {"checkpoint": {"contradicted_by": []}, "aside": {"refused": 0, "quarantined": 0}}

    def ids(room: Room, **more: object) -> set[str]:
        found = problems.problems(config, summary, room, STAMP, [], **more)  # type: ignore[arg-type]
        return {one["id"] for one in found} - {"driver.none", "uplink.none"}

    plenty = Room(100, 90, 10)
    assert ids(plenty, full_in=None) == set()
    assert ids(plenty, full_in=6 * 3600.0) == {"room.soon"}
    assert ids(Room(100, 5, 10), full_in=1.0) == {"room.full"}
    bad = Ground("ext4", read_only=True, disks=(Disk("sda", "X", ("12 errors",)),), troubles=())
    assert ids(plenty, ground=bad) == {"disk.read_only", "disk.errors"}


async def test_a_notice_says_since_when_it_stands(listening: Bench) -> None:
    _, told = await listening.ask("/status")
    (uplink,) = [one for one in told["problems"] if one["id"] == "uplink.none"]
    assert uplink["since"].endswith("Z")
    assert told["room"]["a_day"] is None


async def test_captures_that_make_the_uplink_fail_are_a_notice_until_they_are_sent_or_seen_to(bench: Bench) -> None:
    uplink, station = BenchUplink(), bench.station
    station.connect(uplink)
    uplink.poison = {"CLIP1.MP4": ValueError("a bug of ours"), "CLIP2.MP4": ValueError("a bug of ours")}
    one, other = await station.holdings()

    async def told(count: int) -> bool:
        found = [notice for notice in (await Live(bench).status())["problems"] if notice["id"] == "captures.not_sent"]
        seen.extend(found)
        return len(found) == bool(count) and all(f"{count} capture" in notice["detail"] for notice in found)

    seen: list[dict[str, str]] = []
    await station.send(until=lambda: told(2))
    assert all("a bug of ours" in notice["detail"] and "support-bundle" in notice["todo"] for notice in seen)
    assert {notice["state"] for notice in seen} == {"problem"}
    await station.desk.write(lambda journal: journal.refuse(one.id, "a person decides"))
    station.forward.nudge()
    await station.send(until=lambda: told(1))
    uplink.poison.clear()
    await station.send(until=lambda: told(0))
    assert (await station.desk.read(lambda journal: journal.get(other.id))).standing is Standing.RECEIPTED
