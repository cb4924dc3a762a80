"""Places for what is under way at once, given out by device: none can take them all, and each has one of its own.

A device that hangs keeps what it has for as long as it hangs, and so may several. Whoever comes then finds the place
that is kept for it, one capture after the other, and never waits for what others do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Places"]


@dataclass(slots=True)
class _Mine:
    taken: int = 0
    """Places of this device; the first is its own, and the others are taken from those of all."""
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Places:
    """So many for all devices together, so many for each of them, and one for each whatever the others have."""

    def __init__(self, most: int, of_one: int) -> None:
        self._left, self._of_one = most, of_one
        self._devices: dict[str, _Mine] = {}
        self._turns: dict[str, None] = {}
        """Devices that wait for one of the places of all, the one whose turn it is first."""

    @asynccontextmanager
    async def of(self, device: str) -> AsyncIterator[None]:
        """Wait for a place of this device, and have it while inside."""
        mine = self._devices.setdefault(device, _Mine())
        if mine.waiting or not self._is_free(mine):
            await self._wait(device, mine)
        else:
            self._take(mine)
        try:
            yield
        finally:
            self._leave(device, mine)

    def _is_free(self, mine: _Mine) -> bool:
        return not mine.taken or (mine.taken < self._of_one and self._left > 0)

    def _take(self, mine: _Mine) -> None:
        self._left -= bool(mine.taken)
        mine.taken += 1

    async def _wait(self, device: str, mine: _Mine) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mine.waiting.append(turn)
        self._turns.setdefault(device)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given a place at the same moment
                self._leave(device, mine)
            elif turn in mine.waiting:
                mine.waiting.remove(turn)
                self._tidy(device, mine)
            raise

    def _leave(self, device: str, mine: _Mine) -> None:
        mine.taken -= 1
        self._left += bool(mine.taken)
        if not mine.taken:
            self._give(device, mine)  # the place that is kept for it
        for other in [*self._turns]:  # what is free goes to each device in turn
            if self._left <= 0:
                break
            if self._is_free(waits := self._devices[other]):
                self._give(other, waits)
        self._tidy(device, mine)

    def _give(self, device: str, mine: _Mine) -> None:
        while mine.waiting:
            if not (turn := mine.waiting.popleft()).done():  # else whoever waited was cancelled just now
                self._take(mine)
                turn.set_result(None)
                break
        if self._turns.pop(device, self) is None and mine.waiting:
            self._turns[device] = None  # behind all others
        self._tidy(device, mine)

    def _tidy(self, device: str, mine: _Mine) -> None:
        """Forget what nobody has or waits for."""
        if self._devices.get(device) is mine and not mine.waiting:
            self._turns.pop(device, None)
            if not mine.taken:
                del self._devices[device]
