"""What no device keeps, and what the spool lets go."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Never, TypeVar

import pytest

from agent.capture import Standing, Strength
from agent.config import Policy
from agent.errors import SpoolError
from agent.journal import queries
from agent.release import purging
from agent.release import room as looking
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink
from tests.spine.docked import Clocks, filled, receipted, releasing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.capture import Holding
    from agent.journal import Desk, Journal

T = TypeVar("T")


@releasing()
async def test_what_no_device_keeps_is_released_by_the_sweep(station: Station) -> None:
    device = BenchDevice(volatile=True)
    held = await receipted(station, device)
    await station.release.sweep()
    assert (await station.events(held.id)) == ["held", "receipted", "released"]


@releasing(receipt="signed")
async def test_what_no_device_keeps_and_nothing_proves_is_told_once_and_does_not_turn_in_circles(
    station: Station,
) -> None:
    device = BenchDevice(volatile=True)
    held = await receipted(station, device)
    for _ in range(3):
        await station.release.sweep()
    assert (await station.events(held.id)) == ["held", "receipted", "release.refused"]


@releasing(spool="released")
async def test_the_spool_lets_go_what_the_device_was_told_to_forget(station: Station, bench: BenchDevice) -> None:
    await receipted(station, bench)
    await station.release.sweep()
    assert (await station.only()).spooled
    await station.dock(bench)
    await station.release.sweep()
    holding = await station.only()
    assert (holding.standing, holding.spooled) == (Standing.PURGED, False)
    assert station.spool.length(holding.digest.sha256) is None


@pytest.mark.evidock_station(policy=Policy(spool="receipted", receipt="digest", spool_keep=timedelta(0)))
async def test_the_spool_may_let_go_what_the_device_keeps(station: Station, bench: BenchDevice) -> None:
    await receipted(station, bench)
    await station.release.sweep()
    holding = await station.only()
    assert (holding.standing, holding.spooled) == (Standing.RECEIPTED, False)
    given = bench.given
    assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    assert bench.given == given


@pytest.mark.evidock_station(policy=Policy(spool="receipted", receipt="digest", spool_keep=timedelta(days=7)))
async def test_the_spool_keeps_for_as_long_as_it_was_told(station: Station, bench: BenchDevice) -> None:
    await receipted(station, bench)
    await station.release.sweep()
    assert (await station.only()).spooled


@pytest.mark.evidock_station(policy=Policy(spool="receipted", receipt="signed", spool_keep=timedelta(0)))
async def test_the_spool_keeps_what_nothing_proves(station: Station, bench: BenchDevice) -> None:
    await receipted(station, bench)
    await station.release.sweep()
    assert (await station.only()).spooled


@pytest.mark.evidock_station(policy=Policy(spool="receipted", receipt="digest", spool_keep=timedelta(0)))
async def test_bytes_that_two_captures_share_go_with_the_last_of_them(station: Station, bench: BenchDevice) -> None:
    other = BenchDevice("bench:cam-2")
    held = await receipted(station, bench)
    other.record("b", some_bytes(100))
    await station.dock(other)
    await station.release.sweep()
    assert station.spool.length(held.digest.sha256) == 100  # the other is only held
    await station.send()
    await station.release.sweep()
    assert station.spool.length(held.digest.sha256) is None
    await station.restart()


@pytest.mark.evidock_station(policy=Policy(spool="receipted", receipt="digest", spool_keep=timedelta(0)))
async def test_a_disk_that_fails_while_the_spool_lets_go_is_an_error_of_the_spool(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    await receipted(station, bench)
    true_unlink = os.unlink

    def unlink(path: Path, **where: object) -> Never:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(SpoolError):
        await station.release.sweep()
    monkeypatch.setattr(os, "unlink", true_unlink)
    await station.restart()  # the entry is written; the file is let go at the next start
    assert station.spool.length((await station.only()).digest.sha256) is None


@asynccontextmanager
async def together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clocks: Clocks, count: int
) -> AsyncIterator[Station]:
    """A station that reads two captures at once, with more that were all receipted at the same moment."""
    monkeypatch.setattr(purging, "_PAGE", 2)
    policy = Policy(spool="receipted", receipt="digest", spool_keep=timedelta(hours=1))
    async with Station(tmp_path / "station", policy=policy, stamp=clocks.stamp) as station:
        station.connect(BenchUplink(strength=Strength.DIGEST))
        await filled(station, BenchDevice(), count)
        await station.send()
        assert len({one.receipted_at for one in await in_spool(station)}) == 1
        yield station


async def in_spool(station: Station) -> list[Holding]:
    return await station.desk.read(lambda journal: [one for _, one in queries.spooled(journal)])


@pytest.mark.parametrize("ahead", [0, 1])
async def test_one_look_lets_go_of_all_that_were_receipted_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """Receipts of one bundle, and of a clock that stood. Also where a clock that was ahead has dated them."""
    clocks = Clocks()
    clocks.ahead = timedelta(days=ahead)
    async with together(tmp_path, monkeypatch, clocks, 7) as station:
        clocks.ahead, clocks.lived = timedelta(0), timedelta(hours=2)
        await station.release._purging.look()
        assert await in_spool(station) == []


async def test_what_waits_stands_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pages of those that may not go yet, and behind them one of the same moment that may."""
    clocks = Clocks()
    async with together(tmp_path, monkeypatch, clocks, 5) as station:
        clocks.lived = timedelta(hours=2)
        every = await in_spool(station)
        station.release._purging._later.update({one.index: 1 << 62 for one in every[:4]})
        await station.release._purging.look()
        assert await in_spool(station) == every[:4]


