"""What is stated of each stretch of a request's body, so that a server can keep what it verified before a cut.

A checksum of a whole body proves nothing of half a body: a server that verifies must drop it. Where it takes digests
of stretches (`Evidock-Stretches`, docs/dems.md), a cut costs a stretch and not a part, and a part may be long: each
costs a round trip and a commit.
"""

from __future__ import annotations

import asyncio
import base64
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent.uplink import Sending

__all__ = ["STRETCHES", "Stretches", "stretch_length"]

STRETCHES: Final = "Evidock-Stretches"
"""Where a DEMS is asked what it can do: the least bytes of a stretch. In a request: their bytes, and their digests."""

COUNT_MAX: Final = 64
"""Digests of one request: 2,732 characters of a header."""
_LOT: Final = 8
"""Blocks that are hashed in one visit to a thread."""


def stretch_length(length: int, least: int) -> int:
    """Return how long the stretches of so long a body are: a multiple of what the server takes at least."""
    return least * max(1, -(-length // (least * COUNT_MAX)))


class Stretches:
    """The digests of one capture's stretches: made from the spool, those of the next request while this one travels."""

    def __init__(self, sending: Sending) -> None:
        self._sending = sending
        self._ahead: tuple[tuple[int, int, int], asyncio.Task[str]] | None = None

    async def of(self, offset: int, end: int, least: int) -> str:
        """Return what to state of the body from `offset` to `end`. Raises `SpoolDamaged`."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == (offset, end, least):
            return await ahead[1]
        await _given_up(ahead)
        return await self._made(offset, end, least)

    async def prepare(self, offset: int, end: int, least: int) -> None:
        """Begin with the body that comes next."""
        if offset < end:
            await self.close()
            self._ahead = (offset, end, least), asyncio.create_task(self._made(offset, end, least))

    async def close(self) -> None:
        """End what is under way."""
        ahead, self._ahead = self._ahead, None
        await _given_up(ahead)

    async def _made(self, offset: int, end: int, least: int) -> str:
        length = stretch_length(end - offset, least)
        digests, state, room = bytearray(), sha256(), length
        lot: list[bytes] = []

        def update() -> None:
            nonlocal state, room
            for block in lot:
                at = 0
                while at < len(block):
                    piece = memoryview(block)[at : at + room]
                    state.update(piece)
                    at += len(piece)
                    room -= len(piece)
                    if not room:
                        digests.extend(state.digest())
                        state, room = sha256(), length

        async for block in self._sending.blocks(offset, end - offset):
            lot.append(block)
            if len(lot) == _LOT:
                await asyncio.to_thread(update)
                lot = []
        update()
        if room < length:
            digests += state.digest()
        return f"{length} {base64.b64encode(digests).decode()}"


async def _given_up(ahead: tuple[tuple[int, int, int], asyncio.Task[str]] | None) -> None:
    if ahead is not None:
        ahead[1].cancel()
        await asyncio.wait({ahead[1]})
        if not ahead[1].cancelled():
            ahead[1].exception()  # looked at: nobody needs these bytes any more
