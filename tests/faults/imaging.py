"""Images of disks: sparse files that are copied without their holes, and copies that are made the same again."""

from __future__ import annotations

import ctypes
import mmap
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE = 64 * 1024
"""Bytes that are compared, and copied where they differ."""
_libc = ctypes.CDLL(None)
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Twin:
    """A copy of an image, to which somebody else may do anything but change its length."""

    def __init__(self, source: Path, target: Path) -> None:
        self.path = target
        copy_sparse(source, target)
        self._fds = [os.open(path, os.O_RDWR) for path in (source, target)]
        self._maps = [mmap.mmap(fd, source.stat().st_size) for fd in self._fds]

    def renew(self) -> None:
        """Make it again what its source is now: every byte of both is compared, and what differs is copied."""
        held = [ctypes.c_char.from_buffer(one) for one in self._maps]
        source, target = map(ctypes.addressof, held)
        try:
            for at, length in self._pieces():
                if _libc.memcmp(source + at, target + at, length):
                    ctypes.memmove(target + at, source + at, length)
        finally:
            del held

    def close(self) -> None:
        """Close both files."""
        for one in self._maps:
            one.close()
        for fd in self._fds:
            os.close(fd)

    def _pieces(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of everything that is no hole in both."""
        length = len(self._maps[0])
        numbers = {
            number
            for fd in self._fds
            for begin, end in data(fd, length)
            for number in range(begin // PIECE, -(-end // PIECE))
        }
        return ((number * PIECE, min(PIECE, length - number * PIECE)) for number in sorted(numbers))


def data(fd: int, length: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of everything in a file of this length that is no hole."""
    at = 0
    while at < length:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole is left
            return
        end = os.lseek(fd, at, os.SEEK_HOLE)
        yield at, end
        at = end


def copy_sparse(source: Path, target: Path) -> None:
    """Copy what is not a hole."""
    reading, length = os.open(source, os.O_RDONLY), source.stat().st_size
    writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.ftruncate(writing, length)
        for begin, end in data(reading, length):
            os.pwrite(writing, os.pread(reading, end - begin, begin), begin)
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Its descriptor."""
    fd = os.open(path, os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)
