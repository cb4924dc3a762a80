"""Unplugged, swapped, unreadable, changed under our hands: what is held is whole and of one source, or is not held."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent.capture import Device
from agent.errors import BadCapture, DeviceGone, DeviceRefused
from agent.mounts import Mount
from drivers.body_worn.usb_volume import volume
from drivers.body_worn.usb_volume.blocks import Block
from drivers.body_worn.usb_volume.clip import described
from drivers.body_worn.usb_volume.emulator import FaultyWire, VolumeEmulator
from drivers.body_worn.usb_volume.volume import Ground, Volume, look
from drivers.body_worn.usb_volume.walk import Entry
from firmware_specs.formats.layout import layout
from tests.drivers.usb_volume.desk import Desk, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.driver import Offer
    from drivers.body_worn.usb_volume import UsbVolume

BLOCKS = 6


@pytest.fixture(autouse=True)
def the_kernel_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "UNPLUG_SECONDS", 0.02)


@pytest.mark.parametrize("letter", ["G", "N"])
@pytest.mark.parametrize("block", range(BLOCKS))
async def test_unplugged_at_any_block_nothing_short_is_held_and_the_rest_follows(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], short_blocks: int, block: int, letter: str
) -> None:
    content = os.urandom(BLOCKS * short_blocks - 1)
    name = camera.add(content)
    desk = Desk()
    async with running(dock(wire=FaultyWire("r" * block + letter, pull=camera.pull)), desk):
        await desk.until(desk.gone)
        assert not desk.held
        camera.plug()
        await desk.until(lambda: desk.held)
    assert list(desk.held.values()) == [content]
    assert desk.opened == [(name, 0), (name, block * short_blocks)]


async def test_another_camera_with_the_same_names_takes_its_place_in_mid_copy(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], tmp_path: Path, short_blocks: int
) -> None:
    name = camera.add(b"a" * 5000)
    other = VolumeEmulator(tmp_path / "dock", serial="BWC-0002")
    other.pulled.mkdir(exist_ok=True)
    path = other.pulled / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"b" * 5000)
    stamp = (camera.files / name).stat().st_mtime_ns
    os.utime(path, ns=(stamp, stamp))

    def swap() -> None:
        camera.pull()
        other.pulled.rename(camera.mount)

    desk = Desk()
    async with running(dock(wire=FaultyWire("rrG", pull=swap), device={"id": "bwc-1"}), desk):
        await desk.until(desk.gone)
        # The dock was told that only one device is ever put here, so nothing but the time of the bytes could tell
        # them apart; still, no block of the one was joined to a block of the other while one reading went on.
        assert desk.parts[next(iter(desk.parts))] == b"a" * 2000


async def test_another_camera_that_is_there_before_it_is_held_on_to_is_not_taken_for_the_one_that_was_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine seconds pass between the two; and the kernel gives the same numbers to the next device."""
    (tmp_path / "clip").write_bytes(b"the other one's")
    there = os.stat(tmp_path)  # noqa: PTH116 - as the driver asks
    mount = Mount(30, 8, 17, b"/", os.fsencode(tmp_path), "vfat", "/dev/sdb1", frozenset({"ro"}))
    block = Block(8, 17, "/dev/sdb1", usb=None, part=None, uuid="1A2B-3C4D")
    seen = Ground(tmp_path, (there.st_dev, there.st_ino), mount, block)
    monkeypatch.setattr(volume, "look", lambda *_, **__: replace(seen, block=replace(block, uuid="1A2B-3C4E")))
    found = Volume(seen, FaultyWire(""))
    with pytest.raises(DeviceGone, match="another volume"):
        async with found.held():
            pass
    assert found.gone
    with pytest.raises(DeviceGone), Volume(seen, FaultyWire("")).root():
        pass


async def test_the_plug_is_pulled_while_somebody_reads(camera: VolumeEmulator, dock: Callable[..., UsbVolume]) -> None:
    content = os.urandom(48 << 20)
    name = camera.add(content)
    desk = Desk()
    pulled = asyncio.create_task(asyncio.to_thread(camera.pull_when_read, name, 60.0))
    await asyncio.sleep(0.1)
    # What comes late leaves the one who pulls time for it: all would lie in memory, and be read in a moment.
    async with running(dock(wire=FaultyWire("D" * 15)), desk):
        assert await pulled
        await desk.until(desk.gone)
        camera.plug()
        await desk.until(lambda: desk.held)
    assert list(desk.held.values()) == [content]
    assert [key for key, _ in desk.opened] == [name, name]


