"""Device -> spool -> journal: every kind of capture, and every way in which a device can go wrong under it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent.capture import PART_LENGTH, Capture, Device, Standing
from agent.errors import BadCapture
from agent.ingest import SMALL, Ingest, order
from agent.testing.devices import BenchDevice, some_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.testing.station import Station

BIG = 5 * SMALL + 17


def kept(station: Station) -> set[str]:
    return {path.name for path in (station.spool.root / "kept").iterdir()}


def parts(station: Station) -> set[str]:
    return {path.name for path in (station.spool.root / "parts").iterdir()}


@pytest.mark.parametrize("length", [0, 1, SMALL - 1, SMALL, SMALL + 1, BIG, PART_LENGTH, PART_LENGTH + 1])
@pytest.mark.parametrize("stated", [True, False])
async def test_every_length_is_held_with_its_digests(
    station: Station,
    bench: BenchDevice,
    length: int,
    stated: bool,  # noqa: FBT001
) -> None:
    data = some_bytes(length)
    bench.record("a", data, says=length if stated else None)
    assert await station.dock(bench) == {Standing.HELD: 1}
    holding = await station.only()
    assert holding.digest.sha256 == hashlib.sha256(data).digest()
    assert holding.digest.length == length
    assert len(holding.parts) == (0 if length <= PART_LENGTH else 2)
    assert bench.given == length
    assert station.ingest.read[bench.device.id] == length


@pytest.mark.parametrize("block", [1, 7, 4096, SMALL, 3 * SMALL])
async def test_blocks_of_any_size(station: Station, block: int) -> None:
    device = BenchDevice(block=block)
    device.record("small", some_bytes(2000))
    if block > 7:
        device.record("large", some_bytes(BIG))
    await station.dock(device)
    assert await station.count(Standing.HELD) == len(device.clips)


class Hanging:
    """An offer whose device gives one byte and no more."""

    begun = 0

    def __init__(self, device: str, key: str, length: int) -> None:
        self.capture = Capture(Device(device, "body_worn", "bench"), key, None, length, forgets="dies")

    async def open(self, _: int) -> AsyncIterator[bytes]:
        type(self).begun += 1
        yield b"a"
        await asyncio.Event().wait()


async def test_devices_that_hang_leave_the_others_the_memory_that_they_need(
    station: Station, bench: BenchDevice
) -> None:
    hanging = [
        asyncio.create_task(station.ingest.take(Hanging(f"bench:{number % 6}", f"{number}", 3 * SMALL)))
        for number in range(60)
    ]
    try:
        async with asyncio.timeout(20):
            while Hanging.begun < 24:  # noqa: ASYNC110 - four of each device, of which sixteen are gathered in memory
                await asyncio.sleep(0.01)
        assert len(list((station.spool.root / "stage").glob("*.about"))) == 8
        for number in range(10):
            bench.record(f"{number}", some_bytes(3 * SMALL, number))
        assert await station.dock(bench) == {Standing.HELD: 10}
        assert Hanging.begun == 24
    finally:
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)
    bench.record("after", some_bytes(3 * SMALL, "after"))
    opened = len(list((station.spool.root / "stage").glob("*.about")))
    assert (await station.dock(bench))[Standing.HELD] == 11
    assert len(list((station.spool.root / "stage").glob("*.about"))) == opened
    assert not station.ingest._gathered.locked()


async def test_what_is_held_is_not_read_again(station: Station, bench: BenchDevice) -> None:
    bench.record("a", some_bytes(100))
    bench.record("b", some_bytes(BIG))
    await station.dock(bench)
    given = bench.given
    assert await station.dock(bench) == {Standing.HELD: 2}
    await station.restart()
    assert await station.dock(bench) == {Standing.HELD: 2}
    assert bench.given == given


@pytest.mark.parametrize("length", [100, BIG])
async def test_the_same_origin_offered_twice_at_once_is_read_once(
    station: Station, bench: BenchDevice, length: int
) -> None:
    bench.record("a", some_bytes(length))
    station.devices.append(bench)
    assert await asyncio.gather(*(station.take(bench.offer("a")) for _ in range(5))) == [Standing.HELD] * 5
    assert bench.given == length
    assert await station.count(Standing.HELD) == 1


@pytest.mark.parametrize(
    ("length", "says", "wire"),
    [
        (100, 50, ""),
        (100, 150, ""),
        (100, 0, ""),
        (0, 100, ""),
        (100, 100, "S"),
        (BIG, BIG - 1, ""),
        (BIG, BIG + 1, ""),
        (BIG, BIG, "rrS"),
        (BIG, 10, ""),
        (10, BIG, ""),
    ],
)
async def test_a_length_that_contradicts_the_device_is_not_held(
    station: Station, bench: BenchDevice, length: int, says: int | None, wire: str
) -> None:
    bench.record("a", some_bytes(length), says=says, wire=wire)
    station.devices.append(bench)
    with pytest.raises(BadCapture, match="stated"):
        await station.take(bench.offer("a"))
    assert await station.holdings() == []
    assert kept(station) == set()
    assert os.listdir(station.spool.root / "stage") == []  # noqa: PTH208


async def test_what_arrived_of_a_contradiction_is_kept_as_a_part(station: Station, bench: BenchDevice) -> None:
    data = some_bytes(BIG)
    bench.record("a", data, says=BIG + 1)
    await station.dock(bench)
    assert parts(station) == {hashlib.sha256(data).hexdigest()}


async def test_a_device_cannot_make_us_take_far_more_than_it_stated(station: Station, bench: BenchDevice) -> None:
    clip = bench.record("a", some_bytes(20 * SMALL), says=2 * SMALL)
    await station.dock(bench)
    assert clip.given <= 5 * SMALL


async def test_a_bad_capture_is_left_alone_for_a_while_and_longer_each_time(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(order, "monotonic", lambda: now[0])
    clip = bench.record("a", some_bytes(100), says=150)
    reads = []
    for _ in range(1000):
        await station.dock(bench)
        reads.append(len(clip.opened_at))
        now[0] += 10
    assert clip.opened_at == [0] * len(clip.opened_at)
    assert 5 <= len(clip.opened_at) <= 10  # 30, 60, 120, ... seconds
    bench.record("a", some_bytes(150))
    assert await station.dock(bench) == {Standing.UNKNOWN: 1}  # not yet
    now[0] += 4000
    assert await station.dock(bench) == {Standing.HELD: 1}


async def test_a_bad_capture_that_changed_is_looked_at_at_once(station: Station, bench: BenchDevice) -> None:
    bench.record("a", some_bytes(100), says=150)
    await station.dock(bench)
    bench.record("a", some_bytes(200))
    assert await station.dock(bench) == {Standing.HELD: 1}


async def test_one_hurt_capture_keeps_no_other_from_being_taken(station: Station, bench: BenchDevice) -> None:
    for number in range(40):
        bench.record(f"{number}", some_bytes(100, number), wire={7: "E", 8: "X", 9: "S"}.get(number, ""))
    assert await station.dock(bench) == {Standing.HELD: 37, Standing.UNKNOWN: 3}


async def test_bytes_that_flip_to_and_fro_are_read_once_for_each_flip_and_never_unread(
    station: Station, bench: BenchDevice
) -> None:
    first, second = some_bytes(100), some_bytes(200)
    for content in (first, second, first):
        bench.record("a", content)
        await station.dock(bench)
    for _ in range(3):
        clip = bench.record("a", first)
        await station.dock(bench)
        assert not clip.given
    for content in (second, first, some_bytes(200, "another"), first):
        clip = bench.record("a", content)
        await station.dock(bench)
        assert clip.given == len(content)
    assert len(await station.holdings()) == 3


@pytest.mark.parametrize("length", [100, BIG])
async def test_of_two_devices_that_claim_to_be_one_each_gives_its_own(station: Station, length: int) -> None:
    twins = True
    station.ingest = Ingest(
        station.desk, station.spool, on_held=lambda _: None, on_damage=station.damage.append, twice=lambda _: twins
    )
    one, other = BenchDevice(), BenchDevice()
    for number, device in enumerate((one, other)):
        device.device = replace(device.device, place=f"usb 1-{number}")
        device.record("CLIP0001.MP4", some_bytes(length, number))  # names, times and lengths are alike
    for _ in range(3):
        await station.dock(one, other)
    assert await station.count(Standing.HELD) == 2
    assert {one.given, other.given} == {length}, "each is read once"
    twins = False
    await station.dock(one, other)
    assert {one.given, other.given} == {length}
    await station.verify()
