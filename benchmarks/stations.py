"""A real daemon, a real DEMS process and a folder of captures, timed from outside through the control socket."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from agent.testing.process import COMMAND, DaemonProcess, tally, tus
from benchmarks.measured import Measured, cpu_seconds, peak_memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from agent.testing.dems import DemsProcess

__all__ = ["all_held_by", "driver", "fill", "forget", "held_by", "life", "read_in", "sent_by"]

_BLOCK = 4 << 20
_REST = 1.0
"""Seconds between a daemon's start and what is measured of it."""


def read_in(folder: Path) -> None:
    """Bring files into the page cache: what is compared is not where the disk, or somebody's turn, left them."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(_BLOCK):
                    pass


def forget(folder: Path) -> None:
    """Take files out of the page cache: nobody has those of a device that was docked a moment ago."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fill(volume: Path, count: int, length: int) -> None:
    """Put `count` captures of random bytes into DCF folders of 5,000 each."""
    for number in range(count):
        folder = volume / "DCIM" / f"{100 + number // 5000}BENCH"
        if number % 5000 == 0:
            folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"CLIP{number % 5000:04d}.MP4").open("wb") as file:
            left = length
            while left > 0:
                left -= file.write(os.urandom(min(left, _BLOCK)))
    os.sync()


def driver(volume: Path, number: int = 1) -> dict[str, Any]:
    """The `[[driver]]` table for that folder, in the bay of this number."""
    return {
        "use": "body_worn.usb_volume",
        "name": f"bay-{number}",
        "mount": str(volume),
        "must_be_mountpoint": False,
        "layout": "dcf",
        "settle": 0.0,
        "rescan": 0.5,
        "device": {"id": f"bench-camera-{number}"},
    }


async def held_by(folder: Path, volume: Path, count: int, *, read_back: bool = False) -> Measured:
    """Time from docking the volume until everything on it is held; spool and journal are left in the folder."""
    return await _docked(folder, [volume], count, read_back=read_back)


async def all_held_by(folder: Path, volumes: Sequence[Path]) -> Measured:
    """Time until the one capture on each of many volumes, all docked at once, is held."""
    return await _docked(folder, volumes, len(volumes), read_back=False)


async def _docked(folder: Path, volumes: Sequence[Path], count: int, *, read_back: bool) -> Measured:
    """A daemon at rest, whose bays are empty; then the volumes appear in them, and the clock runs."""
    bays = {volume: volume.with_name(f"{volume.name}.bay") for volume in volumes}
    drivers = [driver(bay, number) for number, bay in enumerate(bays.values(), 1)]
    async with _daemon(folder, drivers=drivers, spool={"read_back": read_back}) as station:
        await station.ready()
        await asyncio.sleep(_REST)
        pid = station.pid or 0
        before, began = cpu_seconds(pid), perf_counter()
        try:
            for volume, bay in bays.items():
                volume.rename(bay)
            await _held(station, count)
            return Measured(perf_counter() - began, cpu_seconds(pid) - before, peak_memory(pid))
        finally:
            for volume, bay in bays.items():
                if bay.exists():
                    bay.rename(volume)


async def _held(station: DaemonProcess, count: int) -> None:
    """Return when so many captures are held. The daemon itself is asked only once all of them lie in its spool."""
    kept, began = station.state / "spool" / "kept", perf_counter()
    while True:
        looked_at = perf_counter()
        with os.scandir(kept) as names:
            here = sum(1 for _ in names)
        if here >= count and sum((await tally(station.state)).values()) >= count:
            return
        took = perf_counter() - looked_at
        await asyncio.sleep(min(0.25, max(0.01, (looked_at - began) / 100, took * 10)))


async def sent_by(folder: Path, dems: DemsProcess, count: int) -> Measured:
    """Time until everything that `held_by` left is receipted."""
    uplink = tus(dems.url, dems.receipt_vkey, ca_file=dems.ca_file)
    async with _daemon(folder, uplink=uplink) as station:
        return await _until(station, lambda tally: tally.get("receipted", 0) >= count)


async def life(folder: Path, volume: Path, dems: DemsProcess, count: int, command: Sequence[str] = COMMAND) -> Measured:
    """Time from a docked volume to every capture receipted and released."""
    uplink = tus(dems.url, dems.receipt_vkey, ca_file=dems.ca_file)
    policy = {"device": "release"}
    async with _daemon(folder, command, drivers=[driver(volume)], uplink=uplink, policy=policy) as station:
        before = (await tally(station.state)).get("released", 0)
        return await _until(station, lambda tally: tally.get("released", 0) - before >= count)


@asynccontextmanager
async def _daemon(
    folder: Path,
    command: Sequence[str] = COMMAND,
    **tables: Any,  # noqa: ANN401 - tables of agent.toml
) -> AsyncIterator[DaemonProcess]:
    async with DaemonProcess(folder, command=command, **tables) as station:
        yield station


async def _until(station: DaemonProcess, done: Callable[[Mapping[str, int]], bool]) -> Measured:
    await station.ready()
    began = perf_counter()
    pid = station.pid or 0
    before = cpu_seconds(pid)
    while not done(await tally(station.state)):  # noqa: ASYNC110 - another process cannot set an event
        # To be asked costs the daemon some milliseconds: a fiftieth of the time is near enough.
        await asyncio.sleep(min(0.25, max(0.02, (perf_counter() - began) / 50)))
    return Measured(perf_counter() - began, cpu_seconds(pid) - before, peak_memory(pid))


def clear(*folders: Path) -> None:
    """Remove what a run left."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
