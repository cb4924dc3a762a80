"""Recordings for the demo: real MP4 files, made with ffmpeg, or the user's own from EVIDOCK_SAMPLES."""

import asyncio
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from agent.errors import Refusal

__all__ = ["longer", "recordings"]

SUFFIXES: Final = frozenset({".mp4", ".mov", ".avi", ".mkv", ".ts", ".m4v"})
SAMPLES_MAX: Final = 10
SAMPLES_BYTES: Final = 2 << 30

LONG: Final = 64 << 20
"""Bytes from which a recording is long enough to be interrupted in mid-way."""


@dataclass(frozen=True, slots=True)
class _Take:
    """One recording to be made: noise in the picture makes it as long as a real one."""

    name: str
    seconds: int
    quality: int
    """x264's quantiser: smaller is longer."""
    size: str = "1280x720"
    loops: int = 1


_TAKES: Final = (
    _Take("clip1.mp4", 3, 28),
    _Take("clip2.mp4", 6, 30),
    _Take("clip3.mp4", 2, 12, size="1920x1080", loops=2),
    _Take("clip4.mp4", 2, 34),
    _Take("clip5.mp4", 4, 26),
    _Take("clip6.mp4", 1, 38),
    _Take("clip7.mp4", 5, 32),
    _Take("clip8.mp4", 2, 24),
)
_LONG_TAKE: Final = _Take("long.mp4", 2, 12, size="1920x1080", loops=2)


async def recordings(folder: Path) -> list[Path]:
    """Files in this folder, at least one of them long."""
    samples = os.environ.get("EVIDOCK_SAMPLES")
    if not samples:
        return [await _made(take, folder) for take in _TAKES]
    found = _samples(Path(samples))
    if not any(path.stat().st_size >= LONG for path in found):
        found.append(await _made(_LONG_TAKE, folder))
    return found


async def longer(folder: Path, times: int) -> Path:
    """A recording so many times as long as the longest: for a machine on which that one is copied in no time."""
    return await _made(replace(_LONG_TAKE, name=f"long{times}.mp4", loops=_LONG_TAKE.loops * times), folder)


def _samples(folder: Path) -> list[Path]:
    try:
        films = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError as error:
        raise Refusal(f"EVIDOCK_SAMPLES: {error}", hint="Let it name a folder with recordings, or unset it.") from error
    chosen: list[Path] = []
    room = SAMPLES_BYTES
    for film in films:
        if (length := film.stat().st_size) <= room and len(chosen) < SAMPLES_MAX:
            chosen.append(film)
            room -= length
    if not chosen:
        raise Refusal(
            f"no recordings lie in {folder}", hint="Let EVIDOCK_SAMPLES name a folder with some, or unset it."
        )
    return chosen


async def _made(take: _Take, folder: Path) -> Path:
    """Picture with noise, and a tone; encoded once and then, where it is to be longer, repeated without encoding."""
    path = folder / take.name
    once = path if take.loops == 1 else folder / f"once-{take.name}"
    picture = f"testsrc2=size={take.size}:rate=30:duration={take.seconds},noise=alls=30:allf=t"
    sound = f"sine=frequency=440:sample_rate=48000:duration={take.seconds}"
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", str(take.quality), "-pix_fmt", "yuv420p", "-c:a", "aac"]
    await _ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *coding, str(once))
    if once is not path:
        await _ffmpeg("-stream_loop", str(take.loops - 1), "-i", str(once), "-c", "copy", str(path))
        once.unlink()
    return path


async def _ffmpeg(*words: str) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        raise Refusal(
            "ffmpeg is not installed, and the demo makes its recordings with it",
            hint="Install it (on Debian: apt install ffmpeg), or let EVIDOCK_SAMPLES name a folder with recordings.",
        )
    process = await asyncio.create_subprocess_exec(
        program,
        *("-nostdin", "-loglevel", "error", "-y"),
        *words,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate()
    if process.returncode:
        raise Refusal(f"ffmpeg failed: {complaint.decode(errors='replace').strip()[:300]}")
