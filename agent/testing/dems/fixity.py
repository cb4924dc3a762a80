"""Digests of what an upload's file gives back when it is read: the only ones that a receipt is signed over."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, Final

from blake3 import blake3

if TYPE_CHECKING:
    from agent.testing.dems.wire import Hasher

__all__ = ["Fixity"]

_BLOCK: Final = 1 << 20


class Fixity:
    """SHA-256, and BLAKE3 where it was claimed, over a file's first bytes; read once, in order, as they become final.

    What it reads was written before, so it sees the file and not the request: bytes that were verified and forced, or,
    in a `fork`, those that it is only just verifying. It does not see the medium: the pages come from the kernel's
    cache. A DEMS that must know its medium reads again later; that is the work of a scrub, not of an upload.
    Everything here blocks and belongs on a worker thread.
    """

    def __init__(self, name: str, folder_fd: int, *, with_blake3: bool) -> None:
        self._name = name
        self._folder_fd = folder_fd
        self._with_blake3 = with_blake3
        self._lock = threading.Lock()
        self._hashers: list[Hasher] = []
        self._position = 0
        self.restart()

    def restart(self) -> None:
        """Forget what was read, so that the next reading begins at the first byte."""
        with self._lock:
            self._position = 0
            self._hashers = [hashlib.sha256(), *([blake3()] if self._with_blake3 else [])]

    def through(self, offset: int) -> list[bytes]:
        """Return the digests of the first `offset` bytes; reads only what was not read before."""
        with self._lock:
            if self._position > offset:  # asked for less than was read: a hasher does not go back
                raise ValueError(f"{self._name} was read through {self._position}, beyond {offset}")
            if self._position < offset:
                self._read(offset)
            return [hasher.digest() for hasher in self._hashers]

    def fork(self) -> Fixity:
        """Return another that has read as much, to go on with bytes that may yet be refused."""
        with self._lock:
            fork = Fixity(self._name, self._folder_fd, with_blake3=self._with_blake3)
            fork._position, fork._hashers = self._position, [hasher.copy() for hasher in self._hashers]
            return fork

    def advance(self, offset: int) -> None:
        """Read on through `offset` where that was not done yet."""
        with self._lock:
            if self._position < offset:
                self._read(offset)

    def _read(self, offset: int) -> None:
        fd = os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder_fd)
        try:
            while self._position < offset:
                block = os.pread(fd, min(_BLOCK, offset - self._position), self._position)
                if not block:
                    raise OSError(f"{self._name} ends at {self._position}, before {offset}")
                for hasher in self._hashers:
                    hasher.update(block)
                self._position += len(block)
        finally:
            os.close(fd)
