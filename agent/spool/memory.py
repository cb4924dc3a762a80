"""What the allocator may keep: the memory of one block becomes that of the next, without a way through the kernel.

glibc gives the memory of a freed block back at once, and each new one then faults in page by page: 256 faults for a
MiB, a tenth of all processor time of a copy. It keeps a few blocks' worth now, in no more arenas than there are cores.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

__all__ = ["reuse_blocks"]

# malloc.h of glibc; musl has no mallopt, and needs none here.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8

_KEPT: Final = 16 * 1024 * 1024
"""Bytes that each arena may keep at its end; smaller allocations than this come from an arena and not from mmap."""


def reuse_blocks() -> None:
    """Tell the allocator, for the whole process. Without effect on a C library that cannot be told."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_MMAP_THRESHOLD, _KEPT)
    mallopt(_TRIM_THRESHOLD, _KEPT)
    mallopt(_ARENA_MAX, max(1, os.cpu_count() or 1))
