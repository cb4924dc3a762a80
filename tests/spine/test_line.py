"""Room that becomes free goes round: to the device that was refused first, and then to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.errors import SpoolFull
from agent.ingest.line import Line
from agent.spool import Room
from agent.testing.devices import BenchDevice, some_bytes

if TYPE_CHECKING:
    from agent.testing.station import Station

TOTAL = 16_000


class Disk:
    """A spool of which so much is left, and a clock."""

    def __init__(self) -> None:
        self.left, self.now, self.asked = 0, 0.0, 0
        self.line = Line(self.room, clock=lambda: self.now)

    def room(self) -> Room:
        """What the file system says."""
        self.asked += 1
        return Room(TOTAL, self.left, 0)

    def gives(self, device: str, length: int = 100) -> bool:
        """Whether it gets room; then it takes it."""
        try:
            self.line.require(device, length)
        except SpoolFull:
            return False
        self.left -= length
        return True


def test_each_comes_once_before_any_comes_again() -> None:
    disk = Disk()
    assert not any(disk.gives(device) for device in "abc")
    came = []
    for _ in range(6):
        disk.left += 100
        # The last looks first and most often.
        came += [device for device in "cccba" if disk.gives(device)]
        came += [device for device in "cba" if disk.gives(device)]
    assert came == list("abcabc")


def test_who_finds_room_beside_what_the_others_wait_for_need_not_wait() -> None:
    disk = Disk()
    disk.left = 50
    assert not disk.gives("a")
    assert not disk.gives("b", 50)
    disk.left = 160
    assert disk.gives("c", 10), "50 and 100 are waited for"
    assert not disk.gives("c", 10)
    assert disk.gives("b", 50)
    assert disk.gives("a")


def test_who_does_not_ask_again_loses_its_place() -> None:
    disk = Disk()
    assert not disk.gives("a")
    disk.now = 20.0
    assert not disk.gives("b")
    disk.left = 100
    assert not disk.gives("b")
    disk.now = 31.0
    assert disk.gives("b")


def test_a_device_that_was_taken_out_is_waited_for_by_nobody_wherever_it_stood() -> None:
    disk = Disk()
    assert not any(disk.gives(device) for device in "abc")
    disk.now = 20.0
    assert not disk.gives("a")
    assert not disk.gives("c")
    disk.now, disk.left = 31.0, 200
    assert disk.gives("c"), "b is waited for no more, and there is room for a"


def test_nobody_waits_for_one_that_wants_a_great_part_of_the_spool() -> None:
    disk = Disk()
    assert not disk.gives("a", TOTAL // 16 + 1)
    disk.left = 100
    assert disk.gives("b")


def test_the_disk_is_asked_once_for_all_that_come_in_one_moment() -> None:
    disk = Disk()
    disk.left = 1000
    assert disk.gives("a", 100)
    disk.left += 100  # what was let in counts by itself, whether it is on the disk yet or not
    asked = disk.asked
    assert all(disk.gives("a", 100) for _ in range(9))
    assert disk.asked == asked
    assert not disk.gives("a", 200), "900 were let in"
    assert disk.asked == asked + 1, "where room is short the disk itself says so"


def test_the_disk_is_asked_again_after_a_tenth_of_a_second_and_while_anybody_waits() -> None:
    disk = Disk()
    disk.left = 1000
    assert disk.gives("a", 100)
    disk.left, disk.now = 0, 0.1
    assert not disk.gives("a", 100), "somebody else has filled it"
    disk.left, disk.now = 300, 0.11
    assert not disk.gives("b", 250)
    disk.left = 0
    assert not disk.gives("a", 100)


@pytest.mark.parametrize("length", [100, 5_000_000])
async def test_what_a_purge_makes_room_for_goes_to_the_device_that_waited_longest(
    station: Station, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    one, two = BenchDevice("bench:one"), BenchDevice("bench:two")
    for device in (one, two):
        for name in "ab":
            device.record(name, some_bytes(length, f"{device.device.id}{name}"))
    left = [0]
    monkeypatch.setattr(station.spool, "room", lambda: Room(1 << 40, left[0], 0))
    station.ingest._line = Line(station.spool.room)
    for device in (one, two):
        with pytest.raises(SpoolFull):
            await station.take(device.offer("a"))
    left[0] = length
    with pytest.raises(SpoolFull, match="for which others have waited longer"):
        await station.take(two.offer("a"))
    await station.take(one.offer("a"))
    with pytest.raises(SpoolFull, match="for which others have waited longer"):
        await station.take(one.offer("b"))
    await station.take(two.offer("a"))