async def test_a_bad_sector_is_named_and_the_others_go_on(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], short_blocks: int
) -> None:
    content = os.urandom(5000)
    name = camera.add(content)
    desk = Desk()
    wire = FaultyWire("rrEEE")
    async with running(dock(wire=wire), desk):
        await desk.until(lambda: len(desk.errors[name]) == 3)
        error = desk.errors[name][0]
        assert isinstance(error, DeviceRefused)
        assert "byte 2000" in str(error)
        other = camera.add(b"small")
        await desk.until(lambda: len(desk.held) == 2)
    assert {origin.key: held for origin, held in desk.held.items()} == {name: content, other: b"small"}
    assert desk.opened[1] == (name, 2000)


async def test_a_device_that_gives_few_bytes_at_a_time_is_read_all_the_same(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], short_blocks: int
) -> None:
    contents = [os.urandom(length) for length in (0, 1, 999, 1000, 1001, 5000)]
    for content in contents:
        camera.add(content)
    desk = Desk()
    async with running(dock(wire=FaultyWire("s" * 60)), desk):
        await desk.until(lambda: len(desk.held) == len(contents))
    assert sorted(desk.held.values()) == sorted(contents)


async def test_a_second_reading_asks_the_device_again(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], short_blocks: int
) -> None:
    content = os.urandom(3500)
    name = camera.add(content)
    wire = FaultyWire("rrrr" + "rFrr")
    desk = Desk()
    async with running(dock(wire=wire), desk):
        await desk.until(lambda: desk.held)
        second = b"".join([block async for block in desk.offers[name].open(0)])
    assert list(desk.held.values()) == [content]
    assert [at for at in range(3500) if second[at] != content[at]] == [1000]
    assert [call for call in wire.calls if call in ("forget", "read")] == ["forget", *["read"] * 4, "forget"] * 2


@pytest.mark.parametrize("change", ["longer", "shorter", "later"])
async def test_a_file_that_changes_while_it_is_read_is_put_aside_and_taken_anew(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], short_blocks: int, change: str
) -> None:
    first, last = os.urandom(5000), os.urandom(6000 if change == "longer" else 4000 if change == "shorter" else 5000)
    name = camera.add(first)

    class Writer(FaultyWire):
        def read(self, fd: int, length: int, offset: int) -> bytes:
            if len(self.calls) == 3:
                path = camera.files / name
                path.write_bytes(last)
                os.utime(path, (2e9, 2e9))
            return super().read(fd, length, offset)

    desk = Desk()
    async with running(dock(wire=Writer()), desk):
        await desk.until(lambda: desk.held)
    assert list(desk.held.values()) == [last]
    assert isinstance(desk.errors[name][0], BadCapture)
    assert "changed while it was read" in str(desk.errors[name][0])
    assert len(desk.aside) == 1


async def stale(camera: VolumeEmulator, driver: UsbVolume, name: str) -> Offer:
    """An offer from a moment ago."""
    desk = Desk()
    async with running(driver, desk):
        await desk.until(lambda: desk.held)
    return desk.offers[name]


async def test_what_became_a_link_or_a_pipe_since_it_was_offered_is_not_read(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], tmp_path: Path
) -> None:
    name = camera.add(b"clip")
    offer = await stale(camera, dock(), name)
    secret = tmp_path / "secret"
    secret.write_bytes(b"clip")
    path = camera.files / name
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(BadCapture, match="became a link"):
        await anext(offer.open(0))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BadCapture, match="no plain file"):
        await anext(offer.open(0))
    path.unlink()
    path.parent.rename(tmp_path / "elsewhere")
    path.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadCapture, match="became a link"):
        await anext(offer.open(0))
    with pytest.raises(DeviceRefused, match="became a link"):
        await offer.release()


