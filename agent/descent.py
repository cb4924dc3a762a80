"""Folders that strangers write into: opened step by step from one descriptor, so that no link leads out of them.

A file in one is known by its key, its length and its time of change; whether it still is that file is asked here, too.
"""

from __future__ import annotations

import errno
import os
import stat
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["FILE", "FOLDER", "KINDS", "changed", "changed_at", "names_of", "open_at", "open_plain"]

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

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def open_at(name: bytes | str, flags: int, folder: int) -> int:
    """`openat`, without leaving a time of access on the device where we may avoid it."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.EPERM:  # O_NOATIME is for the owner only
            raise
        return os.open(name, flags, dir_fd=folder)


def open_plain(path: str | os.PathLike[str]) -> int:
    """Open a plain file to read it, also by a link. `OSError` for all else of that name: no writer is waited for."""
    fd = os.open(path, FILE & ~os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no plain file", os.fspath(path))
    return fd


def changed(there: os.stat_result, *, device: int, length: int, mtime_ns: int) -> str | None:
    """Why this is not the file that was seen, in words that can follow "it is not what was offered: "; None if it is.

    `device`: number of the file system on which it lay (`st_dev`).
    """
    if not stat.S_ISREG(there.st_mode):
        return "it is no plain file any more"
    if there.st_dev != device:
        return "it lies on another file system now"
    if there.st_size != length:
        return f"it has {there.st_size} bytes, no longer {length}"
    if there.st_mtime_ns != mtime_ns:
        return "its time of change moved"
    return None


def changed_at(mtime_ns: int) -> datetime | None:
    """A file's time of change, to the microsecond; None for a year beyond 9999, which no clock could have said."""
    try:
        return _EPOCH + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        return None


def names_of(key: str) -> list[bytes]:
    """The names on the way to a file, as the file system has them, of a key that was made with `printable`."""
    return [unquote_to_bytes(part) for part in key.split("/")]
