"""An interview of a real RTSP server, recorded by a real ffmpeg: whole, in order, and held while it goes on."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import Refusal
from agent.testing.rig import running
from agent.testing.station import Station
from tests.drivers.interview_room.live.conftest import frames_in, probed
from tests.drivers.interview_room.long import long

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.capture import Holding, Json
    from drivers.interview_room.live import LiveRoom
    from drivers.interview_room.live.emulator import CameraEmulator

WITHIN = 60.0


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(WITHIN):
        while not true():  # noqa: ASYNC110 - a driver tells nobody
            await asyncio.sleep(0.05)


async def order(driver: LiveRoom, word: str, note: str = "") -> dict[str, Any]:
    written: list[Mapping[str, Json]] = []

    async def record(detail: Mapping[str, Json]) -> None:
        written.append(detail)

    told = await driver.order(word, {"note": note}, actor="uid:1000", record=record)
    assert word == "status" or len(written) == 1
    assert isinstance(told, dict)
    return told


async def segments(station: Station) -> list[Holding]:
    found = [one for one in await station.holdings() if one.media_type == "video/quicktime"]
    return sorted(found, key=lambda one: one.origin.key)


async def enough(station: Station, count: int) -> None:
    async with asyncio.timeout(WITHIN):
        while len(await segments(station)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def notes(station: Station) -> dict[str, Any]:
    async with asyncio.timeout(WITHIN):
        while not (found := [one for one in await station.holdings() if one.media_type == "application/json"]):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    told: dict[str, Any] = json.loads(b"".join(station.spool.read(found[-1].digest.sha256)))
    return told


def written(station: Station, holdings: list[Holding], folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / one.origin.key.rpartition("/")[2] for one in holdings]
    for path, one in zip(paths, holdings, strict=True):
        path.write_bytes(b"".join(station.spool.read(one.digest.sha256)))
    return paths


def command_lines() -> dict[int, bytes]:
    """Those of every ffmpeg that we started."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            status = path.with_name("status").read_text()
            if f"PPid:\t{os.getpid()}\n" in status and b"segment_list" in (line := path.read_bytes()):
                found[int(path.parent.name)] = line
    return found


@pytest.mark.slow
@pytest.mark.proves("interview_room.live", peer="GStreamer's RTSP server; ffprobe and ffmpeg as second readers")
async def test_segments_are_held_while_it_goes_on_and_join_without_loss(
    camera: CameraEmulator, made: Callable[..., LiveRoom], tmp_path: Path
) -> None:
    driver = made(camera)
    async with Station(tmp_path / "station") as station, running(driver, station):
        told = await order(driver, "start", "interview of a witness")
        assert told["streams"]["front"]["state"] == "recording"
        with pytest.raises(Refusal, match="is being recorded"):
            await order(driver, "start")
        await enough(station, 2)
        assert driver._current is not None, "what is held is held while the interview goes on"
        await order(driver, "mark", "he names the place")
        lines = command_lines()
        assert lines, "ffmpeg is looked for where it is not"
        assert not any(b"s3cret" in line for line in lines.values()), "a password on a command line"
        await asyncio.sleep(1)
        told = await order(driver, "stop")
        assert told["interview"] is None
        said = await notes(station)
        held = await segments(station)
        (last,) = [one for one in await station.holdings() if one.media_type == "application/json"]
        paths = written(station, held, tmp_path / "out")
        await station.verify()
    track = said["tracks"]["front"]
    assert [one["file"] for one in track["segments"]] == [path.name for path in paths]
    assert [one["sha256"] for one in track["segments"]] == [one.digest.sha256.hex() for one in held]
    assert [mark["note"] for mark in said["marks"]] == ["he names the place"]
    assert not track["gaps"]
    assert said["began_by"] == said["ended_by"] == "uid:1000"
    assert "-c copy" in said["made_with"]["command"]
    assert "s3cret" not in json.dumps(said)
    assert {one.group for one in held} == {said["id"]}
    assert {one.members for one in held} == {0}, "while it goes on nobody knows how many there will be"
    assert last.members == len(held) + 1
    assert not list((tmp_path / "live").iterdir()), "nothing stays behind"
    # ffmpeg joins them: as many packets as all together, and by the numbers in the pictures themselves none is missing
    listing = tmp_path / "list"
    listing.write_text("".join(f"file '{path}'\n" for path in paths))
    joined = tmp_path / "joined.mov"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "concat",
        "-safe",
        "0",
        "-i",
        str(listing),
        "-map",
        "0",
        "-c",
        "copy",
        str(joined),
    ]
    await asyncio.to_thread(subprocess.run, command, check=True)
    packets = [packet for packet in probed(joined) if packet["codec_type"] == "video"]
    assert len(packets) == sum(len([p for p in probed(path) if p["codec_type"] == "video"]) for path in paths)
    numbers = await asyncio.to_thread(frames_in, joined)
    apart = [len(await asyncio.to_thread(frames_in, path)) for path in paths]
    assert len(numbers) == sum(apart) > 30
    assert all(b == a + 1 or (a, b) == (9, 0) for a, b in pairwise(numbers)), "a frame is missing"
    assert any(packet["codec_type"] == "audio" for packet in probed(joined))
    seconds = [float(one["seconds"]) for one in track["segments"] if one["seconds"]]
    began = [datetime.fromisoformat(one["began_at"]) for one in track["segments"]]
    for (a, b), length in zip(pairwise(began), seconds, strict=False):
        assert abs((b - a).total_seconds() - length) < 0.01, "one begins where the one before ends"


