"""Writing so that it survives a power cut: each call says what it makes durable and what it does not.

The order that gives a promise (measured with a power cut after every recorded write on ext4, xfs and btrfs): write the
file under a temporary name, `force` it, rename it, `force_folder` both folders. `O_TMPFILE` with `linkat` is not used:
on btrfs it left acknowledged files of length 0.

A failed `fsync` is final. The kernel marks the pages clean although they never reached the disk, so that the next
fsync reports success over lost data (Rebello et al., USENIX ATC 2020). `force` therefore raises `ForceFailed`, the
file is set aside and never forced again.

Many small files together are forced by one `syncfs` where that is proved to say what it must: see `force_all`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from agent.errors import AgentError, ConfigError, Problem, SpoolError, SpoolFull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "FAILED",
    "MAKE_ROOM",
    "NO_ROOM",
    "ForceFailed",
    "advice",
    "create",
    "drop_cache",
    "folder",
    "force",
    "force_all",
    "force_folder",
    "forces_all",
    "make_folder",
    "move",
    "replace_below",
    "replace_file",
    "reserve",
    "unwritable",
    "write_all",
]

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors that say that there is no room, for this file or for any."""

MAKE_ROOM: Final = "Nothing was changed. Make room on that disk, and do it again; a daemon does so by itself."
"""What to do where something must be written, and nothing leaves the disk by itself."""

FAILED: Final = frozenset({errno.EIO, errno.EROFS, errno.EUCLEAN})
"""Errors of a disk that fails, or of a file system that has stopped itself."""


def advice(error: OSError, otherwise: str) -> str:
    """What to do where something could not be written: make room where there is none, and else what the caller says."""
    return MAKE_ROOM if error.errno in NO_ROOM else otherwise


def unwritable(where: str, said: str, error: OSError) -> AgentError:
    """`ConfigError` for what stands at `where` and cannot be written; a disk that is full or fails is no setting.

    Those are `SpoolFull` and `SpoolError`.
    """
    if error.errno in NO_ROOM:
        return SpoolFull(f"{where}: {said}: {error.strerror}", hint=MAKE_ROOM)
    if error.errno in FAILED:
        return SpoolError(f"{where}: {said}: {error.strerror}")
    return ConfigError([Problem(where, f"{said}: {error.strerror}")])


_KEEP_SIZE: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

_SYNCFS_TELLS: Final = (5, 17)
"""Linux since when `syncfs` returns what the file system itself said; what writing back said it returns since 5.8."""
_FORCED_WHOLE: Final = frozenset({0xEF53, 0x58465342, 0x9123683E})
"""`f_type` of ext4 (and 2, 3), xfs and btrfs: what lies under others, such as FUSE or NFS, may hear nothing of it."""


class ForceFailed(OSError):
    """fsync failed: what was written since the last success may be lost, and asking again would hide it."""


def create(name: str, folder_fd: int) -> int:
    """Open a new file for writing below an open folder; never follows a link, never opens what is there."""
    return os.open(name, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder_fd)


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write every byte at `offset`; short writes are continued. Nothing is durable yet."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        offset += written
        view = view[written:]


def reserve(fd: int, length: int) -> None:
    """Reserve room for `length` bytes from the file's end, so that ENOSPC comes now and not at 97 %.

    The file's length stays as it is, for the length is our offset; that is why this is Linux's fallocate with
    FALLOC_FL_KEEP_SIZE and not posix_fallocate. File systems that cannot reserve are left as they are.
    """
    if length <= 0:
        return
    if _libc.fallocate(fd, _KEEP_SIZE, os.fstat(fd).st_size, length) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
        raise OSError(code, os.strerror(code))


def force(fd: int) -> None:
    """Bring a file's bytes and length to the disk. Once it failed it must not be called again for this file."""
    try:
        os.fsync(fd)
    except OSError as error:
        raise ForceFailed(error.errno, os.strerror(error.errno or 0)) from error


