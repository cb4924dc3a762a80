"""One connection to one stream: ffmpeg copies it into segments, and is watched, heard and ended.

No password ever stands on a command line, where everybody may read it: the address is handed over as a list of one
entry (for the concat demuxer) in a file that exists in memory alone. Nothing is decoded or encoded. A fragment is
written each second, so what a crash of ffmpeg costs is less than that.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from agent.capture import printable
from agent.errors import DeviceRefused, in_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from drivers.interview_room.live.options import StreamOptions

__all__ = ["Connection", "command", "version_of"]

_PROTOCOLS: Final = "fd,file,rtsp,rtp,tcp,tls,crypto"
_FRAGMENT_US: Final = 1_000_000
_LINE_MAX: Final = 2000
_LINES: Final = 5
_SECRET_MAX: Final = 4096
_LETTERS: Final = re.compile(r"//[^/@\s]*@")
_PLACES: Final = re.compile(r"\[[^\]@]+ @ 0x[0-9a-f]+\] ?|/dev/fd/\d+: ?")
"""Where in ffmpeg it was said, and under which name it has what we hand it: nothing for whoever looks at a room."""
FIRST_SECONDS: Final = 20.0
"""In which the first frame must come: a camera may have to be woken."""
_END_SECONDS: Final = 5.0
"""In which ffmpeg finishes its file when it is asked to end; then it is killed, and the file is cut."""


def command(
    stream: StreamOptions, first: int, *, seconds: float, container: str, source: str, program: str = "ffmpeg"
) -> list[str]:
    """What is run: the interview's notes quote it, for nothing secret stands in it."""
    maps = ["-map", "0:v", *(["-map", "0:a?"] if stream.audio else [])]
    return [
        program, "-hide_banner", "-nostdin", "-loglevel", "warning", "-stats_period", "0.5", "-progress", "pipe:1",
        "-f", "concat", "-safe", "0", "-protocol_whitelist", _PROTOCOLS, "-i", source,
        *maps, "-c", "copy", "-f", "segment",
        "-segment_time", f"{seconds:g}", "-segment_start_number", str(first), "-segment_format", container,
        "-segment_format_options",
        f"movflags=+frag_keyframe+empty_moov+default_base_moof:frag_duration={_FRAGMENT_US}",
        "-segment_list", f"{stream.name}-{first:06}.csv", "-segment_list_type", "csv",
        f"{stream.name}-%06d.{container}",
    ]  # fmt: skip


