"""One token bucket for the bytes of all uplinks: before the socket, so that no proxy changes what it means.

Its rate may change at any moment, and counts at once for those who wait.
"""

from __future__ import annotations

import asyncio
from time import monotonic

__all__ = ["Bucket"]

BURST = 0.25
"""Seconds of the rate that may go at once: the cap holds over any second, and nothing waits for one full one."""
PIECE_LEAST = 4 * 1024


class Bucket:
    """Whoever sends takes its bytes from here first. Those who wait are served in turn."""

    def __init__(self, rate: float | None = None) -> None:
        self._rate = rate
        self._tokens = 0.0
        self._at = monotonic()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def rate(self) -> float | None:
        """Bytes per second; None: no cap."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        if rate != self._rate:
            self._refill()
            self._rate = rate
            self._changed.set()

    def piece(self, length: int) -> int:
        """How many of these bytes to take at once, so that others get their turn and the flow stays even."""
        rate = self._rate  # read once: threads ask too
        return length if rate is None else min(length, max(PIECE_LEAST, int(rate * BURST)))

    async def take(self, length: int) -> None:
        """Return when so many bytes may go."""
        if self._rate is None:
            return
        async with self._turn:
            while self._rate is not None:
                self._refill()
                if self._tokens >= 0:
                    # Into debt rather than waiting for all of it: a piece may be longer than the bucket is deep.
                    self._tokens -= length
                    return
                self._changed.clear()
                try:
                    async with asyncio.timeout(-self._tokens / self._rate):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    def _refill(self) -> None:
        now = monotonic()
        if self._rate is not None:
            self._tokens = min(self._rate * BURST, self._tokens + (now - self._at) * self._rate)
        self._at = now
