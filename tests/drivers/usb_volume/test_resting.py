"""Between two looks, however long: the device is here, and what found no room is offered again soon."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from agent.capture import Device, Standing
from agent.errors import SpoolFull
from drivers.body_worn.usb_volume import dock as looking
from drivers.body_worn.usb_volume import staying

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.capture import Observation
    from agent.driver import Offer
    from drivers.body_worn.usb_volume import UsbVolume
    from drivers.body_worn.usb_volume.emulator import VolumeEmulator


class Slow:
    """An intake whose answer to an offer takes long, as where sixty bays are full at once."""

    def __init__(self, *, full: bool) -> None:
        self.full, self.asked, self.sighted = full, Counter[str](), 0

    async def sight(self, _: Device, /) -> None:
        self.sighted += 1

    async def observe(self, _: Observation, /) -> None:
        pass

    async def take(self, offer: Offer, /) -> Standing:
        self.asked[offer.capture.key] += 1
        await asyncio.sleep(0.1)
        if self.full:
            raise SpoolFull("no room")
        return Standing.HELD

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not what():  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def hardly_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a look that took 0.1 s and found nothing new the next comes in a thousand seconds."""
    monkeypatch.setattr(looking, "REST", 10_000.0)
    monkeypatch.setattr(staying, "STAY_SECONDS", 0.02)


async def test_what_found_no_room_is_offered_again_however_long_it_waited(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "REST", 10.0)
    camera.add(b"clip")
    intake = Slow(full=True)
    task = asyncio.create_task(dock().run(intake))
    try:
        await intake.until(lambda: max(intake.asked.values(), default=0) > 1)
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_device_that_rests_is_here_until_it_is_pulled(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    camera.add(b"clip")
    intake = Slow(full=False)
    driver = dock()
    task = asyncio.create_task(driver.run(intake))
    try:
        await intake.until(lambda: bool(intake.asked))
        seen = intake.sighted
        await intake.until(lambda: intake.sighted > seen + 10)
        assert max(intake.asked.values()) == 1, "it was looked at again"
        camera.pull()
        await intake.until(lambda: not any(bay.device for bay in driver.bays()))
        gone = intake.sighted
        await asyncio.sleep(0.2)
        assert intake.sighted == gone
    finally:
        task.cancel()
        await asyncio.wait({task})


class Here:
    """A volume that stays, and a waker that rings all the time."""

    async def call(self, work: Callable[[], bool], /) -> bool:
        return work()

    def present(self) -> bool:
        return True

    async def wait(self, _heard: int, _seconds: float, /) -> bool:
        return True


async def test_it_is_here_too_while_no_ring_is_heard() -> None:
    intake, here = Slow(full=False), Here()
    await staying.rest(here, 0, 0.2, 1_000.0, here, Device("x", "body_worn", "bay-1"), intake)  # type: ignore[arg-type]
    assert intake.sighted > 1
