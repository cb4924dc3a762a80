"""Pulled out in mid-copy, and put back: what goes on, what begins anew, and what is another capture."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Standing
from agent.errors import BadCapture, CannotResume, DeviceRefused
from agent.ingest import SMALL
from agent.journal import queries
from agent.spool import stage
from agent.testing.devices import BenchDevice, Clip, some_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.journal import Journal
    from agent.testing.station import Station

BIG = 5 * SMALL + 17


async def told_of(station: Station) -> list[dict[str, Any]]:
    def read(journal: Journal) -> list[dict[str, Any]]:
        return [json.loads(leaf)["predicate"] for _, leaf in journal.leaves.between(0, journal.leaves.size)]

    return await station.desk.read(read)


def parts(station: Station) -> set[str]:
    return {path.name for path in (station.spool.root / "parts").iterdir()}


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
    bench.record("a", some_bytes(BIG + 5, "another"))
    assert await station.dock(bench) == {Standing.HELD: 1}
    assert len(parts(station)) == 1  # other bytes came first: a person may want to see them


async def test_a_device_that_cannot_resume_is_read_from_the_beginning(station: Station) -> None:
    device = BenchDevice(resumable=False)
    clip = device.record("a", some_bytes(BIG), wire="rrrG")
    await station.dock(device)
    device.plug_in()
    assert await station.dock(device) == {Standing.HELD: 1}
    assert clip.opened_at == [0, 0]
    # What had arrived is the beginning of what is held: it does not lie there twice, and an entry says so.
    assert parts(station) == set()
    (told,) = [said for said in await told_of(station) if said["event"] == "part.explained"]
    assert told["part"]["begins"]["capture"] == (await station.only()).id
    assert 0 < told["part"]["length"] < BIG


async def test_however_often_it_begins_anew_nothing_of_it_lies_there_twice(station: Station) -> None:
    device = BenchDevice(resumable=False)
    for wire in ("rG", "rrG", "rrrG", ""):
        device.clips.pop("a", None)
        device._ever.clear()
        device.record("a", some_bytes(BIG), wire=wire)
        device.plug_in()
        await station.dock(device)
    assert await station.count(Standing.HELD) == 1
    assert parts(station) == set()


async def test_a_crash_after_the_entry_leaves_a_part_that_is_found(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = BenchDevice(resumable=False)
    device.record("a", some_bytes(BIG), wire="rrrG")
    await station.dock(device)
    device.plug_in()
    monkeypatch.setattr(station.spool.aside, "drop", lambda _: None)
    assert await station.dock(device) == {Standing.HELD: 1}
    assert len(parts(station)) == 1
    await station.restart()
    assert len(await station.desk.read(queries.parts)) == 1


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
