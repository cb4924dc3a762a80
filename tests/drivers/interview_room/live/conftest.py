"""What the tests of recorded rooms share: a camera of GStreamer, a driver, and ffprobe as a second reader."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from pytest_asyncio import fixture

from drivers.interview_room.live import LiveRoom
from drivers.interview_room.live.emulator import CameraEmulator, usable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def _ffmpeg_is_here() -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not here")


@fixture
async def camera() -> AsyncIterator[CameraEmulator]:
    if (why := await usable()) is not None:
        pytest.skip(f"there is no GStreamer RTSP server here: {why}")
    async with CameraEmulator(user="recorder", password="s3cret:/@'x") as camera:  # noqa: S106 - of the emulator
        yield camera


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., LiveRoom]:
    def make(*cameras: CameraEmulator, **options: object) -> LiveRoom:
        secret = tmp_path / "password"
        secret.write_text("s3cret:/@'x\n")
        streams = [
            {"name": name, "url": one.url, "user": "recorder", "password_file": secret}
            for name, one in zip(("front", "back"), cameras, strict=False)
        ]
        known: dict[str, Any] = {
            "use": "interview_room.live",
            "name": "room-1",
            "folder": tmp_path / "live",
            "stream": streams or [{"name": "front", "url": "rtsp://127.0.0.1:9/none"}],
            "segment": 2,
            "silence": 2,
            "rescan": 0.05,
        }
        return LiveRoom(LiveRoom.Options.model_validate(known | options))

    return make


def probed(path: Path) -> list[dict[str, Any]]:
    """Every packet, as ffprobe sees it."""
    command = ["ffprobe", "-v", "error", "-show_entries", "packet=codec_type,pts_time,flags", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, check=True)
    packets: list[dict[str, Any]] = json.loads(done.stdout)["packets"]
    return packets


def frames_in(path: Path) -> list[int]:
    """`frame_num` of every picture (ITU-T H.264, 7.4.3): it counts from each key frame on, so that a loss shows."""
    command = ["ffmpeg", "-hide_banner", "-i", str(path), "-map", "0:v", "-c", "copy", "-bsf:v", "trace_headers"]
    done = subprocess.run([*command, "-f", "null", "-"], capture_output=True, check=True)
    return [int(found[1]) for found in re.finditer(rb"frame_num +[01]+ = (\d+)", done.stderr)]