async def test_what_was_deleted_since_it_was_offered_is_said_to_be(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    name = camera.add(b"clip")
    offer = await stale(camera, dock(), name)
    (camera.files / name).unlink()
    with pytest.raises(DeviceRefused, match="No such file"):
        await anext(offer.open(0))


async def test_what_changed_since_it_was_offered_is_not_released(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    name = camera.add(b"clip")
    offer = await stale(camera, dock(), name)
    camera.add(b"another clip", name)
    with pytest.raises(DeviceRefused, match="stays on the device"):
        await offer.release()
    assert list(camera.captures()) == [name]


async def test_a_deletion_that_the_device_does_not_confirm_ends_all_releases(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    name, other = camera.add(b"one"), camera.add(b"two")
    desk = Desk()
    async with running(dock(wire=FaultyWire(syncs="E")), desk):
        await desk.until(lambda: len(desk.held) == 2)
        with pytest.raises(DeviceRefused):
            await desk.offers[name].release()
        # The next fsync would report success over what was lost, so nobody may ask it.
        with pytest.raises(DeviceRefused, match="did not confirm"):
            await desk.offers[name].release()
        with pytest.raises(DeviceRefused, match="did not confirm"):
            await desk.offers[other].release()
    assert list(camera.captures()) == [other]


async def test_a_deletion_that_fails_leaves_the_capture(camera: VolumeEmulator, dock: Callable[..., UsbVolume]) -> None:
    name = camera.add(b"one")
    desk = Desk()
    async with running(dock(wire=FaultyWire(unlinks="R")), desk):
        await desk.until(lambda: desk.held)
        with pytest.raises(DeviceRefused, match="Read-only"):
            await desk.offers[name].release()
        assert list(camera.captures()) == [name]
        await desk.offers[name].release()
    assert camera.captures() == {}


@pytest.mark.parametrize("script", [{"unlinks": "G"}, {"syncs": "G"}])
async def test_unplugged_while_it_is_released_it_is_released_the_next_time(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], script: dict[str, str]
) -> None:
    camera.add(b"one")
    desk = Desk(release=True)
    async with running(dock(wire=FaultyWire(**script, pull=camera.pull)), desk):
        await desk.until(lambda: not (camera.mount / "DCIM").exists())
        camera.plug()
        await desk.until(lambda: not camera.captures())
    assert len(desk.held) == 1


async def test_a_device_that_hangs_holds_up_itself_alone(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], tmp_path: Path, short_blocks: int
) -> None:
    for _ in range(10):
        camera.add(os.urandom(5000))
    other = VolumeEmulator(tmp_path / "other")
    other.add(b"clip")
    other.plug()
    awake = threading.Event()

    class Hung(FaultyWire):
        def read(self, fd: int, length: int, offset: int) -> bytes:
            awake.wait()
            return super().read(fd, length, offset)

    desk, beside = Desk(), Desk()
    try:
        async with asyncio.timeout(60.0):
            async with running(dock(wire=Hung()), desk), running(dock(mount=other.mount), beside):
                await desk.until(lambda: len(desk.opened) >= 4)
                await beside.until(lambda: beside.held)
        assert not awake.is_set()  # it ended although its device hangs
        assert not desk.held
    finally:
        awake.set()


async def test_what_hangs_for_ever_gives_its_bay_back_when_it_is_taken_out(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may keep back what was asked of it, also when its device is gone."""
    monkeypatch.setattr("drivers.body_worn.usb_volume.volume.HANGS_SECONDS", 0.2)
    monkeypatch.setattr("drivers.body_worn.usb_volume.staying.STAY_SECONDS", 0.05)
    camera.add(b"hangs")
    other = VolumeEmulator(tmp_path / "other")
    name = other.add(b"goes on")
    awake = threading.Event()

    class Hung(FaultyWire):
        def read(self, fd: int, length: int, offset: int) -> bytes:
            block = super().read(fd, length, offset)
            if block == b"hangs":
                awake.wait(30)
            return block

    desk = Desk()
    try:
        async with running(dock(wire=Hung(), device={"id": "bwc-1"}), desk) as task:
            await desk.until(lambda: desk.opened)
            await asyncio.sleep(0.5)
            assert not task.done()
            assert not desk.held
            camera.pull()
            other.plug()
            other.mount.rename(camera.mount)
            await desk.until(lambda: desk.keys() == [name])
            assert not awake.is_set()
    finally:
        awake.set()


async def test_what_went_with_its_whole_folder_is_released(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    name = camera.add(b"one")
    offer = await stale(camera, dock(), name)
    shutil.rmtree((camera.files / name).parent)
    await offer.release()


async def test_a_time_that_no_clock_could_have_said_is_kept_raw(camera: VolumeEmulator) -> None:
    ground = look(camera.files, must_be_mountpoint=False)
    assert ground is not None
    entry = Entry("DCIM/100EVDCK/CLIP0001.MP4", 1, 10**21, 0o100644)
    capture = described(Device("x", "body_worn", "y"), entry, layout("dcf"), volume.Volume(ground, FaultyWire()))
    assert capture.began_at is None
    assert capture.claims["mtime_ns"] == "1" + "0" * 21


async def test_a_refused_release_is_the_devices_fault(camera: VolumeEmulator, dock: Callable[..., UsbVolume]) -> None:
    name = camera.add(b"one")
    offer = await stale(camera, dock(), name)
    camera.pull()
    with pytest.raises(DeviceGone):
        await offer.release()