@long
async def test_a_lost_stream_is_told_and_asked_for_again(
    camera: CameraEmulator, made: Callable[..., LiveRoom], tmp_path: Path
) -> None:
    driver = made(camera)
    async with Station(tmp_path / "station") as station, running(driver, station):
        await order(driver, "start")
        await enough(station, 1)
        await camera.stop()
        await until(lambda: [one.id for one in driver.notices()] == ["room.no_stream"])
        await camera.start()
        await until(lambda: not driver.notices())
        count = len(await segments(station))
        await enough(station, count + 1)
        await order(driver, "stop")
        said = await notes(station)
        await station.verify()
        kinds = [one.kind for one in station.observed if one.kind.startswith("room.")]
        assert kinds == ["room.started", "room.stream_lost", "room.stream_back", "room.stopped"]
    (gap,) = said["tracks"]["front"]["gaps"]
    assert datetime.fromisoformat(gap["to"]) > datetime.fromisoformat(gap["from"])
    assert gap["why"]
    assert len(said["tracks"]["front"]["runs"]) == 2
    assert "s3cret" not in json.dumps(said)
    numbers = [one["number"] for one in said["tracks"]["front"]["segments"]]
    assert numbers == list(range(1, len(numbers) + 1))


@long
async def test_a_camera_that_stalls_is_taken_for_lost(
    camera: CameraEmulator, made: Callable[..., LiveRoom], tmp_path: Path
) -> None:
    driver = made(camera)
    async with Station(tmp_path / "station") as station, running(driver, station):
        await order(driver, "start")
        await enough(station, 1)
        camera.stall()
        await until(lambda: [one.id for one in driver.notices()] == ["room.no_stream"])
        camera.go_on()
        await until(lambda: not driver.notices())
        await order(driver, "stop")
        assert len((await notes(station))["tracks"]["front"]["gaps"]) == 1
        await station.verify()


@long
async def test_an_end_in_the_middle_goes_on_at_the_next_start(
    camera: CameraEmulator, made: Callable[..., LiveRoom], tmp_path: Path
) -> None:
    """What was recorded before is held, the same interview goes on, and the time between is a gap of it."""
    async with Station(tmp_path / "station") as station:
        driver = made(camera)
        async with running(driver, station):
            told = await order(driver, "start")
            await enough(station, 1)
        ended = datetime.now(UTC)
        await asyncio.sleep(3)  # the power is away
        driver = made(camera)
        async with running(driver, station):
            await until(lambda: driver._current is not None and not driver.notices() and driver._recorders)
            await until(lambda: driver._recorders[0].state == "recording")
            await order(driver, "stop")
            said = await notes(station)
        assert said["id"] == told["interview"]
        (gap,) = said["tracks"]["front"]["gaps"]
        assert gap["why"] == "the station was not running"
        assert datetime.fromisoformat(gap["from"]) < ended + timedelta(seconds=1), "not when it was started again"
        assert gap["to"] == said["tracks"]["front"]["runs"][-1]["began_at"]
        assert len({one["file"] for one in said["tracks"]["front"]["segments"]}) == len(await segments(station))
        await station.verify()


@long
async def test_ffmpeg_that_is_killed_costs_less_than_a_segment(
    camera: CameraEmulator, made: Callable[..., LiveRoom], tmp_path: Path
) -> None:
    """As by a power cut: the piece that was being written is held with what it has, and says that it was cut."""
    driver = made(camera, segment=20)
    async with Station(tmp_path / "station") as station, running(driver, station):
        await order(driver, "start")
        written_to = tmp_path / "live"

        def long_enough() -> bool:
            return any(path.stat().st_size > 60_000 for path in written_to.rglob("*.mov"))

        await until(long_enough)
        for process in command_lines():
            os.kill(process, 9)
        await enough(station, 1)
        await until(lambda: driver._recorders and driver._recorders[0].state == "recording")
        await order(driver, "stop")
        said = await notes(station)
        first = (await segments(station))[0]
        (path,) = written(station, [first], tmp_path / "out")
        await station.verify()
    assert said["tracks"]["front"]["segments"][0]["cut"] is True
    assert len([packet for packet in probed(path) if packet["codec_type"] == "video"]) >= 10


async def test_two_cameras_of_which_one_is_not_there(
    camera: CameraEmulator, made: Callable[..., LiveRoom], tmp_path: Path
) -> None:
    from drivers.interview_room.live.emulator import CameraEmulator as Camera  # noqa: PLC0415

    driver = made(camera, Camera())
    async with Station(tmp_path / "station") as station, running(driver, station):
        told = await order(driver, "start")
        assert told["streams"]["front"]["state"] == "recording"
        assert told["streams"]["back"]["state"].startswith("no stream: ")
        assert [one.what for one in driver.notices()] == ["room room-1 back"]
        await order(driver, "stop")
        said = await notes(station)
        assert [len(said["tracks"][name]["gaps"]) for name in ("front", "back")] == [0, 1]
        assert said["tracks"]["back"]["gaps"][0]["to"] is None
        await station.verify()
