"""How much of a camera is looked at at once, and how much of all of them is in memory: who is too fast waits."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
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
    """Bytes for the messages of all cameras. Nobody waits for more than there is at all.

    A message keeps its room until all of it is here, which its camera may make last. So a camera has one message, and
    beyond that no more than half of what the others leave it: however slowly one sends, there is room for the others.
    """

    def __init__(self, length: int) -> None:
        self._length = self._free = length
        self._of: Counter[str] = Counter()
        """Bytes that each camera has."""
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}
        """By camera, in the order in which they are let in."""

    @asynccontextmanager
    async def room(self, camera: str, length: int) -> AsyncIterator[None]:
        """While inside, so many bytes are there for one message."""
        length = min(length, self._length)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(camera, deque()).append((length, turn))
        self._serve()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._take(camera, -length)
            self._serve()

    def _take(self, camera: str, length: int) -> None:
        self._free -= length
        self._of[camera] += length
        if not self._of[camera]:
            del self._of[camera]

    def _serve(self) -> None:
        """Let in one of each camera in turn, as long as one fits: of one camera nobody is passed by."""
        while any(self._serve_one(camera) for camera in [*self._waiting]):
            pass

    def _serve_one(self, camera: str) -> bool:
        waiting = self._waiting.pop(camera)
        while waiting and waiting[0][1].cancelled():
            waiting.popleft()
        if fits := bool(waiting) and self._fits(camera, waiting[0][0]):
            length, turn = waiting.popleft()
            self._take(camera, length)
            turn.set_result(None)
        if waiting:
            self._waiting[camera] = waiting
        return fits

    def _fits(self, camera: str, length: int) -> bool:
        mine = self._of[camera]
        return length <= self._free and (not mine or 2 * (mine + length) <= mine + self._free)
