"""Device mapper by the kernel's own door (linux/dm-ioctl.h): in a moment, where a program takes a tenth of a second."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

_VERSION, _CREATE, _REMOVE, _SUSPEND, _LOAD, _MESSAGE = 0, 3, 4, 6, 9, 14
_COMMAND = 0xC138FD00
"""_IOWR(0xfd, number, struct dm_ioctl), which is 312 bytes."""
_HEADER = struct.Struct("<3IIIIiIIIQ128s129s7x")
"""version, data_size, data_start, target_count, open_count, flags, event_nr, padding, dev, name, uuid, data"""
_DEVICE_AT, _ANSWER = 40, 4096
_TARGET = struct.Struct("<QQiI16s")
_SUSPENDED, _WITHOUT_FILE_SYSTEM, _WITHOUT_FLUSH, _LATER = 1 << 1, 1 << 10, 1 << 11, 1 << 17


def _ask(number: int, name: str, data: bytes = b"", *, targets: int = 0, flags: int = 0) -> int:
    """One question about a mapping; its device number, where the answer has one."""
    length = max(_HEADER.size + len(data), _ANSWER)
    header = _HEADER.pack(4, 0, 0, length, _HEADER.size, targets, 0, flags, 0, 0, 0, name.encode(), b"")
    asked = bytearray((header + data).ljust(length, b"\0"))
    control = os.open("/dev/mapper/control", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(control, _COMMAND + number, asked)
    finally:
        os.close(control)
    return int.from_bytes(asked[_DEVICE_AT : _DEVICE_AT + 4], "little")


def sectors(device: str) -> int:
    """Its length in sectors of 512 bytes."""
    return int(Path(f"/sys/class/block/{Path(device).name}/size").read_text())


def create(name: str, table: str) -> str:
    """Make a mapping; the path of its device. A table has a line for each range: begin, length, target, its words."""
    number = _ask(_CREATE, name)
    prepare(name, table)
    _ask(_SUSPEND, name)  # without the flag it takes up what was loaded
    return f"/dev/dm-{number & 0xFF | (number >> 12) & 0xFFF00}"


def prepare(name: str, table: str) -> None:
    """Lay another table ready for a mapping."""
    lines, data = table.splitlines(), b""
    for line in lines:
        begin, length, target, *words = line.split(" ", 3)
        said = (words[0] if words else "").encode() + b"\0"
        said += bytes(-(_TARGET.size + len(said)) % 8)
        data += _TARGET.pack(int(begin), int(length), 0, _TARGET.size + len(said), target.encode()) + said
    _ask(_LOAD, name, data, targets=len(lines))


def take_up(name: str) -> None:
    """Exchange a mapping's table for the one that is ready, without asking the file system on it first."""
    _ask(_SUSPEND, name, flags=_SUSPENDED | _WITHOUT_FILE_SYSTEM | _WITHOUT_FLUSH)
    _ask(_SUSPEND, name)


def remove(name: str) -> None:
    """Take a mapping away, as soon as nobody has it open any more."""
    _ask(_REMOVE, name, flags=_LATER)


class Marks:
    """Puts marks into what dm-log-writes records: what was written before one stands before it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def put(self, text: str) -> None:
        """One mark of printable characters without blanks."""
        _ask(_MESSAGE, self._name, struct.pack("<Q", 0) + b"mark " + text.encode("ascii") + b"\0")
