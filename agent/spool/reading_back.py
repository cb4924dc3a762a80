"""Files read through, and what the disk gives back of one compared with what was written.

What was read is forgotten a few MiB later: the same pages of memory serve again, and whatever else lies in the page
cache stays there. To touch ever new memory costs more than all of the reading, in a virtual machine several times more.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from agent import durable
from agent.errors import SpoolDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.capture import Digest

__all__ = ["FORGOTTEN_EVERY", "read_back", "read_through"]

FORGOTTEN_EVERY: Final = 8 * 1024 * 1024
"""Bytes after which what was read is forgotten; a shorter file stays in memory, for whoever sends it next."""
_READ: Final = 1024 * 1024


def read_through(fd: int) -> Iterator[bytes]:
    """Everything that is in a file, from the disk and not from memory, from the first byte on."""
    durable.drop_cache(fd)
    offset = forgotten = 0
    while block := os.pread(fd, _READ, offset):
        offset += len(block)
        yield block
        if offset - forgotten >= FORGOTTEN_EVERY:
            durable.drop_cache(fd, forgotten, offset - forgotten)
            forgotten = offset


def read_back(fd: int, digest: Digest) -> None:
    """Read a file that was forced. Waits for the disk.

    BLAKE3 tells whether the bytes are the same: it was made of each block beside the SHA-256 of record, and takes a
    fifth of its time. Raises `SpoolDamaged` where they are not what `digest` says, and OSError.
    """
    hasher, length = blake3(), 0
    for block in read_through(fd):
        hasher.update(block)
        length += len(block)
    if (hasher.digest(), length) != (digest.blake3, digest.length):
        raise SpoolDamaged(
            f"the disk gave back other bytes than were written for {digest.sha256.hex()}",
            hint="The disk of this station is failing: replace it. The device still has the capture.",
        )
