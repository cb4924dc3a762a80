"""Half-written files: exactly one capture with the final content, never a beginning of it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from drivers.body_worn.usb_volume import dock as dock_module
from drivers.body_worn.usb_volume import settling as module
from drivers.body_worn.usb_volume.settling import Settling
from drivers.body_worn.usb_volume.walk import Entry
from tests.drivers.usb_volume.desk import Desk, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict

    from drivers.body_worn.usb_volume import UsbVolume
    from drivers.body_worn.usb_volume.emulator import VolumeEmulator

LONG_AGO, NOW, AHEAD = 315532800 * 10**9, 1795330000 * 10**9, 4102444800 * 10**9


def entry(length: int, mtime_ns: int = NOW, key: str = "DCIM/a") -> Entry:
    return Entry(key, length, mtime_ns, 0o100644)


@pytest.mark.parametrize("mtime_ns", [LONG_AGO, NOW, AHEAD])
def test_what_the_devices_clock_says_does_not_matter(mtime_ns: int) -> None:
    settling = Settling(5.0)
    assert settling.settled([entry(1, mtime_ns)], 100.0) == []
    assert settling.due(100.0) == 5.0
    assert settling.settled([entry(1, mtime_ns)], 104.9) == []
    assert settling.settled([entry(1, mtime_ns)], 105.0) == [entry(1, mtime_ns)]
    assert settling.due(105.0) is None


def test_every_change_begins_the_wait_anew() -> None:
    settling = Settling(5.0)
    for now, length in [(0.0, 1), (4.0, 2), (8.0, 3), (12.0, 3)]:
        assert settling.settled([entry(length)], now) == []
    assert settling.settled([entry(3)], 13.0) == [entry(3)]
    assert settling.settled([entry(3, NOW + 1)], 14.0) == []


def test_what_is_gone_is_forgotten() -> None:
    settling = Settling(5.0)
    settling.settled([entry(1)], 0.0)
    settling.settled([], 1.0)
    assert settling.due(1.0) is None
    assert settling.settled([entry(1)], 6.0) == []


def test_one_that_changes_for_ever_does_not_hold_up_the_others_and_is_reported() -> None:
    settling = Settling(1.0)
    for now in range(int(module.LATE_SECONDS) + 1):
        ready = settling.settled([entry(now, key="DCIM/a"), entry(7, key="DCIM/b")], float(now))
        assert [one.key for one in ready] == (["DCIM/b"] if now else [])
        assert settling.late(float(now)) == (["DCIM/a"] if now >= module.LATE_SECONDS else [])


def test_without_a_wait_nothing_is_remembered() -> None:
    assert Settling(0.0).settled([entry(1)], 0.0) == [entry(1)]


class Clock:
    """The driver's, which stands still until time passes: however busy the machine is, nothing settles by itself."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def passes(self, seconds: float) -> None:
        """Let the driver look at what is there, most likely, and then it is so much later."""
        await asyncio.sleep(0.1)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(dock_module, "time", made)
    return made


async def write_by_pieces(camera: VolumeEmulator, name: str, pieces: list[bytes], clock: Clock) -> None:
    for piece in pieces:
        camera.write(name, piece)
        await clock.passes(0.1)


async def write_preallocated(camera: VolumeEmulator, name: str, pieces: list[bytes], clock: Clock) -> None:
    path = camera.files / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as file:
        file.truncate(sum(map(len, pieces)))
        for piece in pieces:
            file.write(piece)
            await clock.passes(0.1)


async def write_and_rename(camera: VolumeEmulator, name: str, pieces: list[bytes], clock: Clock) -> None:
    path = camera.files / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with (camera.files / "MISC/part").open("wb", buffering=0) as file:
        for piece in pieces:
            file.write(piece)
            await clock.passes(0.1)
    (camera.files / "MISC/part").rename(path)


async def write_with_a_clock_of_1980(camera: VolumeEmulator, name: str, pieces: list[bytes], clock: Clock) -> None:
    for second, piece in enumerate(pieces):
        camera.write(name, piece)
        os.utime(camera.files / name, (315532800 + second * 2,) * 2)
        await clock.passes(0.1)


@pytest.mark.parametrize("writer", [write_by_pieces, write_preallocated, write_and_rename, write_with_a_clock_of_1980])
async def test_whoever_writes_it_and_however_one_capture_comes_of_it(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], writer: Callable[..., object], clock: Clock
) -> None:
    pieces = [os.urandom(3000) for _ in range(5)]
    desk = Desk()
    async with running(dock(settle=0.3), desk):
        await desk.until(lambda: desk.devices)
        await writer(camera, "DCIM/100EVDCK/CLIP0001.MP4", pieces, clock)  # type: ignore[misc]
        assert not desk.held
        async with asyncio.timeout(30):
            while not desk.held:
                await clock.passes(0.1)
        await clock.passes(0.4)
        await clock.passes(0.0)
    assert list(desk.held.values()) == [b"".join(pieces)]
    assert not desk.aside


async def test_a_file_is_waited_for_again_after_each_plugging(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], log: list[EventDict], clock: Clock
) -> None:
    def listed() -> list[tuple[int, int, int]]:
        lines = [line for line in log if line["event"] == "volume_listed"]
        return [(line["listed"], line["offered"], line["waiting"]) for line in lines]

    camera.add(b"clip")
    desk, driver = Desk(), dock(settle=0.4)
    async with running(driver, desk):
        await desk.until(lambda: listed() == [(1, 0, 1)])
        clock.now = 0.3
        camera.pull()
        await desk.until(lambda: driver.bays()[0].device is None)
        camera.plug()
        await desk.until(lambda: listed() == [(1, 0, 1)] * 2)
        clock.now = 0.6
        await asyncio.sleep(0.2)
        assert not desk.held
        clock.now = 0.8
        await desk.until(lambda: desk.held)
    assert listed()[-1] == (1, 1, 0)
