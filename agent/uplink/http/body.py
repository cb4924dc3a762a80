"""The bytes of one request on their way to the socket, and the watch that ends a request which nobody takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agent.errors import SpoolDamaged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Body"]

SLOW: Final = 1.0
"""Seconds for one piece after which small ones follow."""
BRISK: Final = 0.25
"""Seconds below which twice as much is handed over next."""
INSTANT: Final = 0.001
"""Seconds below which nobody waited: the piece found room in a buffer, and says nothing of the link."""
STEP: Final = 64 * 1024
"""Bytes of the first piece, and of one after which the link was neither brisk nor slow at most."""
PIECE: Final = 16 * 1024
"""Bytes of a small one. On a link of 64 kbit/s, or one that many share, whole blocks would look like a stall."""
SLOWEST: Final = 64 * 1024
"""Bytes per second that a body is given to arrive, after its last one was handed over, before its answer is missed."""


class Body:
    """The bytes of one request on their way to the socket, and the watch over it.

    The watch looks at bytes *taken*: a time-out on reading never fires while a server has merely stopped reading, and a
    time-out on the whole would have to know the link's speed.
    """

    def __init__(
        self,
        blocks: AsyncIterator[bytes],
        length: int,
        stall: float,
        *,
        verifying: float = 0.0,
        buffered: int | None = None,
    ) -> None:
        """`verifying`: seconds that the server may need before it answers, once it has everything.

        `buffered`: bytes that may lie between it and us when the last one was handed over; None: all of them.
        """
        self._blocks = blocks
        self.length = length
        self._stall = stall
        self._verifying = verifying
        self._buffered = length if buffered is None else buffered
        self._limit: asyncio.Timeout | None = None
        self._block = b""
        self._at = 0
        self._given_at = 0.0
        self._step = STEP
        self._reading = asyncio.Lock()
        self.handed = 0
        """Bytes handed to the socket: the most that this request can have cost."""
        self.failure: BaseException | None = None
        """What went wrong on our side, which aiohttp would report as trouble with the connection."""

    def watched_by(self, limit: asyncio.Timeout | None) -> None:
        """Tell which limit the bytes push back; None once the answer is there."""
        self._limit = limit

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece: that aiohttp asks for it means that the socket has taken the last one."""
        most = self._most()
        if self._at >= len(self._block):
            if self._block and self.handed == self.length:
                # At once, and not after the source has cleared up: an answer that comes meanwhile would find a request
                # that still seems to be under way, and its connection would be closed instead of used again.
                self._ended()
                raise StopAsyncIteration
            self._push_back(None)  # a slow disk is no stalled network
            self._at = 0
            try:
                async with self._reading:
                    self._block = await anext(self._blocks)
            except StopAsyncIteration:
                self._ended()
                raise
            except Exception as error:
                self.failure = error
                raise
        whole = not self._at and len(self._block) <= most
        piece = self._block if whole else self._block[self._at : self._at + most]
        self._at += len(piece)
        self.handed += len(piece)
        self._given_at = asyncio.get_running_loop().time()
        self._push_back(self._given_at + self._stall)
        return piece

    def _most(self) -> int:
        """Bytes that are handed over next, by the time for which the last ones were on their way to the socket."""
        if self.handed:
            took = asyncio.get_running_loop().time() - self._given_at
            if took > SLOW:
                self._step = PIECE
            elif took >= BRISK:
                self._step = min(self._step, STEP)
            elif took > INSTANT:
                self._step = min(2 * self._step, self.length)
        return self._step

    def _ended(self) -> None:
        if self.handed != self.length:
            self.failure = SpoolDamaged(f"the spool gave {self.handed} bytes of a capture where {self.length} lie")
            raise self.failure
        # All of it may still lie in buffers of the kernel and of proxies, and has to go over the slow link from there.
        still = self._stall + self._buffered / SLOWEST + self._verifying
        self._push_back(asyncio.get_running_loop().time() + still)

    def _push_back(self, when: float | None) -> None:
        if self._limit is not None:
            self._limit.reschedule(when)

    async def close(self) -> None:
        """Close the source, after whoever reads it has been cancelled."""
        async with self._reading:
            if (aclose := getattr(self._blocks, "aclose", None)) is not None:
                await aclose()
