"""Two cameras with one serial number that are docked one after the other: nothing on the second one stays unread."""

from __future__ import annotations

import hashlib
import os
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agent.capture import Standing
from agent.config import Policy
from agent.driver import INDEX
from agent.testing.devices import some_bytes
from agent.testing.rig import running, until
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink
from drivers.body_worn.usb_volume.emulator import VolumeEmulator
from tests.drivers.usb_volume.desk import empty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.capture import Observation
    from drivers.body_worn.usb_volume import UsbVolume

MIB = 1 << 20
BWC = "bwc-1"
"""What both say that they are: as their serial number does, or the bay that the table of the driver names."""


def twins(dock: Path, *contents: tuple[bytes, bytes]) -> tuple[VolumeEmulator, VolumeEmulator]:
    """Serial number, names, times and lengths are alike, as of two cameras whose clocks begin anew in 2020."""
    one, other = VolumeEmulator(dock), VolumeEmulator(dock, serial="BWC-0002")
    for first, second in contents:
        assert one.add(first) == other.add(second)
    dock.mkdir()
    return one, other


class Watched(Station):
    """A station that counts how often a volume was looked at as a whole."""

    looks = 0

    async def observe(self, observation: Observation, /) -> None:
        await super().observe(observation)
        self.looks += observation.kind == INDEX


class Bay:
    """A dock into which one camera after the other is put, each until it was looked at."""

    def __init__(self, station: Watched, driver: UsbVolume, place: Path) -> None:
        self.station, self._driver, self._place = station, driver, place

    async def dock(self, camera: VolumeEmulator, looks: int = 2) -> int:
        """How many bytes of it were taken."""
        told, before = self.station.looks, self.station.ingest.read[BWC]
        camera.plug()
        await until(lambda: self.station.looks >= told + looks)
        taken = self.station.ingest.read[BWC] - before
        camera.pull()
        await empty(self._driver, self._place)
        return taken

    def notices(self) -> list[str | None]:
        return [one["id"] for one in self.station.ingest.comparing.notices({BWC})]


@asynccontextmanager
async def bay(tmp_path: Path, driver: UsbVolume, policy: Policy | None = None) -> AsyncIterator[Bay]:
    async with Watched(tmp_path / "station", policy=policy) as station, running(driver, station):
        yield Bay(station, driver, tmp_path / "dock")


def digests(camera: VolumeEmulator) -> set[bytes]:
    return {bytes.fromhex(one) for one in camera.captures().values()}


async def held(station: Station) -> set[bytes]:
    return {one.digest.sha256 for one in await station.holdings()}


