"""Only the kernel's table says whether a volume is there; on real mounts: empty, swapped, read-only, pulled."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent import mounts as table
from agent.errors import DeviceRefused
from agent.mounts import Mount, mount_at, mounts
from drivers.body_worn.usb_volume import writing
from drivers.body_worn.usb_volume.emulator import FaultyWire
from drivers.body_worn.usb_volume.volume import look
from tests.drivers.usb_volume.desk import Desk, empty, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from structlog.typing import EventDict

    from drivers.body_worn.usb_volume import UsbVolume
    from drivers.body_worn.usb_volume.emulator import VolumeEmulator

CLIP = "DCIM/100EVDCK/CLIP0001.MP4"

LINES = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
this line is of a form that nobody knows
36 35 98:0 /mnt1 /mnt/with\040space\134and\011tab rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue
37 35 8:17 / /run/evidock-media/sdb1 ro,nosuid,nodev,noexec - vfat /dev/sdb1 ro,uid=990,tz=UTC
38 35 8:33 / /run/evidock-media/sdb1 rw,nosuid - vfat /dev/sdc1 rw
"""


def test_the_kernels_table_is_read_as_proc_5_describes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_bytes(LINES)
    monkeypatch.setattr(table, "MOUNTINFO", tmp_path / "mountinfo")
    assert [mount.id for mount in mounts()] == [22, 36, 37, 38]
    strange = mount_at(Path("/mnt/with space\\and\ttab"))
    assert strange is not None
    assert (strange.file_system, strange.source, strange.major) == ("ext3", "/dev/root", 98)
    top = mount_at(Path("/run/evidock-media/sdb1"))
    assert top is not None
    assert (top.id, top.read_only) == (38, False)  # the one that was mounted over the other
    assert [mount.read_only for mount in mounts()] == [False, False, True, False]
    assert mount_at(tmp_path) is None
    assert [mount.shifts_times for mount in mounts()] == [False, False, False, True]


def test_a_mount_whose_device_was_pulled_out_is_known_by_its_number() -> None:
    def made(major: int, source: str) -> Mount:
        return Mount(1, major, 0, b"/", b"/x", "vfat", source, frozenset())

    assert not made(4000, "/dev/sdb1").block_device_is_there
    assert not made(0, "/dev/evidock-no-such-node").block_device_is_there
    assert made(0, "tmpfs").block_device_is_there


async def test_a_mount_point_on_which_nothing_is_mounted_is_no_camera(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    camera.add(b"left in the folder below the mount point")
    desk = Desk()
    driver = dock(must_be_mountpoint=True)
    async with running(driver, desk):
        await empty(driver, camera.mount)
        await asyncio.sleep(0.2)
    assert not desk.devices
    assert not desk.offered


async def test_a_plain_folder_that_is_empty_is_no_camera(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    camera.pull()
    assert camera.mount.is_dir()
    desk = Desk()
    async with running(dock(), desk):
        await asyncio.sleep(0.2)
    assert not desk.devices


async def test_a_place_that_is_a_link_is_refused(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], tmp_path: Path, log: list[EventDict]
) -> None:
    camera.add(b"clip")
    (tmp_path / "link").symlink_to(camera.mount)

    def refused() -> list[str]:
        return [line["error"] for line in log if line["event"] == "volume_refused"]

    desk = Desk()
    async with running(dock(mount=tmp_path / "link"), desk):
        await desk.until(refused)
        await asyncio.sleep(0.2)
    assert not desk.devices
    assert refused() == [f"{tmp_path / 'link'} is a symbolic link"]


# --- on a real mount ------------------------------------------------------------------------------------------------


def run(*words: str | Path) -> None:
    subprocess.run(words, check=True)


def tmpfs(path: Path, *options: str) -> None:
    run("mount", "-t", "tmpfs", "-o", ",".join(("size=64m", *options)), "card", path)


async def unmounted(path: Path) -> None:
    """Unmount it; it is busy only for as long as a look lasts."""
    async with asyncio.timeout(30):
        while await (await asyncio.create_subprocess_exec("umount", path)).wait():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "dock"
    path.mkdir()
    try:
        tmpfs(path)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting needs root")
    yield path
    while mount_at(path):
        run("umount", "-l", path)


def put(root: Path, content: bytes, name: str = CLIP) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (1795330000, 1795330000))


async def test_it_is_found_by_its_mount_alone_and_again_after_each_plugging(
    mount: Path, dock: Callable[..., UsbVolume]
) -> None:
    put(mount, b"one")
    desk = Desk()
    # With a pause of an hour, it is the kernel's word that wakes us.
    async with running(dock(must_be_mountpoint=True, rescan=3600.0), desk):
        await desk.until(lambda: desk.held)
        await unmounted(mount)
        await asyncio.sleep(0.1)
        tmpfs(mount)
        put(mount, b"two", "DCIM/100EVDCK/CLIP0002.MP4")
        run("mount", "-o", "remount,ro", mount)
        await desk.until(lambda: len(desk.held) == 2)


async def test_unmounted_in_mid_copy(mount: Path, dock: Callable[..., UsbVolume], short_blocks: int) -> None:
    put(mount, b"a" * 5000)
    desk = Desk()
    wire = FaultyWire("rrG", pull=lambda: run("umount", "-l", mount))
    async with running(dock(must_be_mountpoint=True, wire=wire), desk):
        await desk.until(desk.gone)
        assert list(desk.parts.values()) == [b"a" * 2000]
        tmpfs(mount)
        put(mount, b"a" * 5000)
        await desk.until(lambda: desk.held)
    assert desk.opened == [(CLIP, 0), (CLIP, 2000)]


