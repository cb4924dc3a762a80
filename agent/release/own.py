"""A process of our own that deletes: started when the first question comes, and ended when none came for a while."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from agent.release.asking import LINE_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.release.asking import Ends

__all__ = ["Own"]

_END_WITHIN: Final = 5.0
_IDLE: Final = 60.0
"""Seconds without a question after which it ends: several are there only while several volumes are released."""


class Own:
    """One that hangs or dies is replaced by another."""

    def __init__(self, trust: Path) -> None:
        self._trust = trust
        self.process: asyncio.subprocess.Process | None = None
        self._read: tuple[int, int] | None = None
        """Which trust file the process has read: what a person writes anew is read by another process."""
        self._idle: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def ends(self) -> AsyncIterator[Ends]:
        """The two ends of the process, which goes on after it was asked; one that failed is ended."""
        self._awake()
        try:
            yield await self._running()
        except BaseException:
            self._give_up()  # its answer would be taken for that of the next question
            raise
        self._idle = asyncio.get_running_loop().call_later(_IDLE, self._let_end)

    async def aclose(self) -> None:
        """Let the process end."""
        self._awake()
        process = self._let_end()
        if process is None:
            return
        try:
            async with asyncio.timeout(_END_WITHIN):
                await process.wait()
        except TimeoutError:
            process.kill()  # in a system call on a device that hangs it ends when that does

    async def _running(self) -> Ends:
        about = self._trust.stat()
        if self._read != (about.st_ino, about.st_mtime_ns):
            self._give_up()
            self._read = (about.st_ino, about.st_mtime_ns)
        if self.process is None or self.process.returncode is not None:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agent.releaser", str(self._trust)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_MAX,
            )
        reader, writer = self.process.stdout, self.process.stdin
        if reader is None or writer is None:  # both were asked for
            raise ConnectionError("it has no ends to speak to")
        return reader, writer

    def _awake(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _let_end(self) -> asyncio.subprocess.Process | None:
        """It reads the end of its questions, and ends."""
        process, self.process = self.process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
        return process

    def _give_up(self) -> None:
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
        self.process = None
