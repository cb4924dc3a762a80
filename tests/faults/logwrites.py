"""What a recorded disk holds: every write, flush and mark, in an order in which they may have become lasting.

Linux, Documentation/admin-guide/device-mapper/log-writes.rst. A write stands in the record when the flush after it has
ended, or at once if it was forced by itself (FUA). So everything up to an entry is one state that a power cut leaves.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = 0x6A736677736872
SUPER, ENTRY = struct.Struct("<QQQI"), struct.Struct("<QQQQ")
DISCARD, MARK = 4, 8
PIECE = 4096
"""Bytes that a disk writes in one piece: its physical sector. ext4 keeps 1,024 bytes under one checksum, twice, and
btrfs 4,096: torn within them neither is mounted again, and no program can do anything about that."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One of them. `mark`: its text; `at`: where its bytes lie in the record."""

    offset: int
    length: int
    mark: str | None
    at: int


class Record:
    """A whole record, read from an image of the disk that dm-log-writes wrote it to."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        magic, _, count, unit = SUPER.unpack(os.pread(self._fd, SUPER.size, 0))
        if magic != MAGIC:
            raise ValueError(f"{path} is no record of dm-log-writes")
        self.entries: list[Entry] = []
        at = unit
        for _ in range(count):
            sector, sectors, flags, told = ENTRY.unpack(os.pread(self._fd, ENTRY.size, at))
            text = os.pread(self._fd, told, at + ENTRY.size).rstrip(b"\0").decode() if flags & MARK else None
            at += unit
            # What is thrown away carries no bytes, and a disk may still have the old ones.
            length = 0 if flags & (DISCARD | MARK) else sectors * unit
            self.entries.append(Entry(sector * unit, length, text, at))
            at += length

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def begin(self) -> int:
        """The entry that is marked `start`."""
        return next(number for number, entry in enumerate(self.entries) if entry.mark == "start")

    def apply(self, entry: Entry, disk: int, share: float = 1.0) -> None:
        """Do what it says to an open image; with a `share`, only so many of its pieces."""
        end = entry.offset + entry.length
        if share < 1.0:
            end = max(entry.offset, int(entry.offset + entry.length * share) // PIECE * PIECE)
        length = end - entry.offset
        if length:
            os.pwrite(disk, os.pread(self._fd, length, entry.at), entry.offset)
