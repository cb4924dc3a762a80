"""The few system calls that touch recordings in a folder: the one place where an emulator puts its faults."""

from __future__ import annotations

import errno
import os
from typing import Final

__all__ = ["Wire"]

_CANNOT: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})


class Wire:
    """The real thing. Every call blocks and is made in a thread of `Hands`; every failure is an `OSError`."""

    def look(self, path: str) -> os.stat_result:
        """The folder itself, without following a link."""
        return os.lstat(path)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """At most `length` bytes from `offset` on; none at the end."""
        return os.pread(fd, length, offset)

    def forget(self, fd: int) -> None:
        """Drop the file's pages from memory, so that a second read asks the share or the disk."""
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def unlink(self, name: bytes, folder: int) -> None:
        """Take one name out of an open folder."""
        os.unlink(name, dir_fd=folder)

    def sync(self, folder: int) -> None:
        """Force a folder to the disk; a network file system that cannot be asked has done it at its server."""
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
