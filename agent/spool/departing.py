"""A long kept file on its way out: out of the page cache where it lies there, else read ahead by a thread.

What arrived a moment ago is still in memory. To fetch it from there takes less than to ask a thread for it, and what
was read stays in the caches of the processor that encrypts it.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, TypeVar

from agent import durable
from agent.errors import SpoolDamaged
from agent.spool.reading_back import FORGOTTEN_EVERY
from agent.spool.sealer import spool_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["BLOCK", "come", "departing"]

T = TypeVar("T")

BLOCK: Final = 512 * 1024
"""Bytes of one block: larger ones are slower through a socket, smaller ones cost more steps."""

_AT_ONCE: Final = 4
"""Blocks that are read in one visit to a thread, and after which others have their turn on the event loop."""


async def departing(
    workers: ThreadPoolExecutor, open_it: Callable[[], int], sha256: bytes, offset: int, end: int
) -> AsyncGenerator[bytes, None]:
    """The bytes of the file that `open_it` opens, from `offset` to `end`, four blocks ahead where a thread reads them.

    Raises `SpoolError` where the disk fails, and `SpoolDamaged` where the file is missing or ends too soon.
    """
    opening = workers.submit(open_it)
    try:
        fd = await come(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_opened)
        raise
    ahead: Future[list[bytes]] | None = None
    turn = forgotten = offset
    room = memoryview(bytearray(BLOCK))
    try:
        while offset < end:
            if ahead is None:
                if block := _in_memory(fd, room[: end - offset], offset):
                    offset += len(block)
                    yield block
                    if offset - turn >= _AT_ONCE * BLOCK:
                        turn = offset
                        await asyncio.sleep(0)
                    continue
                ahead = workers.submit(_several, sha256, fd, offset, end)
            several = await come(ahead)
            if offset - forgotten >= FORGOTTEN_EVERY:
                durable.drop_cache(fd, forgotten, offset - forgotten)
                forgotten = offset
            offset += sum(map(len, several))
            if offset < end:
                ahead = workers.submit(_several, sha256, fd, offset, end)
            for block in several:
                yield block
    finally:
        if ahead is None:
            os.close(fd)
        else:
            # A thread may still read, or be about to: another file that got this descriptor would be read instead.
            ahead.add_done_callback(lambda _: os.close(fd))


def _in_memory(fd: int, room: memoryview, offset: int) -> bytes:
    """What lies in the page cache, from `offset` on, as far as there is room: preadv2(2), RWF_NOWAIT."""
    try:
        found = os.preadv(fd, [room], offset, os.RWF_NOWAIT)
    except OSError:  # on the disk alone; or a file system that cannot say; or a fault, which the thread will meet too
        return b""
    return bytes(room[:found])


def _several(sha256: bytes, fd: int, offset: int, end: int) -> list[bytes]:
    """The next blocks of a kept file, as many as are read in one visit to a thread."""
    found: list[bytes] = []
    while offset < end and len(found) < _AT_ONCE:
        block = os.pread(fd, min(BLOCK, end - offset), offset)
        if not block:
            raise SpoolDamaged(f"the kept file {sha256.hex()} ends at {offset}, before {end}")
        found.append(block)
        offset += len(block)
    return found


async def come(future: Future[T]) -> T:
    """What a thread found; OSError becomes SpoolError."""
    try:
        return await asyncio.wrap_future(future)
    except OSError as error:
        raise spool_error("working in the spool", error) from error


def _close_opened(opening: Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())
