"""A file that threads work on: opened in one of them, and closed after the last, whoever is cancelled meanwhile.

A task that is cancelled goes on at once, and the thread that worked for it does not end with it. A descriptor that such
a thread opens then belongs to nobody; and one that is closed under it may be another file's by the time it is used,
which is then read, or written, in its place.
"""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["Opened", "opening"]

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_SECONDS: Final = 5.0
"""For which its end is waited for; it takes longer only where a disk or a share hangs."""


@asynccontextmanager
async def opening(how: Callable[[], int], /) -> AsyncIterator[Opened]:
    """What `how` opens, in a thread. Raises what it raises."""
    file = Opened(how)
    try:
        await file.run(lambda _: None)
        yield file
    finally:
        closing = asyncio.get_running_loop().run_in_executor(None, file.close)
        await asyncio.wait({closing}, timeout=CLOSE_SECONDS)


class Opened:
    """One open file. What is asked of it is done one after another."""

    def __init__(self, how: Callable[[], int], /) -> None:
        self._how = how
        self._fd: int | None = None
        self._closed = False
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        """Whether no thread can do anything with it any more."""
        return self._closed and self._fd is None

    async def run(self, work: Callable[Concatenate[int, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """`work` with the descriptor and these, in a thread. Raises what it raises."""
        return await asyncio.to_thread(self.do, work, *args, **kwargs)

    def do(self, work: Callable[Concatenate[int, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same in the thread that asks."""
        with self._lock:
            if self._closed:
                raise OSError("it was closed")  # to nobody: whoever asked was cancelled before a thread was free
            if self._fd is None:
                self._fd = self._how()
            return work(self._fd, *args, **kwargs)

    def close(self) -> None:
        """Give the descriptor back, after whatever is done with it now. Blocks until then."""
        with self._lock:
            self._closed = True
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None
