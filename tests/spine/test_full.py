"""Our own disk: full, filling up, and four gibibytes on it; and what a device claims that no entry can hold."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from agent import durable
from agent.anchor.keys import make_key
from agent.capture import PART_LENGTH, Capture, Standing
from agent.errors import BadCapture, DeviceGone, SpoolFull
from agent.ingest import SMALL
from agent.release.trusting import trust_file
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.station import Station

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

BIG = 5 * SMALL + 17


def parts(station: Station) -> set[str]:
    return {path.name for path in (station.spool.root / "parts").iterdir()}


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


@pytest.mark.parametrize(
    "start", [lambda path: trust_file(path, {}), lambda path: make_key(path, "log")], ids=["trust", "key"]
)
def test_a_start_that_finds_no_room_says_so_and_blames_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[[Path], None]
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(durable, "replace_file", no_room)
    with pytest.raises(SpoolFull, match="Disk quota exceeded"):
        start(tmp_path / "file")


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


ZEROS = bytes(8 * SMALL)
BORDER = 1 << 32
ACROSS = b"across the border"
FILM = BORDER + 4097
FILM_SHA256 = "d89b522e455a8114996a14bfc84c5d6f8f79373b9a384e71f1e2ae9a4680cc1f"
"""`sha256sum` of so many zeros in which `ACROSS` begins three bytes before the border."""


class LongFilm:
    """An `Offer` whose device does not know how long it is."""

    capture = Capture(BenchDevice().device, "film", None)

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        assert offset == 0
        for _ in range(BORDER // len(ZEROS) - 1):
            yield ZEROS
        yield ZEROS[:-3] + ACROSS[:3]
        yield ACROSS[3:].ljust(FILM - BORDER, b"\0")

    async def release(self) -> None:
        raise AssertionError("nobody asked for that")


@pytest.mark.slow
async def test_more_than_four_gibibytes_of_unknown_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros are holes in our copy, so that it costs no disk; what lies around the border is written as ever."""
    true_write = durable.write_all

    def write_all(fd: int, data: bytes, offset: int) -> None:
        if data is ZEROS:
            os.ftruncate(fd, offset + len(data))
        else:
            true_write(fd, data, offset)

    monkeypatch.setattr(durable, "write_all", write_all)
    async with Station(tmp_path / "station") as station:  # not verified at the end: that would read it all twice more
        assert await station.take(LongFilm()) is Standing.HELD
        holding = await station.only()
        assert (holding.digest.length, holding.digest.sha256.hex()) == (FILM, FILM_SHA256)
        assert len(holding.parts) == FILM // PART_LENGTH + 1
        kept = station.spool.path(holding.digest.sha256)
        with kept.open("rb") as file:
            file.seek(BORDER - 3 - 10)
            assert file.read() == bytes(10) + ACROSS.ljust(FILM - BORDER + 3, b"\0")
        assert station.damage == []


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
