"""How much of a camera is looked at at once, and how much of all of them is in memory: who is too fast waits."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Memory", "Pace"]


class Pace:
    """Of one camera: so many at once, and on the long run so many a second."""

    def __init__(self, rate: float, burst: int, at_once: int) -> None:
        self._rate, self._burst = rate, float(burst)
        self._places = asyncio.Semaphore(at_once)
        self._left, self._at = float(burst), monotonic()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """While inside, one message is looked at."""
        async with self._places:
            now = monotonic()
            self._left = min(self._burst, self._left + (now - self._at) * self._rate) - 1
            self._at = now
            if self._left < 0:
                await asyncio.sleep(-self._left / self._rate)
            yield


class Memory:
    """Bytes for the messages of all cameras. Nobody waits for more than there is at all."""

    def __init__(self, length: int) -> None:
        self._length = self._free = length
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def room(self, length: int) -> AsyncIterator[None]:
        """While inside, so many bytes are there for one message."""
        length = min(length, self._length)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((length, turn))
        self._serve()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._free += length
            self._serve()

    def _serve(self) -> None:
        """Let in whoever is next, in order: who needs much is not passed by for ever by those who need little."""
        while self._waiting:
            length, turn = self._waiting[0]
            if not turn.cancelled():
                if length > self._free:
                    return
                self._free -= length
                turn.set_result(None)
            self._waiting.popleft()