async def test_a_page_of_what_may_go_is_read_off_an_index(station: Station) -> None:
    seen: list[str] = []

    def explained(journal: Journal) -> None:
        journal.connection.exec_trace = lambda _, sql, __: seen.append(sql) or True
        queries.evictable(journal, 2, None, after=(datetime.now(UTC), 7), least=1, released_only=False)
        journal.connection.exec_trace = None
        values = (0,) * seen[0].count("?")
        seen.append(str(journal.connection.execute(f"EXPLAIN QUERY PLAN {seen[0]}", values).fetchall()))

    await station.desk.read(explained)
    assert "capture_evictable" in seen[1]
    assert "TEMP B-TREE" not in seen[1]


class Quicker:
    """The desk of the release room, at which a person stands too: each write of the sweep comes after his order."""

    def __init__(self, desk: Desk, capture: str) -> None:
        self._desk, self._capture, self.orders = desk, capture, 0
        self.read = desk.read

    async def write(self, act: Callable[[Journal], T]) -> T:
        if not self.orders:
            self.orders += 1
            await self._desk.write(
                lambda journal: journal.retain(self._capture, keep=True, actor="user:anna", why="case")
            )
        return await self._desk.write(act)


@pytest.mark.parametrize("volatile", [True, False])
@pytest.mark.evidock_station(
    policy=Policy(device="release", receipt="digest", spool="receipted", spool_keep=timedelta(0))
)
async def test_an_order_between_a_look_and_its_act_ends_nothing(
    station: Station, monkeypatch: pytest.MonkeyPatch, *, volatile: bool
) -> None:
    held = await receipted(station, BenchDevice(volatile=volatile))
    quicker = Quicker(station.desk, held.id)
    monkeypatch.setattr(station.release, "_desk", quicker)
    monkeypatch.setattr(station.release._purging, "_desk", quicker)
    await station.release.sweep()
    assert quicker.orders
    assert (await station.events(held.id)) == ["held", "receipted", "operator.command"]
    holding = await station.only()
    assert (holding.standing, holding.spooled) == (Standing.RECEIPTED, True)
    assert station.spool.length(holding.digest.sha256) is not None


async def test_what_goes_while_somebody_waits_for_room_is_not_cut_off_by_the_next_look(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the entry of a purge and the file's going away: until a restart nobody would look at that file again."""
    monkeypatch.setattr(looking, "_SWEEP", 0.1)
    monkeypatch.setattr(looking, "_AGAIN", 0.01)
    begun, ended, swept = 0, 0, 0

    async def purge() -> None:
        nonlocal begun, ended
        begun += 1
        await asyncio.sleep(0.15)
        ended += 1

    async def sweep() -> None:
        nonlocal swept
        swept += 1

    monkeypatch.setattr(station.release._purging, "look", purge)
    monkeypatch.setattr(station.release, "sweep", sweep)
    running = asyncio.create_task(station.release.run())
    try:
        async with asyncio.timeout(20):
            while swept < 4:
                station.release.room_is_short()
                await asyncio.sleep(0.01)
            while ended < begun:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert begun == ended > 1
