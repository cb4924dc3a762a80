"""Device mapper as a guest uses it: tables by dmsetup, and marks in a recorded disk by the kernel's own door."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from pathlib import Path

_MESSAGE = 0xC138FD0E
"""DM_TARGET_MSG of linux/dm-ioctl.h: _IOWR(0xfd, 14, struct dm_ioctl), which is 312 bytes."""
_HEADER = struct.Struct("<3IIIIiIIIQ128s129s7x")


def sectors(device: str) -> int:
    """Its length in sectors of 512 bytes."""
    return int(Path(f"/sys/class/block/{Path(device).name}/size").read_text())


def create(name: str, table: str) -> str:
    """Make a mapping; its path."""
    subprocess.run(["dmsetup", "create", name, "--table", table], check=True)
    return f"/dev/mapper/{name}"


def prepare(name: str, table: str) -> None:
    """Lay another table ready for a mapping."""
    subprocess.run(["dmsetup", "load", name, "--table", table], check=True)


def take_up(name: str) -> None:
    """Exchange a mapping's table for the one that is ready, without asking the file system on it first."""
    subprocess.run(["dmsetup", "suspend", "--nolockfs", "--noflush", name], check=True)
    subprocess.run(["dmsetup", "resume", name], check=True)


class Marks:
    """Puts marks into what dm-log-writes records: what was written before one stands before it."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._control = os.open("/dev/mapper/control", os.O_RDWR | os.O_CLOEXEC)

    def put(self, text: str) -> None:
        """One mark of printable characters without blanks."""
        said = struct.pack("<Q", 0) + b"mark " + text.encode("ascii") + b"\0"
        length = _HEADER.size + len(said)
        header = _HEADER.pack(4, 0, 0, length, _HEADER.size, 0, 0, 0, 0, 0, 0, self._name, b"")
        fcntl.ioctl(self._control, _MESSAGE, bytearray(header + said))
