"""A real FAT32 card, mounted by the kernel where it has vfat, else by fusefat; mtools and fsck judge it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent.capture import Priority
from agent.errors import DeviceRefused
from agent.mounts import mount_at
from drivers.body_worn.usb_volume.emulator import FatEmulator, FaultyWire, why_not
from tests.drivers.usb_volume.desk import Desk, empty, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from drivers.body_worn.usb_volume import UsbVolume

pytestmark = [
    pytest.mark.proves("body_worn.usb_volume", peer="dosfstools, mtools and fusefat make, mount and judge the card"),
    pytest.mark.skipif(why_not() is not None, reason=f"no FAT here: {why_not()}"),
]

CLIPS = {
    "DCIM/100BWCAM/BWC_0001.MP4": os.urandom(3_000_001),
    "DCIM/100BWCAM/BWC_0002.MP4": os.urandom(1 << 20),
    "DCIM/100BWCAM/BWC_0002.THM": b"thumbnail",
    "DCIM/100BWCAM/EMPTY001.MP4": b"",
    "DCIM/101BWCAM/2026_1122_101112_0001.MP4": os.urandom(70_000),
}


@pytest.fixture
def card(tmp_path: Path) -> Iterator[FatEmulator]:
    card = FatEmulator(tmp_path / "card.img", tmp_path / "dock")
    for name, content in CLIPS.items():
        card.add(name, content, locked=name.endswith("BWC_0001.MP4"))
    yield card
    card.pull()


@pytest.fixture
def bay(card: FatEmulator, dock: Callable[..., UsbVolume]) -> Callable[..., UsbVolume]:
    def make(*, wire: FaultyWire | None = None) -> UsbVolume:
        return dock(must_be_mountpoint=True, mount=card.mount, wire=wire)

    return make


async def test_every_capture_is_taken_as_it_was_put_on_the_card(
    card: FatEmulator, bay: Callable[..., UsbVolume]
) -> None:
    card.plug()
    desk = Desk()
    async with running(bay(), desk):
        await desk.until(lambda: len(desk.held) == len(CLIPS))
    assert {origin.key: held for origin, held in desk.held.items()} == CLIPS
    (device,) = desk.devices.values()
    assert device.spec == "generic_dcf"
    by_key = {origin.key: capture for origin, capture in desk.captures.items()}
    locked, plain = by_key["DCIM/100BWCAM/BWC_0001.MP4"], by_key["DCIM/100BWCAM/EMPTY001.MP4"]
    if locked.claims["file_system"] == "vfat":  # the kernel's; fusefat does not tell
        assert (locked.claims["attributes"], locked.priority) == ("RA", Priority.FLAGGED)
        assert (plain.claims["attributes"], plain.priority) == ("A", Priority.ROUTINE)
    film, thumbnail = by_key["DCIM/100BWCAM/BWC_0002.MP4"], by_key["DCIM/100BWCAM/BWC_0002.THM"]
    assert film.group == thumbnail.group == "DCIM/100BWCAM/0002"
    assert film.began_at is not None
    assert film.began_at.second % 2 == film.began_at.microsecond == 0  # as FAT keeps it
    assert (film.media_type, thumbnail.claims["role"]) == ("video/mp4", "sidecar")
    assert by_key["DCIM/101BWCAM/2026_1122_101112_0001.MP4"].claims["dcf_conformant"] is False


@pytest.mark.parametrize("block", [0, 1, 3])
async def test_pulled_in_mid_copy_and_put_back(
    card: FatEmulator, bay: Callable[..., UsbVolume], short_blocks: int, block: int
) -> None:
    name = "DCIM/100BWCAM/BWC_0001.MP4"
    for other in CLIPS.keys() - {name}:
        card.remove(other)
    card.plug()
    desk = Desk()
    async with running(bay(wire=FaultyWire("r" * block + "G", pull=card.pull)), desk):
        await desk.until(desk.gone)
        assert not desk.held
        assert mount_at(card.mount) is None
        card.plug()
        await desk.until(lambda: desk.held, 20.0)
    assert list(desk.held.values()) == [CLIPS[name]]
    assert desk.opened == [(name, 0), (name, block * short_blocks)]


@pytest.mark.skipif(shutil.which("fusefat") is None, reason="fusefat is not installed")
async def test_a_file_system_in_user_space_that_died_is_no_volume(
    card: FatEmulator, bay: Callable[..., UsbVolume]
) -> None:
    server = await asyncio.create_subprocess_exec(
        "fusefat", "-f", "-o", "ro", card.image, card.mount, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    desk = Desk()
    driver = bay()
    try:
        async with running(driver, desk):
            await desk.until(lambda: len(desk.held) == len(CLIPS))
            server.kill()
            await server.wait()
            await empty(driver, card.mount)
            assert mount_at(card.mount) is not None
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()


async def test_an_origin_is_the_same_after_each_mount(card: FatEmulator, bay: Callable[..., UsbVolume]) -> None:
    origins = set()
    for _ in range(2):
        card.plug()
        desk = Desk()
        async with running(bay(), desk):
            await desk.until(lambda desk=desk: len(desk.held) == len(CLIPS))
        origins |= desk.held.keys()
        card.pull()
    assert len(origins) == len(CLIPS)


async def test_released_it_is_gone_from_the_card_before_it_is_unmounted(
    card: FatEmulator, bay: Callable[..., UsbVolume]
) -> None:
    card.plug(writable=True)
    kept, name = "DCIM/100BWCAM/BWC_0002.MP4", "DCIM/100BWCAM/BWC_0001.MP4"
    wire = FaultyWire()
    desk = Desk()
    async with running(bay(wire=wire), desk):
        await desk.until(lambda: len(desk.held) == len(CLIPS))
        assert card.has(name)
        await desk.offers[name].release()
        assert not card.has(name)  # as mtools reads the image, behind the back of the file system that is mounted
        assert card.has(kept)
        await desk.offers[name].release()
    assert [call for call in wire.calls if call in ("unlink", "sync")] == ["unlink", "sync", "sync"]
    card.pull()
    card.plug()
    again = Desk()
    async with running(bay(), again):
        await again.until(lambda: len(again.held) == len(CLIPS) - 1)
    assert {origin.key: held for origin, held in again.held.items()} == {
        key: content for key, content in CLIPS.items() if key != name
    }
    card.pull()
    assert card.check() == ""


async def test_mounted_read_only_nothing_is_deleted_unless_it_can_be_remounted(
    card: FatEmulator, bay: Callable[..., UsbVolume]
) -> None:
    card.plug()
    name = "DCIM/100BWCAM/BWC_0001.MP4"
    desk = Desk()
    async with running(bay(), desk):
        await desk.until(lambda: len(desk.held) == len(CLIPS))
        try:
            await desk.offers[name].release()
        except DeviceRefused as refused:
            assert "read-only" in str(refused)  # noqa: PT017 - fusefat cannot be remounted, the kernel's vfat can
            card.pull()
            assert card.has(name)
        else:
            assert not card.has(name)
            await desk.until(lambda: (found := mount_at(card.mount)) is not None and found.read_only)
