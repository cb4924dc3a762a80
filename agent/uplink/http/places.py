"""How many parts are on their way at once: as many as were asked for, and fewer on a link that breaks under them."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

from agent.errors import UplinkDown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = ["Places"]

_IN_A_ROW: Final = 4
"""Parts that arrived after which one more goes at once."""


class Places:
    """Of all captures that go to one store, whose parts, or blocks, it keeps whole or not at all.

    Where several share a link that breaks before the first of them is home, all of them are lost with it, each time;
    one by one they arrive.
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

    @contextmanager
    def watched(self) -> Iterator[None]:
        """For as long as a part is on its way: whether it arrived, or the way broke under it, says how many go next."""
        try:
            yield
        except UplinkDown as error:
            if error.way:
                self._now, self._arrived = max(1, self._now // 2), 0
            raise
        self._arrived += 1
        if self._arrived >= _IN_A_ROW and self._now < self._most:
            self._now, self._arrived = self._now + 1, 0
            self._changed.set()
