"""An image mounted through a loop device by the kernel's own calls: a program for each would cost more than looking."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOOP_CTL_GET_FREE, _LOOP_CONFIGURE, _LOOP_CLR_FD = 0x4C82, 0x4C0A, 0x4C01
_LO_FLAGS_AUTOCLEAR = 4
_CONFIG = struct.Struct("<II232s64x")
"""struct loop_config of linux/loop.h: the file, the block size, struct loop_info64, reserved."""
_FLAGS_AT = 52
_OPTIONS = {"xfs": "nouuid"}
READ_ONLY = 1
DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def may_mount() -> bool:
    """Whether this process may mount images here."""
    return os.geteuid() == 0 and os.path.exists("/dev/loop-control")  # noqa: PTH110


def _called(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _attached(image: Path) -> tuple[int, str]:
    info = bytearray(232)
    struct.pack_into("<I", info, _FLAGS_AT, _LO_FLAGS_AUTOCLEAR)
    control, file = os.open("/dev/loop-control", os.O_RDWR), os.open(image, os.O_RDWR)
    try:
        while True:
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            node = f"/dev/loop{number}"
            if not os.path.exists(node):  # noqa: PTH110
                os.mknod(node, 0o60660, os.makedev(7, number))
            loop = os.open(node, os.O_RDWR)
            try:
                fcntl.ioctl(loop, _LOOP_CONFIGURE, _CONFIG.pack(file, 0, bytes(info)))
            except OSError as error:
                os.close(loop)
                if error.errno != errno.EBUSY:  # somebody else was quicker
                    raise
            else:
                return loop, node
    finally:
        os.close(control)
        os.close(file)


def mount(node: str, file_system: str, where: Path, flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    called = _libc.mount(node.encode(), os.fsencode(where), file_system.encode(), flags, options.encode())
    _called(called, f"mounting {node}")


def unmount(where: Path, flags: int = 0) -> None:
    """umount2(2)."""
    _called(_libc.umount2(os.fsencode(where), flags), f"unmounting {where}")


@contextmanager
def mounted(image: Path, file_system: str, where: Path) -> Iterator[Path]:
    """The image's file system at `where`, read and write. `OSError` where the kernel does not take it."""
    loop, node = _attached(image)
    try:
        mount(node, file_system, where, options=_OPTIONS.get(file_system, ""))
    finally:
        os.close(loop)
    try:
        yield where
    finally:
        unmount(where)
