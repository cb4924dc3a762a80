"""Bytes on their way out by a thread, at the pace of the station's one bucket."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from threading import Lock
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future

    from agent.traffic.bucket import Bucket

__all__ = ["Paced"]


class _Read(Protocol):
    def read(self, room: memoryview, /) -> int: ...


class Paced:
    """See `agent.uplink.Leaving`. Made on the event loop."""

    def __init__(self, source: _Read, bucket: Bucket, length: int) -> None:
        self._source, self._bucket = source, bucket
        self._loop = asyncio.get_running_loop()
        self._waiting: Future[None] | None = None
        self._stopped = False
        self._changing = Lock()
        self.left = length
        """Bytes that were not read."""

    def read(self, room: memoryview, /) -> int:
        """Put the next bytes there, once they may go.

        Raises as its source does, and `ConnectionAbortedError` once stopped.
        """
        piece = self._bucket.piece(len(room))
        with self._changing:
            if self._stopped:
                raise ConnectionAbortedError("nobody waits for this request any more")
            capped = self._bucket.rate is not None
            if capped:
                self._waiting = asyncio.run_coroutine_threadsafe(self._bucket.take(piece), self._loop)
        if capped and self._waiting is not None:
            try:
                self._waiting.result()
            except CancelledError:
                raise ConnectionAbortedError("nobody waits for this request any more") from None
        count = self._source.read(room[:piece])
        self.left -= count
        return count

    def stop(self) -> None:
        """Let whoever reads wait no longer."""
        with self._changing:
            self._stopped = True
            if self._waiting is not None:
                self._waiting.cancel()
