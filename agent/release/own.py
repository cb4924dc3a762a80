"""Processes of our own that delete: started when a question comes, and ended when none came for a while.

There are a few for the whole station, and one more for each that takes long: a volume that hangs keeps its process for
as long as it hangs, and all others are asked about elsewhere.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from agent.release.asking import LINE_MAX

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Hashable
    from pathlib import Path

    from agent.release.asking import Ends

__all__ = ["PROCESSES", "Own", "Pool"]

PROCESSES: Final = 4
"""That work at once, as long as none takes long."""
_LONG: Final = 10.0
"""Seconds after which another volume has its turn as well, whatever this one does: each has one process at most."""
_ENDED_WITHIN: Final = 1.0
"""Seconds in which a process that was killed has ended, where nothing holds it in the kernel."""
_END_WITHIN: Final = 5.0
_IDLE: Final = 60.0
"""Seconds without a question after which it ends: several are there only while several volumes are released."""


class Own:
    """One that hangs or dies is replaced by another."""

    def __init__(self, trust: Path) -> None:
        self._trust = trust
        self.process: Process | None = None
        self.killed: Process | None = None
        """The last one that was given up: where its volume hangs, it lives on in the kernel."""
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

    def _let_end(self) -> Process | None:
        """It reads the end of its questions, and ends."""
        process, self.process = self.process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
        return process

    def _give_up(self) -> None:
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.killed = self.process
        self.process = None


class Pool:
    """The processes of one station."""

    def __init__(self, trust: Path) -> None:
        self._trust = trust
        self._turns = asyncio.Semaphore(PROCESSES)
        self.free: list[Own] = []
        self.busy: dict[Hashable, Own] = {}
        """By the volume that they are asked about."""
        self._hung: dict[Hashable, Process] = {}
        """Killed, and not ended: of such a volume no other one is asked, for it would come to hang beside the first."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until one more process may work, and count as one of them while inside, but not for long."""
        await self._turns.acquire()
        once = ExitStack()
        once.callback(self._turns.release)
        timer = asyncio.get_running_loop().call_later(_LONG, once.close)
        try:
            yield
        finally:
            timer.cancel()
            once.close()

    @asynccontextmanager
    async def ends(self, volume: Hashable) -> AsyncIterator[Ends]:
        """The two ends of a process that is asked about this volume alone. Raises `OSError`."""
        await self._see_hung(volume)
        own = self.busy[volume] = self.free.pop() if self.free else Own(self._trust)
        try:
            async with own.ends() as both:
                yield both
        finally:
            del self.busy[volume]
            self.free.append(own)
            if own.killed is not None and own.killed.returncode is None:
                self._hung[volume] = own.killed
            own.killed = None

    async def _see_hung(self, volume: Hashable) -> None:
        """Raise `OSError` while the process that was given up for this volume is held in the kernel."""
        for other in [one for one, process in self._hung.items() if process.returncode is not None]:
            del self._hung[other]
        if volume in self._hung:
            async with asyncio.timeout(_ENDED_WITHIN):
                await self._hung[volume].wait()

    async def aclose(self) -> None:
        """Let all of them end."""
        await asyncio.gather(*(own.aclose() for own in self.free))
        self.free.clear()