@pytest.mark.parametrize("length", [100, 3 * MIB, 9 * MIB])
@pytest.mark.parametrize("alike", [0, 2 * MIB])
async def test_what_the_second_one_has_is_read_and_a_person_is_told(
    tmp_path: Path, dock: Callable[..., UsbVolume], length: int, alike: int
) -> None:
    """Where only the second half differs too: cameras begin their films with room for an index."""
    begins = some_bytes(min(alike, length // 2), "alike")
    rest = length - len(begins)
    pairs = [(begins + some_bytes(rest, f"one {n}"), begins + some_bytes(rest, f"other {n}")) for n in range(3)]
    one, other = twins(tmp_path / "dock", *pairs)
    async with bay(tmp_path, dock()) as here:
        assert await here.dock(one) == 3 * length
        assert (await here.dock(one), here.notices()) == (0, []), "it is the same one, and is taken again"
        assert await here.dock(other) == 3 * length
        assert here.notices() == ["device.differs"]
        assert await held(here.station) == digests(one) | digests(other)
        for camera in (one, other, one):
            assert (await here.dock(camera), here.notices()) == (0, []), "both are known by now"
        await here.station.restart()
        assert await held(here.station) == digests(one) | digests(other)
        await here.station.verify()


async def test_what_differs_makes_all_of_the_volume_doubted(
    tmp_path: Path, dock: Callable[..., UsbVolume], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more captures than are compared, those that are compared speak for the others."""
    monkeypatch.setattr("agent.ingest.comparing._OF_ONE", 2)
    pairs = [(some_bytes(100, f"one {n}"), some_bytes(100, f"other {n}")) for n in range(20)]
    one, other = twins(tmp_path / "dock", *pairs)
    async with bay(tmp_path, dock()) as here:
        await here.dock(one)
        assert await here.dock(other, looks=4) == 20 * 100
        assert await held(here.station) == digests(one) | digests(other)


@pytest.mark.parametrize("length", [100, 17 * MIB])
async def test_what_has_left_the_spool_is_compared_by_its_digest(
    tmp_path: Path, dock: Callable[..., UsbVolume], length: int
) -> None:
    pairs = [(some_bytes(length, f"one {n}"), some_bytes(length, f"other {n}")) for n in range(2)]
    one, other = twins(tmp_path / "dock", *pairs)
    policy = Policy(device="keep", spool="receipted", receipt="digest", spool_keep=timedelta(0))
    async with bay(tmp_path, dock(), policy) as here:
        here.station.connect(BenchUplink())
        await here.dock(one)
        await here.station.send()
        await here.station.release.sweep()
        assert not any((tmp_path / "station" / "spool" / "kept").iterdir())
        assert await here.dock(one) == 0
        assert await here.dock(other) == 2 * length
        assert await held(here.station) == digests(one) | digests(other)
        assert await here.station.count(Standing.HELD) == 2


async def test_a_capture_that_was_overwritten_in_its_place_is_read(
    tmp_path: Path, dock: Callable[..., UsbVolume]
) -> None:
    """A camera whose clock begins anew, and whose clips are of one length: the same name, time and length again."""
    camera = VolumeEmulator(tmp_path / "dock")
    keys = [camera.add(some_bytes(5 * MIB, f"first {n}")) for n in range(2)]
    before = digests(camera)
    (tmp_path / "dock").mkdir()
    async with bay(tmp_path, dock()) as here:
        await here.dock(camera)
        path = camera.files / keys[1]
        at = path.stat().st_mtime_ns
        path.write_bytes(some_bytes(5 * MIB, "again"))
        os.utime(path, ns=(at, at))
        await here.dock(camera)
        assert hashlib.sha256(some_bytes(5 * MIB, "again")).digest() in await held(here.station)
        assert before < await held(here.station)


def flipped(path: Path) -> bytes:
    """Turn one bit over in a file that was written long ago."""
    content, facts = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
    return bytes(content)


@pytest.mark.parametrize("length", [1000, 9 * MIB])
async def test_what_reads_differently_by_a_few_bits_is_told_and_not_taken_for_another_film(
    tmp_path: Path, dock: Callable[..., UsbVolume], length: int
) -> None:
    camera = VolumeEmulator(tmp_path / "dock")
    key = camera.add(some_bytes(length, "film"))
    before = digests(camera)
    (tmp_path / "dock").mkdir()
    async with bay(tmp_path, dock()) as here:
        await here.dock(camera)
        content = flipped(camera.files / key)
        assert await here.dock(camera) == 0
        assert here.notices() == ["device.differs"]
        assert await held(here.station) == before
        assert (camera.files / key).read_bytes() == content


@pytest.mark.parametrize("length", [1000, 9 * MIB])
async def test_what_decays_in_the_spool_is_set_aside_and_taken_again_and_no_camera_is_blamed(
    tmp_path: Path, dock: Callable[..., UsbVolume], length: int
) -> None:
    camera = VolumeEmulator(tmp_path / "dock")
    camera.add(some_bytes(length, "film"))
    (tmp_path / "dock").mkdir()
    async with bay(tmp_path, dock()) as here:
        await here.dock(camera)
        (kept,) = (tmp_path / "station" / "spool" / "kept").iterdir()
        flipped(kept)
        assert await here.dock(camera) == length
        assert (await here.dock(camera), here.notices()) == (0, [])
        assert await held(here.station) == digests(camera)
        assert hashlib.sha256(kept.read_bytes()).digest() in digests(camera)
        await here.station.verify()
