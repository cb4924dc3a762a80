"""Bytes that a parser may look at: from any place, never more than it may have, and never past their end."""

from __future__ import annotations

import os
import struct
from typing import Any, Final, Protocol

from firmware_specs import SpecError

__all__ = ["BUDGET", "FileSource", "Malformed", "Source", "Text", "unpack"]

BUDGET: Final = 16 << 20
"""Bytes that a parser may read of one source, those that it reads twice counted twice."""
_LEAST: Final = 32
"""Bytes that a read counts for at least: a million small ones take as long as a few long ones."""


class Malformed(SpecError):
    """These bytes are not what the format demands; the message says what and where."""


class Source(Protocol):
    """What is parsed."""

    @property
    def length(self) -> int:
        """Bytes that there are."""

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes from `offset` on. Raises `Malformed` where they are not all there, or the budget is spent."""


class _Bounded:
    def __init__(self, length: int, budget: int) -> None:
        self.length, self._left = length, budget
        self.spent = 0
        """Bytes that were read."""

    def check(self, offset: int, length: int) -> None:
        if not (offset >= 0 and length >= 0 and offset + length <= self.length):
            raise Malformed(f"{length} bytes from byte {offset} on were expected, and there are {self.length}")
        cost = max(length, _LEAST)
        if cost > self._left:
            raise Malformed("it asks for more reading than one file is worth")
        self._left -= cost
        self.spent += length


class FileSource(_Bounded):
    """A file that is open, by its descriptor: `os.pread`, so nothing else of it moves."""

    def __init__(self, fd: int, *, budget: int = BUDGET) -> None:
        super().__init__(os.fstat(fd).st_size, budget)
        self._fd = fd

    def read(self, offset: int, length: int) -> bytes:
        """See `Source`. `OSError` passes through."""
        self.check(offset, length)
        found = os.pread(self._fd, length, offset)
        if len(found) != length:
            raise Malformed(f"the file became shorter while it was read: byte {offset + len(found)} is its end")
        return found


class Text(_Bounded):
    """Bytes in memory."""

    def __init__(self, data: bytes | bytearray | memoryview, *, budget: int = BUDGET) -> None:
        self._data = memoryview(data)
        super().__init__(len(self._data), budget)

    def read(self, offset: int, length: int) -> bytes:
        """See `Source`."""
        self.check(offset, length)
        return bytes(self._data[offset : offset + length])


def unpack(layout: str, data: bytes, offset: int = 0) -> tuple[Any, ...]:
    """Fields by a layout of `struct`. Raises `Malformed` where the bytes end before."""
    try:
        return struct.unpack_from(layout, data, offset)
    except struct.error as error:
        raise Malformed(f"{struct.calcsize(layout)} bytes were expected at byte {offset} of {len(data)}") from error
