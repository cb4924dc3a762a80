"""Receipt + second read + policy -> the device may forget: each reason why not, and what happens when it may."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agent.capture import Standing, Strength
from agent.clock import Clock
from agent.errors import DeviceGone, DeviceRefused
from agent.journal import dating
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.station import Station
from tests.spine.docked import LETS_GO, Clocks, receipted, releasing

if TYPE_CHECKING:
    from pathlib import Path

    from agent.capture import Holding, Stamp
    from agent.journal import Journal

BIG = 3 << 20


@releasing()
@pytest.mark.parametrize("length", [0, 100, BIG])
async def test_what_is_proven_is_released_after_a_second_reading(
    station: Station, bench: BenchDevice, length: int
) -> None:
    held = await receipted(station, bench, length)
    given = bench.given
    clip = bench.clips["a"]
    assert await station.dock(bench) == {Standing.RELEASED: 1}
    assert clip.given - given == length
    assert bench.released == ["a"]
    assert await station.events(held.id) == ["held", "receipted", "release.intended", "released"]


async def test_a_new_installation_never_lets_a_device_forget(station: Station, bench: BenchDevice) -> None:
    await receipted(station, bench)
    for _ in range(3):
        assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    await station.release.sweep()
    assert bench.released == []
    assert await station.events((await station.only()).id) == ["held", "receipted"]


@releasing(receipt="signed")
async def test_a_receipt_that_is_too_weak_lets_nothing_go_and_says_so_once(
    station: Station, bench: BenchDevice
) -> None:
    await receipted(station, bench)
    for _ in range(3):
        assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    holding = await station.only()
    assert "only its digest" in (holding.reason or "")
    assert (await station.events(holding.id)).count("release.refused") == 1


@releasing()
async def test_a_length_never_lets_a_device_forget(station: Station, bench: BenchDevice) -> None:
    await receipted(station, bench, strength=Strength.LENGTH)
    assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    assert "only its length" in ((await station.only()).reason or "")


MINUTE, YEARS = timedelta(minutes=1), timedelta(days=3650)
WAITS = LETS_GO.model_copy(update={"grace": 60 * MINUTE, "spool": "released", "spool_keep": 120 * MINUTE})


async def waited(station: Station, bench: BenchDevice, clocks: Clocks) -> tuple[int, int]:
    """In how many minutes it is let go by its device, and then by the spool, at twenty looks of ten minutes each."""
    found = [0, 0]
    for minutes in range(0, 200, 10):
        await station.dock(bench)
        await station.release.sweep()
        holding = await station.only()
        found[0] = found[0] or minutes * (holding.standing is not Standing.RECEIPTED)
        found[1] = found[1] or minutes * (not holding.spooled)
        clocks.lived += 10 * MINUTE
    await station.verify()
    return found[0], found[1]


@releasing()
async def test_without_a_grace_no_clock_is_asked_that_was_set_back_since(station: Station, bench: BenchDevice) -> None:
    """A receipt that came while the clock was ten years ahead kept its capture on the device for ten years."""
    await receipted(station, bench)
    clock = Clock()
    station.release._stamp = lambda: dataclasses.replace(clock.stamp(), at=clock.stamp().at - timedelta(days=3650))
    assert await station.dock(bench) == {Standing.RELEASED: 1}


@pytest.mark.parametrize(
    ("then", "now", "dated", "lets_go"),
    [
        ((True, 0), (True, 0), 0, (30, 90)),  # half an hour had passed
        ((False, 0), (False, 0), 0, (30, 90)),  # nobody ever keeps its clock: there is nothing else
        ((True, 0), (False, 1), 0, (60, 120)),  # years ahead, and nobody says that it is right: this boot counts
        ((False, -1), (True, 0), 1, (60, 120)),  # years behind when the receipt came, and set right since
        ((True, 1), (True, 0), 1, (60, 120)),  # years ahead when it came, and set right since
        ((False, 1), (True, 0), 1, (60, 120)),
        ((False, 1), (False, 0), 0, (60, 0)),  # the spool waits until somebody keeps it
    ],
)
async def test_after_a_boot_a_grace_ends_by_a_clock_that_was_kept_right(
    tmp_path: Path,
    bench: BenchDevice,
    then: tuple[bool, int],
    now: tuple[bool, int],
    dated: int,
    lets_go: tuple[int, int],
) -> None:
    """Nothing goes too early, however the clock was set, and nothing waits for years."""
    clocks = Clocks()
    clocks.kept, clocks.ahead = then[0], then[1] * YEARS
    async with Station(tmp_path / "station", policy=WAITS, stamp=clocks.stamp) as station:
        held = await receipted(station, bench)
        clocks.reboot(off=30 * MINUTE)
        clocks.kept, clocks.ahead = now[0], now[1] * YEARS
        assert await waited(station, bench, clocks) == lets_go
        assert (await station.events(held.id)).count("receipt.dated") == dated


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("ahead", [0, 1, -1])
async def test_within_a_boot_a_grace_ends_by_the_clock_that_nobody_sets(
    tmp_path: Path, bench: BenchDevice, ahead: int, *, kept: bool
) -> None:
    clocks = Clocks()
    clocks.kept = kept
    async with Station(tmp_path / "station", policy=WAITS, stamp=clocks.stamp) as station:
        await receipted(station, bench)
        clocks.ahead = ahead * YEARS
        gone = await waited(station, bench, clocks)
        # A spool whose clock was set back by years waits until somebody keeps it right.
        assert gone == (60, 120 if ahead >= 0 or kept else 0)


@releasing()
async def test_what_a_person_retains_stays_on_the_device(station: Station, bench: BenchDevice) -> None:
    held = await receipted(station, bench)
    await station.desk.write(lambda journal: journal.retain(held.id, keep=True, actor="anna", why="court order"))
    assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    await station.release.sweep()
    assert (await station.only()).spooled
    await station.desk.write(lambda journal: journal.retain(held.id, keep=False, actor="anna", why="lifted"))
    assert await station.dock(bench) == {Standing.RELEASED: 1}


@releasing()
@pytest.mark.parametrize("length", [100, BIG])
async def test_a_copy_that_reads_differently_is_quarantined_and_never_released(
    station: Station, bench: BenchDevice, length: int
) -> None:
    held = await receipted(station, bench, length)
    bench.clips["a"].wire = "F"
    assert await station.dock(bench) == {Standing.QUARANTINED: 1}
    assert "it was" in ((await station.only()).reason or "")
    for _ in range(3):
        standings = await station.dock(bench)
        assert Standing.RELEASED not in standings
    await station.restart()
    await station.dock(bench)
    assert bench.released == []
    assert (await station.desk.read(lambda journal: journal.get(held.id))).standing is Standing.QUARANTINED


@releasing()
async def test_a_device_whose_bytes_changed_for_good_is_taken_anew_and_never_released_while_in_doubt(
    station: Station, bench: BenchDevice
) -> None:
    first = await receipted(station, bench)
    bench.record("a", some_bytes(100, "others"))
    assert await station.dock(bench) == {Standing.QUARANTINED: 1}
    assert await station.dock(bench) == {Standing.HELD: 1}
    await station.send()
    assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    newest = (await station.holdings())[0]
    assert newest.id != first.id
    assert "two readings of this capture differed" in (newest.reason or "")
    assert bench.released == []


@releasing()
@pytest.mark.parametrize("wire", ["S", "rS"])
async def test_a_second_reading_that_ends_early_is_a_mismatch(station: Station, bench: BenchDevice, wire: str) -> None:
    await receipted(station, bench, BIG)
    bench.clips["a"].wire = wire
    assert await station.dock(bench) == {Standing.QUARANTINED: 1}
    assert bench.released == []


@releasing()
@pytest.mark.parametrize("wire", ["E", "X", "rE"])
async def test_a_second_reading_that_fails_is_told_and_tried_again(
    station: Station, bench: BenchDevice, wire: str
) -> None:
    held = await receipted(station, bench, BIG)
    bench.clips["a"].wire = wire
    assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    assert "cannot be read a second time" in ((await station.only()).reason or "")
    assert await station.dock(bench) == {Standing.RELEASED: 1}
    assert (await station.events(held.id))[2:] == ["release.refused", "release.intended", "released"]


@releasing()
async def test_a_device_that_goes_away_while_it_is_read_again_is_asked_later(
    station: Station, bench: BenchDevice
) -> None:
    await receipted(station, bench, BIG)
    bench.clips["a"].wire = "rG"
    assert await station.dock(bench) == {Standing.UNKNOWN: 1}
    bench.plug_in()
    assert await station.dock(bench) == {Standing.RELEASED: 1}


@releasing()
@pytest.mark.parametrize("error", [DeviceRefused("the card is write-protected"), DeviceGone("unplugged")])
async def test_a_device_that_does_not_forget_is_asked_again(
    station: Station, bench: BenchDevice, error: Exception
) -> None:
    held = await receipted(station, bench)
    bench.release_fails.append(error)
    await station.dock(bench)
    assert (await station.only()).standing is Standing.RECEIPTED
    assert await station.dock(bench) == {Standing.RELEASED: 1}
    assert (await station.events(held.id)).count("release.intended") == 2


@releasing()
async def test_a_crash_between_the_deletion_and_the_entry_is_no_loss(station: Station, bench: BenchDevice) -> None:
    held = await receipted(station, bench)
    await station.desk.write(lambda journal: journal.intend_release(held.id, {}))
    await bench.forget(bench.clips["a"])
    await station.restart()
    await station.verify()
    assert (await station.only()).standing is Standing.RECEIPTED


@releasing()
async def test_a_name_that_is_used_again_after_the_release_is_another_capture(
    station: Station, bench: BenchDevice
) -> None:
    first = await receipted(station, bench)
    await station.dock(bench)
    bench.record("a", some_bytes(100, "the next shift"))
    assert await station.dock(bench) == {Standing.HELD: 1}
    await station.send()
    assert await station.dock(bench) == {Standing.RELEASED: 1}
    assert {one.id for one in await station.holdings()} > {first.id}


@releasing()
async def test_a_released_capture_that_is_offered_again_is_read_and_released_again(
    station: Station, bench: BenchDevice
) -> None:
    await receipted(station, bench)
    await station.dock(bench)
    clip = bench.record("a", some_bytes(100))
    assert await station.dock(bench) == {Standing.RELEASED: 1}
    assert clip.given == 200
    assert len(await station.holdings()) == 1


async def test_what_has_to_wait_longer_is_not_looked_through_at_each_look(
    tmp_path: Path, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands that a clock set forward made old are no work of every half minute."""
    clocks, asked = Clocks(), list[str]()
    clocks.kept = False
    has_waited = dating.has_waited

    def counted(journal: Journal, holding: Holding, now: Stamp, least: timedelta) -> bool:
        asked.append(holding.id)
        return has_waited(journal, holding, now, least)

    policy = WAITS.model_copy(update={"spool": "receipted"})
    async with Station(tmp_path / "station", policy=policy, stamp=clocks.stamp) as station:
        await receipted(station, bench)
        clocks.ahead, clocks.kept = YEARS, True
        monkeypatch.setattr(dating, "has_waited", counted)
        for _ in range(10):
            await station.release.sweep()
            clocks.lived += timedelta(seconds=30)
        assert len(asked) == 1
