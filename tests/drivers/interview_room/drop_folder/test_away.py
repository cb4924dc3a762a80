"""A share that is not there, goes away, comes back as another, or hangs: nothing is lost, mixed, or held up."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from agent.errors import DeviceGone
from agent.testing.probe import Probe, read_all
from agent.testing.rig import held, running, until
from agent.testing.station import Station
from drivers.interview_room.drop_folder.emulator import FaultyWire, RecorderEmulator
from drivers.interview_room.drop_folder.hands import Hands
from tests.drivers.interview_room.long import long

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.driver import Offer
    from drivers.interview_room.drop_folder import DropFolder

FILM = os.urandom(3 << 20)


@contextmanager
def mounted(path: Path) -> Iterator[None]:
    """A file system in memory: the kernel's table says the same of it as of a share."""
    path.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "room", str(path)], capture_output=True, check=False, text=True)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], capture_output=True, check=False)


async def test_an_empty_mount_point_is_no_recorder(made: Callable[..., DropFolder], tmp_path: Path) -> None:
    """PRT-4: what lies below a mount point is not the share, and is never read."""
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "left-behind.mp4").write_bytes(b"from before the share was mounted")
    driver, probe = made(share=tmp_path / "room"), Probe()
    async with running(driver, probe):
        await until(lambda: bool(driver.notices()))
        assert [one.id for one in driver.notices()] == ["room.folder_away"]
        assert "no share is mounted" in driver.notices()[0].detail
        with mounted(tmp_path / "room"):
            RecorderEmulator(tmp_path / "room").export("film.mp4", FILM)
            await until(lambda: "film.mp4" in probe.keys)
            assert not driver.notices()
        await until(lambda: bool(driver.notices()))
    assert probe.keys == {"film.mp4"}


async def test_swapped_in_the_middle_of_a_copy_nothing_is_mixed(
    made: Callable[..., DropFolder], tmp_path: Path
) -> None:
    """PRT-4: another share is mounted over it after the first block; same name, same length, same time."""
    room, read = tmp_path / "room", list[bytes]()
    other = os.urandom(len(FILM))

    async def look(offer: Offer) -> None:
        blocks = bytearray()
        async for block in offer.open(0):
            blocks += block
            if not read:
                read.append(b"")
                stack.enter_context(mounted(room))
                await asyncio.to_thread(fill, other)
        read.append(bytes(blocks))

    def fill(data: bytes) -> None:
        path = RecorderEmulator(room).export("film.mp4", data)
        os.utime(path, (1_700_000_000, 1_700_000_000))

    probe = Probe(look)
    with ExitStack() as stack:
        stack.enter_context(mounted(room))
        fill(FILM)
        async with running(made(share=room), probe):
            await until(lambda: len(read) >= 2)
    assert read[1] == other, "the first reading ended with an error, the second is of the other share alone"
    assert [type(error) for error in probe.failures] == [DeviceGone]


@pytest.mark.parametrize("fault", "TN")
async def test_a_connection_that_breaks_is_gone_on_with(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], tmp_path: Path, fault: str
) -> None:
    recorder.export("film.mp4", FILM)
    async with Station(tmp_path / "station") as station:
        async with running(made(wire=FaultyWire(f"rr{fault}")), station):
            await held(station, 1)
        assert (await station.only()).digest.length == len(FILM)
        await station.verify()


async def test_a_share_that_hangs_is_told_of_and_holds_up_nobody(
    recorder: RecorderEmulator, made: Callable[..., DropFolder]
) -> None:
    wire, probe = FaultyWire(), Probe()
    driver = made(wire=wire, answer=1.0)
    recorder.export("film.mp4", FILM)
    wire.hang()
    try:
        async with running(driver, probe):
            await until(lambda: bool(driver.notices()))
            assert "has not answered" in driver.notices()[0].detail
            assert not probe.offered
            wire.go_on()
            await until(lambda: "film.mp4" in probe.keys and not driver.notices())
            wire.hang()
            await until(lambda: bool(driver.notices()))
        # `running` has seen that it ended at once, while its threads still hang
    finally:
        wire.go_on()


async def test_a_hanging_folder_never_takes_more_than_its_threads() -> None:
    wire = FaultyWire()
    wire.hang()
    hands = Hands("room", 3, 0.05)
    for _ in range(20):
        with pytest.raises(DeviceGone, match="has not answered"):
            await hands.call(lambda: wire.look("/"))
    assert len(hands._threads) == 3
    wire.go_on()
    assert await hands.call(lambda: 5, within=10) == 5


@contextmanager
def fat(room: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A FAT image served by fusefat, a program that can be stopped."""
    if shutil.which("fusefat") is None or shutil.which("mkfs.fat") is None:
        pytest.skip("fusefat or mkfs.fat is not here")
    image = room.with_suffix(".image")
    room.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.fat", str(image)], capture_output=True, check=True)
    server = subprocess.Popen(["fusefat", "-f", "-o", "rw+", str(image), str(room)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if room.is_mount():
                break
            time.sleep(0.05)
        else:
            pytest.skip("fusefat cannot mount here")
        yield server
    finally:
        server.send_signal(signal.SIGCONT)
        subprocess.run(["fusermount", "-uz", str(room)], check=False, capture_output=True)
        server.wait(10)


@long
async def test_a_real_file_system_whose_server_was_stopped(made: Callable[..., DropFolder], tmp_path: Path) -> None:
    """A FUSE server that gets SIGSTOP hangs its callers in the kernel, as a dead NFS or SMB server does."""
    room, film, read = tmp_path / "room", FILM[:100_000], list[bytes]()

    async def look(offer: Offer) -> None:
        read.append(await read_all(offer, 0))

    with fat(room) as server:
        (room / "FILM.MP4").write_bytes(film)
        driver = made(share=room, answer=1.0, settle=0)
        async with running(driver, Probe(look)):
            await until(lambda: bool(read))
            server.send_signal(signal.SIGSTOP)
            await until(lambda: [one.id for one in driver.notices()] == ["room.folder_away"])
            server.send_signal(signal.SIGCONT)
            read.clear()
            await until(lambda: bool(read) and not driver.notices())
            assert read[0] == film
            server.send_signal(signal.SIGSTOP)
