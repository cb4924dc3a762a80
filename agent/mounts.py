"""What the kernel says is mounted where: the only word that is trusted about whether a volume or a share is there."""

from __future__ import annotations

import os
import re
import select
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MOUNTINFO", "Mount", "MountWatch", "mount_at", "mounts"]

MOUNTINFO = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo (proc(5), `/proc/pid/mountinfo`)."""

    id: int
    major: int
    minor: int
    root: bytes
    """Which folder of the file system is mounted here: `/`, but for bind mounts."""
    mount_point: bytes
    file_system: str
    source: str
    options: frozenset[str] = field(compare=False)
    """Of the mount and of the file system together."""

    @property
    def read_only(self) -> bool:
        """Neither the mount nor its file system may be written to."""
        return "ro" in self.options

    @property
    def shifts_times(self) -> bool:
        """FAT keeps local times; without `tz=UTC` the kernel moves them by its own zone, and by summer time."""
        told = any(option == "tz=UTC" or option.startswith("time_offset=") for option in self.options)
        return self.file_system in {"vfat", "msdos"} and not told

    @property
    def block_device_is_there(self) -> bool:
        """False where the mount still stands but its device was pulled out; True where it has none at all."""
        if self.major != 0:
            return Path(f"/sys/dev/block/{self.major}:{self.minor}").exists()
        # A file system in user space has no device number of its own; its source is a device node where it is honest.
        return not self.source.startswith("/dev/") or Path(self.source).exists()


def mounts() -> Iterator[Mount]:
    """Every mount in our namespace, in the order in which they were made."""
    for line in MOUNTINFO.read_bytes().splitlines():
        fields = line.split(b" ")
        try:
            separator = fields.index(b"-", 6)
            major, minor = fields[2].split(b":")
            file_system, source, of_file_system = fields[separator + 1 : separator + 4]
            yield Mount(
                id=int(fields[0]),
                major=int(major),
                minor=int(minor),
                root=_plain(fields[3]),
                mount_point=_plain(fields[4]),
                file_system=file_system.decode("ascii", "replace"),
                source=os.fsdecode(_plain(source)),
                options=frozenset(b",".join((fields[5], of_file_system)).decode("ascii", "replace").split(",")),
            )
        except ValueError:
            continue  # a line of a form that we do not know hides one mount, not all of them


def mount_at(path: Path) -> Mount | None:
    """What is mounted exactly here; the last one, for it covers those before it."""
    wanted = os.fsencode(path)
    found = None
    for mount in mounts():
        if mount.mount_point == wanted:
            found = mount
    return found


def _plain(field: bytes) -> bytes:
    r"""A field without its escapes: the kernel writes space, tab, newline and backslash as `\ooo`."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 0xFF]), field)


class MountWatch:
    """Something to wait on until a volume was mounted or unmounted: `fileno` becomes readable."""

    def __init__(self) -> None:
        self._file = MOUNTINFO.open("rb")
        # mountinfo is always readable and reports a change as an exceptional condition (POLLPRI and POLLERR), which
        # event loops do not ask for; an epoll of its own asks, and is itself readable when the answer is there.
        self._epoll = select.epoll(1)
        self._epoll.register(self._file.fileno(), select.EPOLLPRI)

    def fileno(self) -> int:
        """What an event loop waits on."""
        return self._epoll.fileno()

    def clear(self) -> None:
        """Take note of the change; looking is what resets it."""
        with suppress(OSError):
            self._epoll.poll(0)

    def close(self) -> None:
        """Stop watching."""
        self._epoll.close()
        self._file.close()
