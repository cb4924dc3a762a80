"""One request with a long body on its way: what its thread does, and the watch over it."""

from __future__ import annotations

import asyncio
from http.client import HTTPException
from math import inf
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Final

from agent.capture import PART_LENGTH
from agent.errors import SpoolDamaged
from agent.uplink.http.body import BRISK, PIECE, SLOW, SLOWEST
from agent.uplink.http.line import BLOCK

if TYPE_CHECKING:
    from concurrent.futures import Future

    from agent.uplink import Leaving
    from agent.uplink.http.incoming import Head
    from agent.uplink.http.line import Line

__all__ = ["BrokenError", "Carriage", "UnmadeError"]

LET_GO: Final = 5.0
"""Seconds for which a thread is waited for whose connection was shut down: only a disk that hangs keeps it longer."""


class UnmadeError(Exception):
    """No connection came about."""

    def __init__(self, why: OSError | RuntimeError) -> None:
        super().__init__(str(why))
        self.why = why
        """`RuntimeError`: the system gave no thread for it."""


class BrokenError(Exception):
    """The connection failed after it had been made."""

    def __init__(self, why: OSError | HTTPException, handed: int) -> None:
        super().__init__(str(why))
        self.why = why
        """`TimeoutError`: nobody took a byte or gave an answer for too long."""
        self.handed = handed
        """Bytes of the body that the socket had taken."""


class Carriage:
    """One request on one connection, which is closed by the thread unless another request may follow."""

    def __init__(
        self, line: Line, body: Leaving, length: int, *, within: float, stall: float, verifying: float
    ) -> None:
        """Seconds: `within`, until keys are agreed upon; `stall`, without a byte taken; `verifying`, for the answer."""
        self._line, self._body, self._length = line, body, length
        self._stall, self._verifying = stall, verifying
        self._until = monotonic() + within
        """When it ends, by `monotonic`, unless the thread gets on."""
        self._late = False
        self._taken = Lock()
        """Held for good by its thread, or by who ended it before it had one."""
        self._made = False
        self._sent = 0

    async def watched(self, work: Future[Head]) -> Head:
        """Wait for `run` in its thread; end it where it stands still for too long, or nobody waits for it any more.

        Raises `UnmadeError` or `BrokenError`, and what the body raised.
        """
        done = asyncio.wrap_future(work)
        try:
            while not done.done():
                await asyncio.wait({done}, timeout=max(0.05, min(self._stall / 2, self._until - monotonic())))
                if not done.done() and not self._late and monotonic() >= self._until:
                    self._late = True
                    self.end()
                    work.cancel()
        except asyncio.CancelledError:
            done.add_done_callback(self._left)
            self.end()
            work.cancel()
            await asyncio.wait({done}, timeout=LET_GO)
            raise
        if done.cancelled():  # no thread was free for it
            raise UnmadeError(TimeoutError())
        try:
            return done.result()
        except (OSError, HTTPException) as error:
            why = TimeoutError() if self._late else error
            if not self._made and isinstance(why, OSError):
                raise UnmadeError(why) from error
            raise BrokenError(why, self._sent) from error

    def _left(self, done: asyncio.Future[Head]) -> None:
        """Nobody uses its connection any more, and nobody asks how it went."""
        self._line.close()
        if not done.cancelled():
            done.exception()

    def end(self) -> None:
        """End whatever its thread waits for; where it has none, none will have it."""
        self._body.stop()
        self._line.shut()
        if self._taken.acquire(blocking=False):
            self._line.close()

    def run(self, request: bytes, method: str, *, longest: int) -> Head:
        """In a thread: send it, and read its answer, of whose body at most `longest` bytes. Raises what went wrong."""
        if not self._taken.acquire(blocking=False):
            raise ConnectionAbortedError("nobody waits for this request any more")
        line, another = self._line, False
        try:
            line.greet()
            self._made = True
            line.cork(on=True)
            whole = self._send(request) and self._send_body()
            if whole:
                line.cork(on=False)
            # Not for the whole of a long one: hours for a server that hangs, on a link that was quick.
            still = min(self._length, PART_LENGTH) / SLOWEST + self._verifying if whole else 0.0
            self._until = monotonic() + self._stall + still
            head, another = line.incoming.answer(method, longest)
            another = another and whole
        finally:
            if not another:
                line.close()
        return head

    def _send(self, data: bytes | memoryview) -> bool:
        """Whether all of it went; else an answer begins."""
        self._until = monotonic() + self._stall
        try:
            return self._line.send(data)
        except OSError:  # so it is where somebody answered and closed
            if not self._line.incoming.early():
                raise
            return False

    def _send_body(self) -> bool:
        """Whether all of it went; else an answer begins."""
        most = BLOCK
        while self._sent < self._length:
            self._until = inf  # a slow disk is no stalled network, and neither is a cap
            count = self._body.read(self._line.room[: min(most, self._length - self._sent)])
            if not count:
                raise SpoolDamaged(f"the spool gave {self._sent} bytes of a capture where {self._length} lie")
            began = monotonic()
            if not self._send(self._line.room[:count]):
                return False
            self._sent += count
            took = monotonic() - began
            most = PIECE if took > SLOW else BLOCK if took < BRISK else max(PIECE, count)
            if self._sent < self._length and self._line.incoming.early():
                return False
        return True
