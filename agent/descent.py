"""Folders that strangers write into: opened step by step from one descriptor, so that no link leads out of them."""

from __future__ import annotations

import errno
import os
import stat
from types import MappingProxyType
from typing import Final

__all__ = ["FILE", "FOLDER", "KINDS", "open_at"]

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""O_NONBLOCK: should a FIFO stand where a file stood, opening it must not wait for its writer."""

KINDS: Final = MappingProxyType(
    {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a block device",
        stat.S_IFCHR: "a character device",
    }
)
"""What stands where a plain file should, in words, by the type in its mode."""


def open_at(name: bytes | str, flags: int, folder: int) -> int:
    """`openat`, without leaving a time of access on the device where we may avoid it."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.EPERM:  # O_NOATIME is for the owner only
            raise
        return os.open(name, flags, dir_fd=folder)
