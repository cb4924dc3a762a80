"""Cameras of a room: GStreamer's RTSP server, with faults: it stalls, goes away, comes back, refuses."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from agent.testing.ports import free_port

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["PYTHON", "CameraEmulator", "usable"]

PYTHON: Final = "/usr/bin/python3"
"""Debian's: GStreamer's bindings are made for it alone."""
_SERVER: Final = Path(__file__).with_name("server.py")
_WITHIN: Final = 30.0


async def usable() -> str | None:
    """Why there can be no such server here; None where there can."""
    try:
        process = await asyncio.create_subprocess_exec(
            PYTHON, str(_SERVER), "--check", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        return f"{PYTHON}: {error.strerror}"
    _, said = await process.communicate()
    return None if process.returncode == 0 else said.decode(errors="replace").strip().rpartition("\n")[2]


class CameraEmulator:
    """One camera with a test picture and sound, live, on loopback."""

    def __init__(self, *, user: str | None = None, password: str = "", sound: bool = True, key_every: int = 10) -> None:
        """`key_every`: frames from one key frame to the next, at ten frames a second."""
        self.port = free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/live"
        self._arguments = [
            str(self.port),
            "sound" if sound else "silent",
            str(key_every),
            *([user, password] if user else []),
        ]
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Serve."""
        self._process = await asyncio.create_subprocess_exec(
            PYTHON,
            str(_SERVER),
            *self._arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "GST_DEBUG": "0"},
        )
        if self._process.stdout is not None:
            async with asyncio.timeout(_WITHIN):
                if await self._process.stdout.readline() != b"ready\n":
                    raise OSError(f"the RTSP server did not start on port {self.port}")

    async def stop(self) -> None:
        """Pull its plug."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._process = None

    def stall(self) -> None:
        """It says nothing any more, and its connections stand."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It does again."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
