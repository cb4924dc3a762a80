"""Two devices with one serial number: what each of them has is held, and each forgets what it has itself."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import pytest

from agent.capture import Standing
from agent.driver import BLOCK_LENGTH
from agent.release.room import _FEW
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.uplinks import BenchUplink
from tests.spine.docked import LETS_GO, releasing

if TYPE_CHECKING:
    from agent.testing.station import Station


def twins(length: int = 100) -> tuple[BenchDevice, BenchDevice]:
    """Two devices with one serial number, and a capture on each that is alike but for its bytes."""
    one, other = BenchDevice(), BenchDevice()
    for number, device in enumerate((one, other)):
        device.device = dataclasses.replace(device.device, place=f"usb 1-{number}")
        device.record("a", some_bytes(length, number))
    return one, other


@releasing()
@pytest.mark.parametrize("first", [0, 1])
async def test_of_twins_each_forgets_what_it_has(station: Station, first: int) -> None:
    """Both are held since both were docked; then one is here alone, and has what was taken last of its name, or not."""
    pair = twins()
    station.ingest._twice = lambda _: True
    station.connect(BenchUplink())
    for device in pair:  # a station that sees that they are two considers no release
        station.devices.append(device)
        await station.ingest.take(device.offer("a"))
    station.ingest._twice = lambda _: False
    await station.send()
    one, other = pair[first], pair[1 - first]
    for device in (one, one, other, other):
        await station.dock(device)
    assert one.released == other.released == ["a"]
    assert await station.count(Standing.RELEASED) == 2
    await station.verify()


@releasing()
async def test_a_twin_whose_capture_is_not_sent_yet_is_read_once_and_waits(station: Station) -> None:
    one, other = twins()
    station.connect(BenchUplink())
    station.ingest._twice = lambda _: True
    station.devices += [one, other]
    await station.ingest.take(other.offer("a"))
    await station.ingest.take(one.offer("a"))
    await station.send()
    station.ingest._twice = lambda _: False
    waits = next(held for held in await station.holdings() if held.digest.sha256 == other.clips["a"].exhibit[1])
    await station.desk.write(lambda journal: journal.retry(waits.id, actor="anna", why="again"))
    given = other.given
    for _ in range(3):
        await station.dock(other)
    assert (other.given - given, other.released) == (100, [])
    await station.send()
    await station.dock(other)
    assert other.released == ["a"]
    await station.dock(one)
    assert one.released == ["a"]


@releasing()
async def test_twins_that_were_docked_one_after_the_other_are_both_held_and_a_person_is_told(station: Station) -> None:
    """The second one's looks like what is held already, until it is read again."""
    one, other = twins()
    station.connect(BenchUplink())
    station.policy = station.release._policy = LETS_GO.model_copy(update={"device": "keep"})
    await station.dock(one)
    await station.send()
    station.release._policy = LETS_GO
    for _ in range(3):
        await station.dock(other)
    await station.send()
    doubted = next(held for held in await station.holdings() if held.standing is Standing.QUARANTINED)
    assert "another device" in (doubted.reason or "")
    assert (one.released, other.released) == ([], [])
    await station.desk.write(lambda journal: journal.retry(doubted.id, actor="anna", why="two cameras, one number"))
    await station.send()
    for device in (one, other, one, other):
        await station.dock(device)
    assert (one.released, other.released) == (["a"], ["a"])
    await station.verify()


@releasing()
async def test_many_captures_of_a_twin_at_once_do_not_wait_for_each_other(station: Station) -> None:
    """Each is read in a place that it keeps until it is let go: the second look takes no second one."""
    one, other = twins()
    for number, device in enumerate((one, other)):
        for at in range(2 * _FEW[1]):
            device.record(f"long {at}", some_bytes(BLOCK_LENGTH + 1, 100 * number + at))
    station.ingest._twice = lambda _: True
    station.connect(BenchUplink())
    for device in (one, other):
        station.devices.append(device)
        for key in device.clips:
            await station.ingest.take(device.offer(key))
    station.ingest._twice = lambda _: False
    await station.send()
    async with asyncio.timeout(60):
        await station.dock(one)
    assert sorted(one.released) == sorted(other.clips)
