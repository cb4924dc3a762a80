"""How many parts are on their way at once: as many as were asked for, and fewer on a link that breaks under them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Places"]

_IN_A_ROW: Final = 4
"""Parts that arrived after which one more goes at once."""


class Places:
    """Of all captures that go to one store.

    A store keeps whole parts alone. Where several share a link that breaks before the first of them is home, all of
    them are lost with it, each time; one by one they arrive.
    """

    def __init__(self, most: int) -> None:
        self._most = self._now = most
        self._taken = 0
        self._arrived = 0
        self._changed = asyncio.Event()

    async def acquire(self) -> None:
        """Wait for a place and take it."""
        while self._taken >= self._now:
            self._changed.clear()
            await self._changed.wait()
        self._taken += 1

    def release(self) -> None:
        """Give one back."""
        self._taken -= 1
        self._changed.set()

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.release()

    def arrived(self) -> None:
        """A part is at the store."""
        self._arrived += 1
        if self._arrived >= _IN_A_ROW and self._now < self._most:
            self._now, self._arrived = self._now + 1, 0
            self._changed.set()

    def broke(self) -> None:
        """The way broke under a part."""
        self._now, self._arrived = max(1, self._now // 2), 0