@cache
def version_of(program: str = "ffmpeg") -> str:
    """The program's first line; asked once. Blocks. `DeviceRefused` where it is not there."""
    import subprocess  # noqa: PLC0415 - used here alone

    hint = "Install it: apt install ffmpeg."
    try:
        done = subprocess.run([program, "-version"], capture_output=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise DeviceRefused(f"{program} cannot be run: {in_words(error)}", hint=hint) from error
    return printable(done.stdout.split(b"\n", 1)[0])[:200]


class Connection:
    """One ffmpeg, from when it begins until it is gone."""

    def __init__(self, process: asyncio.subprocess.Process, secrets: list[str]) -> None:
        self._process, self._secrets = process, [one for one in secrets if one]
        self._said: list[str] = []
        self._seconds = 0.0
        self._moved = time.monotonic()
        self.began_at: datetime | None = None
        """When its first frame came: the least of all guesses, for the first frames come in a swarm."""
        self.first_frame = asyncio.Event()
        self._readers = [asyncio.create_task(self._hear()), asyncio.create_task(self._progress())]

    @classmethod
    async def begin(
        cls, stream: StreamOptions, folder: Path, first: int, *, seconds: float, silence: float, container: str
    ) -> Connection:
        """Start it in this folder. `DeviceRefused` where it cannot be started."""
        password = "" if stream.password_file is None else await asyncio.to_thread(_secret, stream.password_file)
        source = os.memfd_create("stream")
        try:
            os.write(source, _entry(stream, password, silence))
            os.lseek(source, 0, os.SEEK_SET)
            words = command(stream, first, seconds=seconds, container=container, source=f"/dev/fd/{source}")
            if (leash := shutil.which("setpriv")) is not None:  # whatever kills us, it does not write on alone
                words = [leash, "--pdeathsig", "TERM", *words]
            process = await asyncio.create_subprocess_exec(
                *words,
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(source,),
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8"},
                limit=64 * 1024,
            )
        except OSError as error:
            raise DeviceRefused(
                f"ffmpeg cannot be started: {in_words(error)}", hint="Install it: apt install ffmpeg."
            ) from error
        finally:
            os.close(source)
        return cls(process, [password, quote(password, safe="")])

    @property
    def last_frame_at(self) -> datetime | None:
        """When the last frame came, by the stream's own time on from the first."""
        return None if self.began_at is None else self.began_at + timedelta(seconds=self._seconds)

    async def watch(self, silence: float) -> str:
        """Return when no frame comes any more: why, in a sentence."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self._process.wait()
                    await asyncio.wait(self._readers, timeout=1.0)
                    return self._why() or f"the stream ended (ffmpeg: {self._process.returncode})"
            limit = silence if self.first_frame.is_set() else max(silence, FIRST_SECONDS)
            if time.monotonic() - self._moved > limit:
                return f"no frame came for {limit:.0f} s"

    async def end(self) -> bool:
        """End it, whatever it does; True where it had the time to finish its file."""
        finished = True
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)
            try:
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                finished = False
                with suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        for reader in self._readers:
            reader.cancel()
        await asyncio.wait(self._readers)
        return finished

    def _why(self) -> str:
        return "; ".join(self._said[-2:])

    async def _hear(self) -> None:
        if self._process.stderr is None:
            return
        async for line in _lines(self._process.stderr):
            text = printable(line[:_LINE_MAX]).replace("%25", "%")
            for secret in self._secrets:
                text = text.replace(secret, "***")
            text = _PLACES.sub("", _LETTERS.sub("//", text))
            if "deprecated" not in text:
                self._said = [*self._said[-_LINES:], text[:300]]

    async def _progress(self) -> None:
        if self._process.stdout is None:
            return
        async for line in _lines(self._process.stdout):
            name, _, value = line.partition(b"=")
            if name == b"out_time_us" and value.isdigit():
                self._reached(int(value) / 1e6)

    def _reached(self, seconds: float) -> None:
        if seconds <= self._seconds:
            return
        now, self._seconds, self._moved = datetime.now(UTC), seconds, time.monotonic()
        began = now - timedelta(seconds=seconds)
        if self.began_at is None or began < self.began_at:
            self.began_at = began
        self.first_frame.set()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # longer than the limit: its rest is read as another line
            continue
        if not line:
            return
        yield line.rstrip()


def _secret(path: Path) -> str:
    try:
        with path.open("r", encoding="utf-8") as file:
            return file.read(_SECRET_MAX).rstrip("\r\n")
    except (OSError, ValueError) as error:
        hint = "Put the camera's password there, readable for the service alone."
        raise DeviceRefused(f"{path} cannot be read: {in_words(error)}", hint=hint) from error


def _entry(stream: StreamOptions, password: str, silence: float) -> bytes:
    """The list of one entry. The URL holds no quote and no space: options see to that, and quoting to the rest."""
    scheme, _, rest = stream.url.partition("://")
    user = "" if stream.user is None else f"{quote(stream.user, safe='')}:{quote(password, safe='')}@"
    lines = [
        "ffconcat version 1.0",
        f"file '{scheme}://{user}{rest}'",
        "option rtsp_transport tcp",  # over UDP what is lost is lost without a word
        f"option timeout {round(silence * 1e6)}",
    ]
    if scheme == "rtsps":
        lines += ["option tls_verify 1", f"option ca_file '{stream.ca_file or '/etc/ssl/certs/ca-certificates.crt'}'"]
    return "\n".join(lines).encode() + b"\n"