def forces_all(fd: int) -> bool:
    """Whether `force_all` may stand for `force` of each file on this file system, under this kernel."""
    room = ctypes.create_string_buffer(1024)  # struct statfs, larger than on any machine; it begins with `f_type`
    if not hasattr(_libc, "syncfs") or _libc.fstatfs(fd, room) != 0:
        return False
    (kind,) = struct.unpack_from("@l", room)
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    kernel = (int(found[1]), int(found[2])) if found else (0, 0)
    return kind & 0xFFFFFFFF in _FORCED_WHOLE and kernel >= _SYNCFS_TELLS


def force_all(fd: int) -> None:
    """Bring all bytes and names of a file system to the disk, whoever wrote them. Not for FAT.

    It fails where writing anything back failed since `fd` was opened or this was called last (errors of a file system
    are counted for each open descriptor, apart from those of each file), and where the file system says so. Two things
    it does not tell: of which file it speaks, so that once it fails nothing of what it was called for may be promised;
    and that a file system has stopped itself and only reads now, where it does nothing and succeeds. So a name must be
    given after it, which fails then, and only that is a promise.
    """
    if _libc.syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise ForceFailed(code, os.strerror(code))


def force_folder(fd: int) -> None:
    """Bring a folder's names to the disk: after create, rename or unlink below it.

    On FAT this is the call that makes a deletion last; syncfs() is not enough there.
    """
    force(fd)


def move(name: str, from_fd: int, new_name: str, to_fd: int) -> None:
    """Rename between two open folders, atomically, replacing what is there. Force both folders afterwards.

    Where both are names of one file, as btrfs may leave them after a power cut, rename(2) does nothing and succeeds:
    then the old name is taken away.
    """
    os.rename(name, new_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
    try:
        before = os.stat(name, dir_fd=from_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    after = os.stat(new_name, dir_fd=to_fd, follow_symlinks=False)
    if (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino):
        os.unlink(name, dir_fd=from_fd)


def make_folder(path: Path, mode: int = 0o700) -> None:
    """Make a folder and those above it, each durable in its parent: also what is there.

    Whoever made it, an earlier try of ours or another process, may not have come as far as to force it.
    """
    if path.is_dir():
        _force_made(path.resolve())
        return
    make_folder(path.parent, mode)
    with suppress(FileExistsError):
        path.mkdir(mode=mode)
    with folder(path.parent) as parent_fd:
        force_folder(parent_fd)


def _force_made(path: Path) -> None:
    """Force the name of a folder, and of those above it as far as they can have been made by us: ours, of one disk."""
    while path != path.parent:
        there, above = path.stat(), path.parent.stat()
        if there.st_uid != os.geteuid() or there.st_dev != above.st_dev:
            return
        try:
            with folder(path.parent) as parent_fd:
                force_folder(parent_fd)
        except PermissionError:  # we made nothing in it: who makes a folder opens the one above it
            return
        path = path.parent


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a small file so that after a power cut either the old or the new content is there, whole."""
    with folder(path.parent) as parent_fd:
        replace_below(path.name, content, parent_fd, mode)


def replace_below(name: str, content: bytes, folder_fd: int, mode: int = 0o600) -> None:
    """The same in an open folder."""
    new = f".{name}.{os.getpid()}.new"
    fd = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC, mode, dir_fd=folder_fd)
    try:
        try:
            write_all(fd, content, 0)
            force(fd)
        finally:
            os.close(fd)
        move(new, folder_fd, name, folder_fd)
    except BaseException:
        with suppress(OSError):  # a disk without room is not filled with what is of no use to anybody
            os.unlink(new, dir_fd=folder_fd)
        raise
    force_folder(folder_fd)


def drop_cache(fd: int, offset: int = 0, length: int = 0) -> None:
    """Ask the kernel to forget a file's clean pages, so that the device is read next. Length 0: to the end."""
    os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)


@contextmanager
def folder(path: Path) -> Iterator[int]:
    """The descriptor of a folder for as long as the block lasts; a link at the end of the path is not followed."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
