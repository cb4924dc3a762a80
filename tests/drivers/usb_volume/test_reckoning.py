"""`lists 42, safe 42, 0 unexplained`: the sum of a look is an entry, once for each change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Standing
from agent.driver import INDEX
from agent.driver.reckoning import counted
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink
from drivers.body_worn.usb_volume import UsbVolume
from drivers.body_worn.usb_volume.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Torn(Wire):
    """One file of the volume cannot be read."""

    broken = True

    def read(self, fd: int, length: int, offset: int) -> bytes:
        if self.broken and Path(f"/proc/self/fd/{fd}").readlink().name == "CLIP0007.MP4":
            raise OSError(5, "Input/output error")
        return super().read(fd, length, offset)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume" / "DCIM" / "100EVDCK"
    folder.mkdir(parents=True)
    for number in range(42):
        (folder / f"CLIP{number:04d}.MP4").write_bytes(b"%d" % number * 100)
    return tmp_path / "volume"


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with Station(tmp_path / "station") as made:
        made.connect(BenchUplink())
        yield made
        await made.verify()


def driver(volume: Path, wire: Wire | None = None) -> UsbVolume:
    options: dict[str, Any] = {
        "use": "body_worn.usb_volume",
        "name": "bay-1",
        "mount": str(volume),
        "must_be_mountpoint": False,
        "device": {"id": "usb:test:1"},
        "rescan": 0.05,
        "settle": 0,
    }
    return UsbVolume(UsbVolume.Options.model_validate(options), wire=wire)


async def told(station: Station, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(30):
        while len(station.observed) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert {one.kind for one in station.observed} == {INDEX}
    return [dict(one.detail) for one in station.observed]


async def test_all_that_is_listed_is_safe_and_that_is_said_once(station: Station, volume: Path) -> None:
    station.run_driver(driver(volume))
    sums = await told(station, 1)
    assert sums == [{"aside": 0, "complete": True, "listed": 42, "refused": 0, "safe": 42, "unexplained": 0}]
    await station.send()  # receipted is as safe as held: no other entry
    await asyncio.sleep(0.3)
    assert len(station.observed) == 1


async def test_what_cannot_be_taken_is_a_difference_until_it_is(station: Station, volume: Path) -> None:
    wire = Torn()
    station.run_driver(driver(volume, wire))
    (first,) = await told(station, 1)
    assert (first["safe"], first["unexplained"]) == (41, 1)
    wire.broken = False
    second = (await told(station, 2))[1]
    assert (second["safe"], second["unexplained"]) == (42, 0)


def test_the_words_add_up() -> None:
    standings = dict.fromkeys(Standing, 2)
    sums = counted(2 * len(standings), 3, standings)
    assert sums["listed"] == sums["safe"] + sums["aside"] + sums["refused"] + sums["unexplained"]
    assert (sums["aside"], sums["unexplained"], sums["refused"]) == (2, 2, 3)
