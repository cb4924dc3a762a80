"""The body of one request on its way into the file, hashed as it passes, each byte at its final place."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import aiohttp

from agent import durable

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from aiohttp import web

    from agent.testing.dems.faults import Fault
    from agent.testing.dems.fixity import Fixity
    from agent.testing.dems.wire import Checksum, Stretches

__all__ = ["Body", "Ending", "Sink", "copy_into"]

_HAND_OVER: Final = 1 << 20
"""Bytes that are given to a worker thread at a time: fewer cost a switch each, more cost memory.

To hash and write on the event loop itself was up to a third faster for one upload on two cores, and no faster for
several; but a disk that is slow for a moment then stops every other request, and whatever shares this process.
"""


class Ending(Enum):
    """How a body, or one stretch of it, came to its end."""

    WHOLE = auto()
    """As the request said."""
    MORE = auto()
    """As many bytes as were asked for came; others follow."""
    CUT = auto()
    """The connection ended first, or is to be ended here by a fault."""
    STALLED = auto()
    """Nothing came for too long."""
    TOO_LONG = auto()
    """More came than the upload has room for."""


class Sink:
    """Where bytes go: the open file, and the checksum of the request. Blocks; belongs on a worker thread.

    `fixity` is what was read of the file so far. A checksum of everything through the end of the body is verified by
    going on with it, so that the bytes are hashed once for this and for the receipt: by another of the `workers`, for
    who writes would else be waited for while it hashes.
    """

    def __init__(
        self,
        fd: int,
        offset: int,
        checksum: Checksum | None,
        fixity: Callable[[], Fixity],
        workers: Executor,
        stretches: Stretches | None = None,
    ) -> None:
        self._stretches, self._number = stretches, 0
        self._stretch, self._room = hashlib.sha256(), 0 if stretches is None else stretches.length
        self._false = False
        self.proven = offset
        """Everything before it was found to be what was stated of its stretches; nothing is stated: where it began."""
        self._fd = fd
        self._lock = threading.Lock()
        self._checksum = checksum
        self._hasher = None if checksum is None or checksum.through else checksum.hasher()
        self._fixity, self._workers = fixity, workers
        self._reading: Future[None] | None = None
        self.read: Fixity | None = None
        """What was read of the file through `end`, where the checksum asked for it."""
        self.end = offset
        """Offset after the last byte that was written."""

    def take(self, blocks: list[bytes], *, last: bool = False) -> None:
        """Write blocks at the end. They count for nothing until `force` returned and the offset is committed.

        `last`: the body ends with them, and whoever verifies it reads them.
        """
        length = sum(map(len, blocks))
        with self._lock:
            if self._fd < 0:
                return  # a lot that was handed over before the request was given up
            if self._hasher is not None:
                for block in blocks:
                    self._hasher.update(block)
            if self._stretches is not None:
                for block in blocks:
                    self._prove(block, self._stretches)
            if blocks and (written := os.pwritev(self._fd, blocks, self.end)) < length:
                durable.write_all(self._fd, b"".join(blocks)[written:], self.end + written)
            self.end += length
            if self._checksum is not None and self._checksum.through and not last:
                self._read_on()
            if blocks:
                # Of dirty pages this only starts their way to the disk: what `force` waits for then is short.
                durable.drop_cache(self._fd, self.end - length, length)

    def _read_on(self) -> None:
        """Read what was written, unless that is under way: who comes next then reads further."""
        if self._reading is None or self._reading.done():  # a failure shows again where it is verified
            self._reading = self._workers.submit(self._forked().advance, self.end)

    def _forked(self) -> Fixity:
        if self.read is None:
            self.read = self._fixity().fork()
        return self.read

    def _prove(self, block: bytes, stretches: Stretches, *, last: bool = False) -> None:
        """Go on with the stretches; after one that is wrong nothing is proven any more."""
        at = 0
        while not self._false and (at < len(block) or last):
            piece = memoryview(block)[at : at + self._room]
            self._stretch.update(piece)
            at += len(piece)
            self._room -= len(piece)
            if self._room and not last:
                break
            if self._stretch.digest() != stretches.digest(self._number):
                self._false = True
                break
            self.proven += stretches.length - self._room
            self._number += 1
            self._stretch, self._room, last = hashlib.sha256(), stretches.length, False

    @property
    def verified(self) -> bool:
        """Whether what was taken is what the request's checksums say; true where it stated none."""
        if self._stretches is not None:
            if self.proven < self.end:
                self._prove(b"", self._stretches, last=True)
            if self._false:
                return False
        if self._checksum is None:
            return True
        if self._checksum.through:
            return self._forked().through(self.end)[0] == self._checksum.digest
        return self._hasher is not None and self._hasher.digest() == self._checksum.digest

    def force(self) -> None:
        """Bring the bytes and the file's length to the disk. After a failure the file must not be used again."""
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise durable.ForceFailed(error.errno, os.strerror(error.errno or 0)) from error

    def close(self) -> None:
        """Close the file, but never under a thread that writes to it: its number may be another file's by then."""
        with self._lock:
            os.close(self._fd)
            self._fd = -1


class Body:
    """A request's body as blocks, with a watch on its progress, and broken off where a fault says so."""

    def __init__(self, request: web.Request, patience: float, fault: Fault | None = None) -> None:
        self._content = request.content
        self._patience = patience
        self._fault = fault if fault is not None and fault.what in ("cut", "stall") else None
        self.count = 0
        """Bytes that were read."""

    async def block(self) -> bytes | Ending:
        """Return the next bytes, or how the body ended."""
        if self._fault is not None:
            return await self._block_until(self._fault)
        return await self._next()

    async def _block_until(self, fault: Fault) -> bytes | Ending:
        if self.count < fault.at:
            block = await self._next()
            if isinstance(block, Ending) or self.count < fault.at:
                return block
            whole, self.count = self.count, fault.at
            return block[: len(block) - (whole - fault.at)]
        await asyncio.sleep(fault.seconds)
        return Ending.CUT

    async def _next(self) -> bytes | Ending:
        try:
            async with asyncio.timeout(self._patience):
                block = await self._content.readany()
        except TimeoutError:
            return Ending.STALLED
        except (ConnectionError, aiohttp.ClientPayloadError, aiohttp.http_exceptions.HttpProcessingError):
            return Ending.CUT  # the peer vanished, or its chunked coding broke off
        self.count += len(block)
        return block or Ending.WHOLE


async def copy_into(
    take: Callable[[list[bytes]], None], body: Body, workers: Executor, *, room: int, most: int | None
) -> tuple[Ending, list[bytes]]:
    """Give a body's blocks to `take`, on a worker thread, and return how it ended with the blocks not yet given.

    `room` is what the upload can still hold; `most` ends the stretch early. While one lot is hashed and written the
    next arrives; the last is returned, so that a small body needs one switch of threads and not two.
    """
    loop = asyncio.get_running_loop()
    begun = body.count
    waiting: list[bytes] = []
    size = 0
    writing: asyncio.Future[None] | None = None
    try:
        while True:
            block = await body.block()
            if isinstance(block, Ending):
                return block, waiting
            waiting.append(block)
            size += len(block)
            taken = body.count - begun
            if taken > room:
                return Ending.TOO_LONG, []
            if most is not None and most <= taken < room:  # a last stretch ends with its body, not before
                return Ending.MORE, waiting
            if size >= _HAND_OVER:
                if writing is not None:
                    await writing
                writing = loop.run_in_executor(workers, take, waiting)
                waiting, size = [], 0
    finally:
        if writing is not None:
            await asyncio.shield(writing)