async def test_pulled_out_while_the_mount_still_stands(
    mount: Path, dock: Callable[..., UsbVolume], short_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sign is a failed read; only the kernel's list of block devices tells it from a bad sector."""
    put(mount, b"a" * 5000)
    pulled = False

    class Pulled(FaultyWire):
        def read(self, fd: int, length: int, offset: int) -> bytes:
            nonlocal pulled
            pulled = offset == 2000
            return super().read(fd, length, offset)

    monkeypatch.setattr(Mount, "block_device_is_there", property(lambda _: not pulled))
    desk = Desk()
    driver = dock(must_be_mountpoint=True, wire=Pulled("rrE"))
    async with running(driver, desk):
        await desk.until(desk.gone)
        await empty(driver, mount)
        assert len(desk.opened) == 1
        pulled = False
        await desk.until(lambda: desk.opened[-1] == (CLIP, 2000))


async def test_swapped_for_another_volume_that_looks_the_same_between_offer_and_reading(
    mount: Path, dock: Callable[..., UsbVolume], tmp_path: Path
) -> None:
    """Device number, inode number and mount id are all given out again: only the hold on the root tells them apart."""
    put(mount, b"of the first")
    first = look(mount, must_be_mountpoint=True)

    class Slow(Desk):
        async def take(self, offer, /):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            if not self.offered:
                run("umount", "-l", mount)
                tmpfs(mount)
                put(mount, b"of another 1")
            return await super().take(offer)

    desk = Slow()
    async with running(dock(must_be_mountpoint=True), desk):
        await desk.until(desk.gone)
        await desk.until(lambda: desk.held)
    assert list(desk.held.values()) == [b"of another 1"]
    assert desk.opened == [(CLIP, 0), (CLIP, 0)]
    assert first is not None


async def test_what_is_mounted_inside_the_volume_does_not_belong_to_it(
    mount: Path, dock: Callable[..., UsbVolume], log: list[EventDict]
) -> None:
    put(mount, b"clip")
    inner = mount / "DCIM/101OTHER"
    inner.mkdir()
    tmpfs(inner)
    put(inner, b"of another file system", "CLIP0001.MP4")
    desk = Desk()
    async with running(dock(must_be_mountpoint=True), desk):
        await desk.until(lambda: desk.offered > 2)
    run("umount", inner)
    assert desk.keys() == [CLIP]
    refused = {line["key"]: line["why"] for line in log if line["event"] == "entry_refused"}
    assert refused == {"DCIM/101OTHER": "another file system is mounted here"}


async def test_a_size_that_no_json_reader_keeps_exact_is_refused(
    mount: Path, dock: Callable[..., UsbVolume], log: list[EventDict]
) -> None:
    put(mount, b"")
    with suppress(OSError):
        os.truncate(mount / CLIP, 1 << 53)
    if (mount / CLIP).stat().st_size != 1 << 53:
        pytest.skip("this file system makes no file of 2^53 bytes")
    put(mount, b"clip", "DCIM/100EVDCK/CLIP0002.MP4")
    desk = Desk()
    async with running(dock(must_be_mountpoint=True), desk):
        await desk.until(lambda: desk.offered > 2)
    assert desk.keys() == ["DCIM/100EVDCK/CLIP0002.MP4"]
    assert [line["why"] for line in log if line["event"] == "entry_refused"] == [
        f"says that it has {1 << 53} bytes, more than the whole volume"
    ]


async def test_read_only_but_while_releasing_with_one_remount_for_a_burst(
    mount: Path, dock: Callable[..., UsbVolume], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "LINGER_SECONDS", 1.5)
    for number in range(20):
        put(mount, b"clip", f"DCIM/100EVDCK/CLIP{number:04d}.MP4")
    run("mount", "-o", "remount,ro", mount)
    wire = FaultyWire()
    desk = Desk()
    driver = dock(must_be_mountpoint=True, wire=wire)
    async with running(driver, desk):
        await desk.until(lambda: len(desk.held) == 20)
        assert "read-only" in (await driver.health())[str(mount)]
        for offer in list(desk.offers.values()):
            await offer.release()
        assert not list((mount / "DCIM/100EVDCK").iterdir())
        await desk.until(lambda: mount_at(mount).read_only)  # type: ignore[union-attr]
    calls = [call for call in wire.calls if call in ("rw", "ro", "unlink", "sync")]
    assert calls == ["rw", *["unlink", "sync"] * 20, "ro"]


async def test_stopped_while_it_is_writable_it_is_put_back(
    mount: Path, dock: Callable[..., UsbVolume], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "LINGER_SECONDS", 3600.0)
    put(mount, b"clip")
    run("mount", "-o", "remount,ro", mount)
    desk = Desk(release=True)
    async with running(dock(must_be_mountpoint=True), desk):
        await desk.until(lambda: desk.released)
        assert not mount_at(mount).read_only  # type: ignore[union-attr]
    assert mount_at(mount).read_only  # type: ignore[union-attr]


async def test_a_volume_that_may_not_be_made_writable_keeps_everything(
    mount: Path, dock: Callable[..., UsbVolume]
) -> None:
    put(mount, b"clip")
    run("mount", "-o", "remount,ro", mount)

    class Forbidden(FaultyWire):
        def remount(self, mount_point: str, how: str) -> str:
            return f"{mount_point}: must be superuser to use mount -o {how}"

    desk = Desk()
    async with running(dock(must_be_mountpoint=True, wire=Forbidden()), desk):
        await desk.until(lambda: desk.held)
        with pytest.raises(DeviceRefused, match="must be superuser") as refused:
            await desk.offers[CLIP].release()
    assert "nothing was deleted" in refused.value.what_to_do
    assert (mount / CLIP).read_bytes() == b"clip"
