"""The eight sentences of `agent.driver`, one test each."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from agent.driver import Driver, ReportsHealth
from agent.errors import BadCapture, CannotResume, DeviceGone
from drivers.body_worn.usb_volume.emulator import FaultyWire
from tests.drivers.usb_volume.desk import Desk, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.driver import Offer
    from drivers.body_worn.usb_volume import UsbVolume
    from drivers.body_worn.usb_volume.emulator import VolumeEmulator


async def read(offer: Offer, offset: int = 0) -> bytes:
    return b"".join([block async for block in offer.open(offset)])


def test_it_is_a_driver_that_reports_health(dock: Callable[..., UsbVolume]) -> None:
    driver: Driver = dock()
    assert isinstance(driver, ReportsHealth)


async def test_1_an_origin_is_stable_and_its_time_is_the_devices(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    name = camera.add(b"clip")
    moment = (camera.files / name).stat().st_mtime
    origins = set()
    for _ in range(2):
        desk = Desk()
        async with running(dock(), desk):
            await desk.until(lambda desk=desk: desk.held)
        origins |= desk.held.keys()
        camera.pull()
        camera.plug()
    (origin,) = origins
    assert (origin.device, origin.key) == ("bwc-1", name)
    assert origin.began_at is not None
    assert origin.began_at.timestamp() == moment


async def test_files_of_one_recording_are_counted_those_that_still_change_among_them(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    for name in ("DCIM/100MEDIA/CLIP0007.MP4", "DCIM/100MEDIA/CLIP0007.THM", "DCIM/100MEDIA/CLIP0008.MP4"):
        camera.add(b"film", name)
    desk = Desk()
    async with running(dock(), desk):
        await desk.until(lambda: len(desk.held) == 3)
    told = {one.key.rpartition("/")[2]: (one.group, one.members) for one in desk.captures.values()}
    assert told["CLIP0007.MP4"] == told["CLIP0007.THM"] == ("DCIM/100MEDIA/0007", 2)
    assert told["CLIP0008.MP4"] == ("DCIM/100MEDIA/0008", 1)


async def test_2_what_is_not_opened_is_not_read(camera: VolumeEmulator, dock: Callable[..., UsbVolume]) -> None:
    camera.add(b"clip")
    wire = FaultyWire()
    desk = Desk()
    async with running(dock(wire=wire), desk):
        await desk.until(lambda: desk.held)
        read_once = wire.calls.count("forget")
        await desk.until(lambda: desk.offered > 5)
    assert wire.calls.count("forget") == read_once


@pytest.mark.parametrize("offset", [0, 1, 999, 1000, 1001, 2500, 2501])
async def test_3_bytes_from_0_and_from_n_agree(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], short_blocks: int, offset: int
) -> None:
    content = os.urandom(2501)
    name = camera.add(content)
    desk = Desk()
    async with running(dock(), desk):
        await desk.until(lambda: desk.held)
        offer = desk.offers[name]
        assert await read(offer, offset) == content[offset:]
        with pytest.raises(CannotResume):
            await read(offer, 2502)


async def test_3_after_an_unplugging_the_copy_goes_on_where_it_stopped(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], short_blocks: int
) -> None:
    content = os.urandom(9999)
    name = camera.add(content)
    desk = Desk()
    async with running(dock(wire=FaultyWire("rrrrG", pull=camera.pull)), desk):
        await desk.until(desk.gone)
        assert not desk.held
        assert not camera.files.samefile(camera.mount)
        camera.plug()
        await desk.until(lambda: desk.held)
    assert desk.held[next(iter(desk.held))] == content
    (first, again) = desk.opened
    assert first == (name, 0)
    assert again == (name, 4000)  # no block is read twice, but for the one that was under way


async def test_4_release_is_idempotent_and_lasts(camera: VolumeEmulator, dock: Callable[..., UsbVolume]) -> None:
    name, other = camera.add(b"one"), camera.add(b"two")
    wire = FaultyWire()
    desk = Desk()
    async with running(dock(wire=wire), desk):
        await desk.until(lambda: len(desk.held) == 2)
        assert "unlink" not in wire.calls
        offer = desk.offers[name]
        await offer.release()
        await offer.release()
    assert list(camera.captures()) == [other]
    assert [call for call in wire.calls if call in ("unlink", "sync")] == ["unlink", "sync", "sync"]


async def test_5_a_name_that_is_used_again_is_another_capture(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    name = camera.add(b"of monday")
    desk = Desk(release=True)
    async with running(dock(), desk):
        await desk.until(lambda: desk.released)
        camera.add(b"of tuesday", name)
        await desk.until(lambda: len(desk.held) == 2)
    assert sorted(desk.held.values()) == [b"of monday", b"of tuesday"]
    assert {origin.key for origin in desk.held} == {name}


async def test_5_the_same_origin_that_appears_again_is_taken_again(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    name = camera.add(b"clip")
    before = (camera.files / name).stat()
    desk = Desk(release=True)
    async with running(dock(), desk):
        await desk.until(lambda: desk.released)
        back = camera.files / "MISC/back"
        back.write_bytes(b"clip")
        os.utime(back, ns=(before.st_mtime_ns, before.st_mtime_ns))
        back.rename(camera.files / name)
        await desk.until(lambda: len(desk.opened) == 2)
        await desk.until(lambda: not camera.captures())
    assert list(desk.held.values()) == [b"clip"]


async def test_6_run_goes_on_whatever_is_unplugged(camera: VolumeEmulator, dock: Callable[..., UsbVolume]) -> None:
    desk = Desk()
    async with running(dock(), desk) as task:
        for count in range(1, 4):
            camera.add(b"clip")
            await desk.until(lambda count=count: len(desk.held) == count)
            camera.pull()
            await asyncio.sleep(0.1)
            assert not task.done()
            camera.plug()


async def test_7_a_file_that_is_shorter_than_the_folder_says_is_not_held(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    name = camera.add(b"clip")
    desk = Desk()
    async with running(dock(wire=FaultyWire("SS")), desk):
        await desk.until(lambda: desk.held)
    assert [type(error) for error in desk.errors[name]] == [BadCapture, BadCapture]
    assert "ends at byte 0 of 4" in str(desk.errors[name][0])


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_8_a_reading_that_is_given_up_leaves_nothing_behind(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], short_blocks: int, after: int
) -> None:
    content = os.urandom(5000)
    name = camera.add(content)
    desk = Desk()
    async with running(dock(wire=FaultyWire("r" * (5 + after) + "DDDD")), desk):
        await desk.until(lambda: desk.held)
        offer = desk.offers[name]
        async with aclosing(offer.open(0)) as blocks:  # type: ignore[type-var]
            for _ in range(after):
                await anext(blocks)
            task = asyncio.create_task(anext(blocks))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await read(offer) == content


async def test_8_cancelled_at_any_moment_it_starts_again_and_takes_everything(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], short_blocks: int
) -> None:
    names = [camera.add(os.urandom(2500)) for _ in range(5)]
    desk = Desk(release=True)
    for milliseconds in range(0, 40, 2):
        async with running(dock(wire=FaultyWire()), desk):
            await asyncio.sleep(milliseconds / 1000)
    async with running(dock(), desk):
        await desk.until(lambda: not camera.captures())
    assert desk.keys() == sorted(names)


async def test_an_offer_of_a_volume_that_is_gone_says_so(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    name = camera.add(b"clip")
    desk = Desk()
    async with running(dock(), desk):
        await desk.until(lambda: desk.held)
    camera.pull()
    with pytest.raises(DeviceGone):
        await read(desk.offers[name])
    with pytest.raises(DeviceGone):
        await desk.offers[name].release()
    assert list(camera.captures()) == [name]
