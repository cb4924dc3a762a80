"""What a fault may cost: at most one request body is sent twice, at most one block is read twice."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from agent.capture import Standing
from agent.ingest import SMALL
from agent.note import Verifier
from agent.testing.dems import DemsProcess, EmulatedDems
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.station import Station
from agent.uplink.tus import TusUplink
from tests.faults.rig import PART, Rig

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.rig import Nursery

FILM = 6 << 20


async def received(dems: EmulatedDems) -> int:
    return sum(entry.received for entry in await dems.index())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
async def test_an_agent_killed_in_mid_upload_sends_at_most_one_request_again(
    tmp_path: Path, nursery: Nursery, share: float
) -> None:
    async with EmulatedDems(tmp_path / "dems") as dems:
        rig = Rig(tmp_path, nursery, dems)
        rig.camera.record(some_bytes(FILM))
        await dems.add_fault("PATCH:*:delay=0.02")
        pid = await rig.start()
        while sum(entry.offset for entry in await dems.index()) < share * FILM:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await nursery.end(pid)
        await dems.clear_faults()
        await rig.drain()
        assert await received(dems) - FILM <= PART


@pytest.mark.slow
async def test_killed_five_times_it_sends_at_most_five_requests_again(tmp_path: Path, nursery: Nursery) -> None:
    async with EmulatedDems(tmp_path / "dems") as dems:
        rig = Rig(tmp_path, nursery, dems)
        rig.camera.record(some_bytes(FILM))
        await dems.add_fault("PATCH:*:delay=0.02")
        for kill in range(1, 6):
            pid = await rig.start()
            while sum(entry.offset for entry in await dems.index()) < kill * FILM / 7:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            await nursery.end(pid)
        await dems.clear_faults()
        await rig.drain()
        assert await received(dems) - FILM <= 5 * PART


@pytest.mark.parametrize("share", [0.2, 0.8])
async def test_a_dems_killed_in_mid_upload_costs_at_most_one_request(tmp_path: Path, share: float) -> None:
    device = BenchDevice()
    device.record("film", some_bytes(FILM))
    async with DemsProcess(tmp_path / "dems") as dems, Station(tmp_path / "station") as station:
        await dems.add_fault("PATCH:*:delay=0.02")
        options = TusUplink.Options(use="tus", name="dems", url=dems.url, part_length=PART)
        uplink = TusUplink(options)
        station.connect(uplink, dems, keys=[Verifier.parse(dems.receipt_vkey)])
        await station.dock(device)
        sending = asyncio.create_task(station.send(60))
        departures = station.forward.departures
        while not any(one.confirmed >= share * FILM for one in departures.values()):
            assert not sending.done(), "it was sent before the DEMS could be killed"
            await asyncio.sleep(0.001)
        dems.kill()
        await dems.restart()
        await sending
        assert sum(entry.received for entry in await dems.index()) - FILM <= PART
        assert await station.count(Standing.RECEIPTED) == 1
        await station.verify()
        await station.hang_up()


@pytest.mark.parametrize("wire", ["rG", "rrrG", "rrrrrrrG", "rsG", "G"])
async def test_a_device_unplugged_in_mid_copy_is_read_again_by_at_most_one_block(tmp_path: Path, wire: str) -> None:
    device = BenchDevice()
    clip = device.record("film", some_bytes(9 * SMALL + 5), wire=wire)
    async with Station(tmp_path / "station") as station:
        await station.dock(device)
        device.plug_in()
        assert await station.dock(device) == {Standing.HELD: 1}
        assert clip.given - clip.length <= SMALL
        await station.verify()


async def test_an_agent_killed_in_mid_copy_reads_at_most_what_was_on_its_way_again(tmp_path: Path) -> None:
    """The same process image cannot be killed here, so the station is dropped where it stands."""
    device = BenchDevice()
    clip = device.record("film", some_bytes(9 * SMALL), wire="rrrrDDDDDD")
    station = Station(tmp_path / "station")
    await station.start()
    taking = asyncio.create_task(station.take(device.offer("film")))
    while clip.given < 4 * SMALL:  # noqa: ASYNC110
        await asyncio.sleep(0)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    await station.restart()
    assert await station.dock(device) == {Standing.HELD: 1}
    assert clip.given - clip.length <= 2 * SMALL
    await station.verify()
    await station.stop()


async def test_killed_in_order_nothing_is_left_to_do(tmp_path: Path, nursery: Nursery) -> None:
    """SIGTERM in mid-upload: the next start sends only the rest."""
    async with EmulatedDems(tmp_path / "dems") as dems:
        rig = Rig(tmp_path, nursery, dems)
        rig.camera.record(some_bytes(FILM))
        await dems.add_fault("PATCH:*:delay=0.02")
        pid = await rig.start()
        while sum(entry.offset for entry in await dems.index()) < FILM / 3:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert await nursery.end(pid, signal.SIGTERM) == 0
        await dems.clear_faults()
        await rig.drain()
        assert await received(dems) - FILM <= PART
