"""What the dock's screen is told of a volume: nothing is complete before all of it was offered, in this docking."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from agent.capture import Standing
from agent.driver import ShowsBays
from agent.errors import DeviceRefused
from agent.testing.rig import running, until
from drivers.body_worn.usb_volume import staying
from drivers.body_worn.usb_volume.emulator import FaultyWire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from agent.capture import Device, Observation
    from agent.driver import Bay, Offer
    from drivers.body_worn.usb_volume import UsbVolume
    from drivers.body_worn.usb_volume.emulator import VolumeEmulator


class Hand:
    """An agent that takes when the test lets it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.fails: set[str] = set()
        self.release: set[str] = set()
        self.sights = 0

    async def sight(self, _: Device, /) -> None:
        self.sights += 1

    async def observe(self, observation: Observation, /) -> None:
        pass

    async def take(self, offer: Offer, /) -> Standing:
        await self.open.wait()
        if offer.capture.key in self.fails:
            raise DeviceRefused("it cannot be read")
        if offer.capture.key in self.release:
            await offer.release()
            return Standing.RELEASED
        return Standing.HELD


def only(driver: UsbVolume) -> Bay:
    assert isinstance(driver, ShowsBays)
    (bay,) = driver.bays()
    return bay


async def test_a_bay_from_empty_to_complete_and_back(camera: VolumeEmulator, dock: Callable[..., UsbVolume]) -> None:
    camera.pull()
    keys = [camera.add(b"film"), camera.add(b"another")]
    driver, hand = dock(), Hand()
    async with running(driver, hand):
        await asyncio.sleep(0.1)
        assert (only(driver).name, only(driver).device) == ("bay-1", None)
        camera.plug()
        await until(lambda: only(driver).offering)
        assert not only(driver).complete
        assert only(driver).device is not None
        assert (only(driver).offered_bytes, only(driver).answered_bytes) == (11, 0)
        hand.fails = {keys[0]}
        hand.open.set()
        await until(lambda: only(driver).complete)
        bay = only(driver)
        assert (bay.listed, bay.safe, bay.unexplained, bay.answered_bytes) == (2, 1, 1, 7)
        hand.fails = set()
        await until(lambda: only(driver).safe == 2)
        hand.open.clear()
        camera.add(b"a third one")
        await until(lambda: not only(driver).complete)
        hand.open.set()
        await until(lambda: only(driver).complete and only(driver).listed == 3)
        camera.pull()
        await until(lambda: only(driver).device is None)
        assert not only(driver).complete
        hand.open.clear()
        camera.plug()
        await until(lambda: only(driver).device is not None)
        assert not only(driver).complete, "what was complete was another docking"


async def test_what_waits_to_settle_is_not_complete(camera: VolumeEmulator, dock: Callable[..., UsbVolume]) -> None:
    camera.add(b"film")
    driver, hand = dock(settle=0.5), Hand()
    hand.open.set()
    async with running(driver, hand):
        await until(lambda: only(driver).device is not None)
        assert not only(driver).complete
        await until(lambda: only(driver).complete)
        assert only(driver).listed == only(driver).safe == 1


async def test_it_is_writable_while_it_is_released_and_stays_complete(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    key = camera.add(b"film")
    driver, hand = dock(), Hand()
    hand.open.set()
    async with running(driver, hand):
        await until(lambda: only(driver).complete)
        hand.release = {key}
        await until(lambda: only(driver).writable)
        assert only(driver).complete
        await until(lambda: not only(driver).writable and only(driver).listed == 0)
        assert only(driver).complete


async def test_a_volume_that_nobody_knows_says_so(dock: Callable[..., UsbVolume], tmp_path: Path) -> None:
    (tmp_path / "dock" / "RECORDS").mkdir(parents=True)
    driver = dock()
    async with running(driver, Hand()):
        await until(lambda: only(driver).trouble is not None)
        assert only(driver).todo
        assert not only(driver).complete


async def test_a_device_that_hangs_is_told(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it is written to: nobody need wait for a device that does not answer any more."""
    monkeypatch.setattr("drivers.body_worn.usb_volume.volume.HANGS_SECONDS", 0.3)
    camera.add(b"film")
    awake = threading.Event()

    class Hung(FaultyWire):
        def unlink(self, name: bytes, folder: int) -> None:
            awake.wait(20)
            super().unlink(name, folder)

    driver, hand = dock(wire=Hung()), Hand()
    hand.open.set()
    try:
        async with running(driver, hand):
            await until(lambda: only(driver).complete)
            assert driver.notices() == []
            hand.release = set(camera.captures())
            await until(lambda: only(driver).writable)
            await until(lambda: only(driver).trouble is not None)
            bay = only(driver)
            assert (bay.writable, bay.complete) == (False, False)
            (notice,) = driver.notices()
            assert (notice.id, notice.what) == ("device.hangs", f"bay {bay.name}")
            awake.set()
            await until(lambda: only(driver).trouble is None and not driver.notices())
            assert not camera.captures()
    finally:
        awake.set()


async def test_a_device_that_is_read_for_long_is_still_here(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staying, "STAY_SECONDS", 0.05)
    camera.add(b"film")
    driver, hand = dock(), Hand()
    async with running(driver, hand):
        await until(lambda: only(driver).offering)
        before = hand.sights
        await until(lambda: hand.sights > before + 2)
        hand.open.set()
