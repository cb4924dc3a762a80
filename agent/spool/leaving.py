"""A long kept file read by the thread that sends it: out of the page cache into room that is used again."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from agent import durable
from agent.errors import SpoolDamaged
from agent.spool.reading_back import FORGOTTEN_EVERY
from agent.spool.sealer import spool_error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KeptReader"]


class KeptReader:
    """Some bytes of one kept file, from the first to the last. For one thread; closed by any."""

    def __init__(self, open_it: Callable[[], int], sha256: bytes, offset: int, length: int) -> None:
        self._open_it, self._sha256 = open_it, sha256
        self._at, self._end = offset, offset + length
        self._forgotten = offset
        self._cold = False
        """Some of it had to come from the disk: then it does not stay in memory for us."""
        self._fd: int | None = None
        self._using = Lock()

    def read(self, room: memoryview, /) -> int:
        """Put the next bytes into this room and return how many; 0 at the end.

        Raises `SpoolError` where the disk fails, and `SpoolDamaged` where the file is missing or ends too soon.
        """
        with self._using:
            try:
                if self._fd is None:
                    self._fd = self._open_it()
                count = self._put(self._fd, room[: self._end - self._at])
            except OSError as error:
                raise spool_error("working in the spool", error) from error
            if not count and self._at < self._end:
                raise SpoolDamaged(f"the kept file {self._sha256.hex()} ends at {self._at}, before {self._end}")
            self._at += count
            return count

    def _put(self, fd: int, room: memoryview) -> int:
        if not self._cold:
            # Not there: it lies on the disk alone, the file system cannot say, or a fault, which is met again below.
            # And 0 before the end is what some kernels say of what is not in memory: preadv2(2), BUGS.
            with suppress(OSError):
                if count := os.preadv(fd, [room], self._at, os.RWF_NOWAIT):
                    return count
            self._cold = True
        if self._at - self._forgotten >= FORGOTTEN_EVERY:
            durable.drop_cache(fd, self._forgotten, self._at - self._forgotten)
            self._forgotten = self._at
        return os.preadv(fd, [room], self._at)

    def close(self) -> None:
        """Let the file go, once nobody reads it any more: a disk that hangs may keep who calls this."""
        with self._using:
            fd, self._fd = self._fd, None
            self._open_it = _closed
        if fd is not None:
            os.close(fd)


def _closed() -> int:
    raise SpoolDamaged("this file is read no longer")
