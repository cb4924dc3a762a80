"""Faults between the driver and a volume, written as short strings."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from drivers.body_worn.usb_volume.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FaultyWire"]

LATE = 0.05
"""Seconds by which a `D` comes late."""


class FaultyWire(Wire):
    """Faults between driver and device, one letter for each call; where a string ends, all goes well.

    Reads: `r` the block comes whole, `s` half of it, `D` late; `F` with a flipped bit; `S` nothing comes, as if the
    file ended here; `E` fails with EIO, `N` with ENODEV; `G` the plug is pulled, and the kernel still has the block.

    Unlinks and syncs: `.` works, `E` fails with EIO, `R` with EROFS, `G` the plug is pulled, and the call works.

    `calls` tells in which order things were asked for.
    """

    def __init__(
        self, reads: str = "", *, unlinks: str = "", syncs: str = "", pull: Callable[[], None] | None = None
    ) -> None:
        self._scripts = {"read": iter(reads), "unlink": iter(unlinks), "sync": iter(syncs)}
        self._pull = pull
        self.calls: list[str] = []

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """As the script says."""
        fault = self._next("read")
        block = super().read(fd, length, offset)
        match fault:
            case "s":
                return block[: (len(block) + 1) // 2]
            case "F" if block:
                return bytes([block[0] ^ 1]) + block[1:]
            case "S":
                return b""
            case "D":
                time.sleep(LATE)
        return block

    def forget(self, fd: int, offset: int = 0, length: int = 0) -> None:
        """Always works."""
        self.calls.append("forget")
        super().forget(fd, offset, length)

    def unlink(self, name: bytes, folder: int) -> None:
        """As the script says."""
        self._next("unlink")
        super().unlink(name, folder)

    def sync(self, folder: int) -> None:
        """As the script says."""
        self._next("sync")
        super().sync(folder)

    def remount(self, mount_point: str, how: str) -> str:
        """Really remounts."""
        self.calls.append(how)
        return super().remount(mount_point, how)

    def _next(self, call: str) -> str:
        self.calls.append(call)
        fault = next(self._scripts[call], "")
        failures = {"E": errno.EIO, "N": errno.ENODEV, "R": errno.EROFS}
        if fault in failures:
            raise OSError(failures[fault], os.strerror(failures[fault]))
        if fault == "G" and self._pull is not None:
            self._pull()
        return fault
