"""Places for what is under way at once: one device has a part of them at most, for it may hang, and others go on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Places"]


class Places:
    """So many for all devices together, and so many for each of them."""

    def __init__(self, most: int, of_one: int) -> None:
        self._all, self._of_one = asyncio.Semaphore(most), of_one
        self._mine: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, device: str) -> AsyncIterator[None]:
        """Wait for a place of this device, and have it while inside."""
        mine = self._mine.get(device) or self._mine.setdefault(device, asyncio.Semaphore(self._of_one))
        async with mine, self._all:
            yield
