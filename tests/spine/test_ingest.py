"""Device -> spool -> journal: every kind of capture, and every way in which a device can go wrong under it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from agent import durable
from agent.capture import PART_LENGTH, Standing
from agent.errors import BadCapture, CannotResume, DeviceGone, DeviceRefused, SpoolFull
from agent.ingest import SMALL, order
from agent.spool import stage
from agent.testing.devices import BenchDevice, Clip, some_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

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


# --- unplugged --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ["G", "rG", "rrG", "rrrrrG", "rDsrG"])
async def test_after_an_unplug_the_copy_continues_and_reads_at_most_one_block_again(
    station: Station, bench: BenchDevice, wire: str
) -> None:
    data = some_bytes(BIG)
    clip = bench.record("a", data, wire=wire)
    assert await station.dock(bench) == {Standing.UNKNOWN: 1}
    bench.plug_in()
    assert await station.dock(bench) == {Standing.HELD: 1}
    assert clip.given - BIG <= SMALL
    assert (await station.only()).digest.sha256 == hashlib.sha256(data).digest()


async def test_ten_unplugs_in_a_row_cost_at_most_a_block_each(station: Station, bench: BenchDevice) -> None:
    data = some_bytes(12 * SMALL)
    clip = bench.record("a", data, wire="rrG" * 10)
    for _ in range(10):
        await station.dock(bench)
        bench.plug_in()
        if (await station.count(Standing.HELD)) == 1:
            break
    else:
        await station.dock(bench)
    assert await station.count(Standing.HELD) == 1
    assert clip.given - len(data) <= 10 * SMALL


async def test_after_a_power_cut_the_last_mark_counts(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "MARK_EVERY", 2 * SMALL)
    data = some_bytes(BIG)
    clip = bench.record("a", data, wire="rrrrG")
    await station.dock(bench)
    await station.restart(boot_id="after the power cut")
    bench.plug_in()
    assert await station.dock(bench) == {Standing.HELD: 1}
    assert clip.opened_at[1] <= 2 * SMALL
    assert (await station.only()).digest.sha256 == hashlib.sha256(data).digest()


async def test_a_device_that_comes_back_with_other_bytes_is_found(station: Station, bench: BenchDevice) -> None:
    bench.record("a", some_bytes(BIG, 1), wire="rrrG")
    await station.dock(bench)
    bench.plug_in()
    bench.record("a", some_bytes(BIG, 2))
    with pytest.raises(BadCapture, match="other bytes"):
        await station.take(bench.offer("a"))
    assert len(parts(station)) == 1
    station.ingest._bad.forgive()
    assert await station.dock(bench) == {Standing.HELD: 1}
    assert (await station.only()).digest.sha256 == hashlib.sha256(some_bytes(BIG, 2)).digest()


@pytest.mark.parametrize("shorter", [SMALL, 2 * SMALL])
async def test_a_stream_that_comes_back_shorter_is_found(station: Station, bench: BenchDevice, shorter: int) -> None:
    """It states no length, so only the bytes that were read already can contradict it."""
    data = some_bytes(BIG)
    bench.record("a", data, says=None, wire="rrrrG")
    await station.dock(bench)
    bench.plug_in()
    bench.record("a", data[: 4 * SMALL - shorter // 2], says=None)
    with pytest.raises(BadCapture):
        await station.take(bench.offer("a"))
    assert await station.holdings() == []


async def test_a_stage_of_another_length_is_set_aside_and_the_capture_taken(
    station: Station, bench: BenchDevice
) -> None:
    bench.record("a", some_bytes(BIG), wire="rrG")
    await station.dock(bench)
    bench.plug_in()
    bench.record("a", some_bytes(BIG + 5))
    assert await station.dock(bench) == {Standing.HELD: 1}
    assert len(parts(station)) == 1


async def test_a_device_that_cannot_resume_is_read_from_the_beginning(station: Station) -> None:
    device = BenchDevice(resumable=False)
    clip = device.record("a", some_bytes(BIG), wire="rrrG")
    await station.dock(device)
    device.plug_in()
    assert await station.dock(device) == {Standing.HELD: 1}
    assert clip.opened_at == [0, 0]
    assert len(parts(station)) == 1


async def test_a_device_that_can_never_begin_leaves_no_descriptor_behind(station: Station, bench: BenchDevice) -> None:
    class Stubborn(BenchDevice):
        async def read(self, _: Clip, __: int) -> AsyncIterator[bytes]:
            raise CannotResume("not now")
            yield b""

    device = Stubborn()
    device.record("a", some_bytes(BIG))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(20):
        with pytest.raises(CannotResume):
            await station.take(device.offer("a"))
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208


@pytest.mark.parametrize("length", [100, BIG])
async def test_an_error_of_the_device_hurts_this_capture_alone_and_passes(
    station: Station, bench: BenchDevice, length: int
) -> None:
    bench.record("a", some_bytes(length), wire="E")
    with pytest.raises(DeviceRefused):
        await station.take(bench.offer("a"))
    assert await station.dock(bench) == {Standing.HELD: 1}


async def test_cancelled_in_mid_copy_it_continues_later(station: Station, bench: BenchDevice) -> None:
    clip = bench.record("a", some_bytes(BIG), wire="rrrDDDDDD")
    taking = asyncio.create_task(station.take(bench.offer("a")))
    while clip.given < 3 * SMALL:  # noqa: ASYNC110
        await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert await station.dock(bench) == {Standing.HELD: 1}
    assert clip.given - BIG <= 2 * SMALL


@pytest.mark.parametrize("steps", [*range(0, 60, 3), 100, 200])
async def test_cancelled_at_any_step_nothing_that_was_promised_is_lost(
    station: Station, bench: BenchDevice, steps: int
) -> None:
    bench.record("a", some_bytes(100))
    bench.record("b", some_bytes(2 * SMALL))
    taking = [asyncio.create_task(station.take(bench.offer(key))) for key in "ab"]
    for _ in range(steps):
        await asyncio.sleep(0)
    for task in taking:
        task.cancel()
    done = await asyncio.gather(*taking, return_exceptions=True)
    assert await station.count(Standing.HELD) >= done.count(Standing.HELD)
    await station.restart()
    await station.verify()
    assert await station.dock(bench) == {Standing.HELD: 2}


# --- our disk ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [100, BIG])
@pytest.mark.parametrize("stated", [True, False])
async def test_a_full_spool_loses_nothing_and_goes_on_by_itself(
    station: Station,
    bench: BenchDevice,
    length: int,
    stated: bool,  # noqa: FBT001
) -> None:
    clip = bench.record("a", some_bytes(length), says=length if stated else None)
    station.spool.watermark = 1 << 60
    with pytest.raises(SpoolFull):
        await station.take(bench.offer("a"))
    assert clip.given == 0
    station.spool.watermark = 0
    assert await station.dock(bench) == {Standing.HELD: 1}
    assert station.damage == []


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_disk_that_fills_in_mid_copy_keeps_what_arrived(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    clip = bench.record("a", some_bytes(BIG), says=None)
    true_write, count = durable.write_all, [0]

    def write_all(fd: int, data: bytes, offset: int) -> None:
        if len(data) > 100_000:
            count[0] += 1
            if count[0] > after:
                raise OSError(28, "No space left on device")
        true_write(fd, data, offset)

    monkeypatch.setattr(durable, "write_all", write_all)
    with pytest.raises(SpoolFull):
        await station.take(bench.offer("a"))
    monkeypatch.undo()
    assert await station.dock(bench) == {Standing.HELD: 1}
    assert clip.opened_at[1] >= (after - 1) * SMALL
    assert station.damage == []


@pytest.mark.slow
@pytest.mark.parametrize("stated", [True, False])
async def test_more_than_four_gibibytes(station: Station, tmp_path: Path, stated: bool) -> None:  # noqa: FBT001
    """Sparse on the device, so that only our own copy costs anything; it is not read back at the end."""
    film = tmp_path / "film"
    film.touch()
    length = (1 << 32) + 4097
    os.truncate(film, length)
    with film.open("r+b") as file:
        file.seek((1 << 32) - 3)
        file.write(b"across the border")
    device = BenchDevice(block=8 * SMALL)
    device.record("film", film, says=length if stated else None)
    assert await station.take(device.offer("film")) is Standing.HELD
    holding = await station.only()
    assert holding.digest.length == length
    with film.open("rb") as file:
        assert holding.digest.sha256 == hashlib.file_digest(file, "sha256").digest()
    assert len(holding.parts) == length // PART_LENGTH + 1


async def test_a_device_gone_before_anything_was_read_costs_nothing(station: Station, bench: BenchDevice) -> None:
    bench.record("a", some_bytes(BIG), wire="G")
    with pytest.raises(DeviceGone):
        await station.take(bench.offer("a"))
    assert station.ingest.arrivals == {}


@pytest.mark.parametrize(
    "claims",
    [
        {"speed": 1.5},
        {"größe": 1},
        {"large": 1 << 60},
        {"lots": "x" * 40_000},
        {"lots": "x" * 70_000},
        {"odd": "\ud800"},
    ],
)
@pytest.mark.parametrize("length", [100, BIG])
async def test_claims_that_cannot_stand_in_an_entry_are_left_out_and_said_so(
    station: Station, bench: BenchDevice, claims: dict[str, object], length: int
) -> None:
    bench.record("a", some_bytes(length), claims=claims)
    assert await station.dock(bench) == {Standing.HELD: 1}


@pytest.mark.parametrize("claims", [{"speed": 1.5}, {"lots": "x" * 70_000}])
async def test_claims_of_any_size_do_not_keep_a_part_from_being_set_aside(
    station: Station, bench: BenchDevice, claims: dict[str, object]
) -> None:
    bench.record("a", some_bytes(BIG), says=BIG + 1, claims=claims)
    with pytest.raises(BadCapture):
        await station.take(bench.offer("a"))
    assert len(parts(station)) == 1
