"""Each block of a capture through several lanes: every lane in order and at its own pace, a few blocks apart at most.

A lane works in whichever of the spool's threads is free and goes on there while it has blocks, so the slowest one never
waits for the event loop to hand it the next, nor for the others to finish the last. How far lanes may run apart is
what the station allows all of its copies together: a lone copy keeps every core busy, and sixty at once, which do so
anyway, hold little memory each.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

__all__ = ["Lanes", "Road"]

_AHEAD: Final = 8
"""Blocks that all copies of the station together may have in their lanes; each may have one, however many there are."""
_VISIT: Final = 16
"""Blocks after which a lane gives its thread to whoever waits for one: a fast device must not hold up the others."""


class Road:
    """What the lanes of one station share: its threads, and how many blocks may be under way."""

    def __init__(self, threads: Executor) -> None:
        self.threads = threads
        self.copies = 0

    @property
    def share(self) -> int:
        """Blocks that each copy may have in its lanes now."""
        return max(1, _AHEAD // max(1, self.copies))


class Lanes:
    """The lanes of one copy. What was given is done, unless a lane fails: its failure is raised and nothing follows it.

    Built, and its coroutines awaited, on the event loop; the acts run in threads, no lane in two at once.
    """

    def __init__(self, road: Road, acts: Sequence[Callable[[bytes], None]]) -> None:
        self._road = road
        self._loop = asyncio.get_running_loop()
        self._lanes = [_Lane(road.threads, act, self._moved) for act in acts]
        self._given = 0
        self._news = asyncio.Event()
        road.copies += 1

    async def give(self, block: bytes) -> None:
        """Put a block into every lane, once there is room for it. Raises what a lane failed with."""
        while self._under_way() >= self._road.share:
            await self._next_news()
        self._raise()
        self._given += 1
        for lane in self._lanes:
            lane.put(block)

    async def finish(self) -> None:
        """Wait until everything given is done. Raises what a lane failed with."""
        await self._emptied()
        self._raise()

    async def settle(self) -> None:
        """The same whatever failed. The last act; not to be cancelled, for threads still use the capture's file."""
        self._road.copies -= 1
        await self._emptied()

    async def _emptied(self) -> None:
        while self._under_way():
            await self._next_news()

    def _under_way(self) -> int:
        return self._given - min(lane.done for lane in self._lanes)

    async def _next_news(self) -> None:
        # What moved between the caller's look and here has set the event already: the loop hears of it in its turn.
        await self._news.wait()
        self._news.clear()

    def _moved(self) -> None:
        self._loop.call_soon_threadsafe(self._news.set)

    def _raise(self) -> None:
        for lane in self._lanes:
            if lane.failure is not None:
                raise lane.failure


class _Lane:
    def __init__(self, threads: Executor, act: Callable[[bytes], None], moved: Callable[[], None]) -> None:
        self._threads, self._act, self._moved = threads, act, moved
        self._lock = threading.Lock()
        self._blocks: deque[bytes] = deque()
        self._working = False
        self.done = 0
        """Blocks that left the lane."""
        self.failure: Exception | None = None

    def put(self, block: bytes) -> None:
        with self._lock:
            self._blocks.append(block)
            if self._working:
                return
            self._working = True
        self._threads.submit(self._work)

    def _work(self) -> None:
        for _ in range(_VISIT):
            with self._lock:
                if not self._blocks:
                    self._working = False
                    return
                block = self._blocks.popleft()
            if self.failure is None:  # what follows a block that failed would lie in the wrong place
                try:
                    self._act(block)
                except Exception as error:  # noqa: BLE001 - raised where the next block is given
                    self.failure = error
            self.done += 1
            self._moved()
        self._threads.submit(self._work)
