"""Every capture on a volume, found by folder descriptors; what must not be taken is refused with a reason."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections import Counter
from dataclasses import dataclass, field
from fcntl import ioctl
from typing import TYPE_CHECKING, Final, NamedTuple

from agent.capture import KEY_MAX, LENGTH_MAX, printable
from agent.descent import FILE, FOLDER, KINDS, open_at
from agent.errors import DeviceGone

if TYPE_CHECKING:
    from drivers.body_worn.usb_volume.volume import Volume
    from firmware_specs.formats.layout import Layout, Place

__all__ = ["Entry", "Walk", "walk"]

DEPTH_MAX: Final = 16
"""Folders below one another. DCF has two; a folder that contains itself has no end."""

REFUSALS_MAX: Final = 1000
"""Refusals of one pass that are kept with their reasons; the others are only counted."""

GET_ATTRIBUTES: Final = 0x80047210
"""FAT_IOCTL_GET_ATTRIBUTES of linux/msdos_fs.h: the mode cannot tell, since the mount's `umask` hides it."""

LETTERS: Final = {0x01: "R", 0x02: "H", 0x04: "S", 0x20: "A"}


class Entry(NamedTuple):
    """One file that can be offered. A tuple, since there may be hundreds of thousands."""

    key: str
    """Path from the volume's root, through `printable`: percent-decoding gives the bytes of the name back."""
    length: int
    mtime_ns: int
    mode: int
    attributes: str | None = None
    """FAT's, as letters `RHSA`; `R`, read-only, means locked on a camera. None where they cannot be told."""


@dataclass(slots=True)
class Walk:
    """What one pass over a volume found."""

    entries: list[Entry] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Reason by key."""
    refusals: int = 0
    folders: list[str] = field(default_factory=list)
    """Keys of the folders that were walked."""
    groups: Counter[str] = field(default_factory=Counter)
    """How many files each recording has, those that have not settled and those that cannot be taken among them."""
    seen: int = 0
    """Folder entries looked at, of every kind."""
    whole: bool = True
    """False where there were more entries than we look at."""
    missed: int = 0
    """Places where a capture may lie that could not be looked at: a folder that cannot be read, a name that is a link
    where a capture could be."""

    @property
    def complete(self) -> bool:
        """Whether no capture that lies there can have been missed."""
        return self.whole and not self.missed

    def miss(self, key: str, why: str) -> None:
        """Note that what lies there is not known, and why."""
        self.missed += 1
        self.refuse(key, why)

    def refuse(self, key: str, why: str) -> None:
        """Note that this is not taken, and why."""
        self.refusals += 1
        if len(self.refused) < REFUSALS_MAX:
            self.refused[key[:KEY_MAX]] = why


def walk(volume: Volume, layout: Layout, max_entries: int) -> Walk:
    """Look at every file below the layout's roots. Blocks. `DeviceGone` when the volume goes away meanwhile.

    At `max_entries` the walk ends and says so. What was found until then is offered all the same: a volume that
    somebody filled with rubbish must not keep the evidence on it from being taken, and as captures are released the
    others come in reach.
    """
    return _Walker(volume, layout, max_entries).walk()


class _Walker:
    def __init__(self, volume: Volume, layout: Layout, max_entries: int) -> None:
        self._volume = volume
        self._layout = layout
        self._max = max_entries
        self._found = Walk()
        with volume.root() as root:
            room = os.fstatvfs(root)
        self._room = room.f_blocks * room.f_frsize or LENGTH_MAX
        mount = volume.ground.mount
        self._is_fat = mount is not None and mount.file_system in {"vfat", "msdos", "exfat"}

    def walk(self) -> Walk:
        with self._volume.root() as root:
            self._folder(root, "", depth=0)
        # A walk that the unplugging cut short must not read as a device with few captures.
        if not self._volume.stands():
            raise DeviceGone("the volume was taken away while it was looked at")
        # By name, which is by time on nearly every camera, and keeps the files of one recording together.
        self._found.entries.sort()
        return self._found

    def _folder(self, folder: int, prefix: str, depth: int) -> None:
        """Look at one open folder. Its own folders are opened one at a time, so few descriptors are ever in use."""
        found, inner = self._found, []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    found.seen += 1
                    if found.seen > self._max:
                        found.whole = False
                        return
                    if (name := self._one(folder, entry, prefix, at_root=depth == 0)) is not None:
                        inner.append(name)
        except OSError as error:
            self._hurt(error, prefix or ".")
        for name in sorted(inner):
            self._inner(folder, name, prefix, depth)
            if not found.whole:
                return

    def _inner(self, folder: int, name: str, prefix: str, depth: int) -> None:
        key = prefix + _shown(name)
        if depth >= DEPTH_MAX or len(key) >= KEY_MAX:
            self._found.miss(key, "its folders lie too deep")
            return
        try:
            opened = open_at(os.fsencode(name), FOLDER, folder)
        except OSError as error:
            self._hurt(error, key)
            return
        try:
            if os.fstat(opened).st_dev != self._volume.ground.root[0]:
                self._found.miss(key, "another file system is mounted here")
                return
            self._found.folders.append(key)
            self._folder(opened, f"{key}/", depth + 1)
        finally:
            os.close(opened)

    def _one(self, folder: int, entry: os.DirEntry[str], prefix: str, *, at_root: bool) -> str | None:
        """Note one entry; its name where it is a folder to be walked."""
        name = entry.name
        if at_root and not self._layout.is_root(name):
            return None
        key = prefix + _shown(name)
        if "/" in name:  # a damaged or hostile file system: the kernel checks most of them, not all
            self._found.miss(key, "its name holds a path")
            return None
        try:
            what = entry.stat(follow_symlinks=False)
        except OSError as error:
            self._hurt(error, key)
            return None
        if stat.S_ISDIR(what.st_mode):
            return name
        place = self._layout.place(key)
        unfit, forbidden = self._unfit(what, key), self._forbidden(place)
        if place is not None and not forbidden and (group := place.group) is not None:
            self._found.groups[group] += 1
        if unfit and (stat.S_ISLNK(what.st_mode) or not forbidden):
            self._found.miss(key, unfit)  # a link may stand where a folder of captures stood
        elif forbidden:
            self._found.refuse(key, forbidden)
        else:
            attributes = self._attributes(folder, name) if self._is_fat else None
            self._found.entries.append(Entry(key, what.st_size, what.st_mtime_ns, what.st_mode, attributes))
        return None

    def _unfit(self, what: os.stat_result, key: str) -> str | None:
        if not stat.S_ISREG(what.st_mode):
            return KINDS.get(stat.S_IFMT(what.st_mode), "no plain file")
        if what.st_dev != self._volume.ground.root[0]:
            return "lies on another file system"
        if what.st_nlink > 1:
            # No camera's file system has hard links; on a plain folder one could show a file from outside of it.
            return "has another name elsewhere (hard link)"
        if not 0 <= what.st_size < min(LENGTH_MAX, self._room + 1):
            return f"says that it has {what.st_size} bytes, more than the whole volume"
        if len(key) > KEY_MAX:
            return "its name is too long"
        return None

    def _forbidden(self, place: Place | None) -> str | None:
        if place is None:
            return f"the layout {self._layout.name} knows no such file"
        return place.rule.why

    def _attributes(self, folder: int, name: str) -> str | None:
        try:
            fd = open_at(name, FILE, folder)
        except OSError:
            return None  # whoever takes the file will meet the error, and report it
        try:
            (bits,) = struct.unpack("=I", ioctl(fd, GET_ATTRIBUTES, bytes(4)))
        except OSError:
            self._is_fat = False  # this file system does not tell: ask no more
            return None
        finally:
            os.close(fd)
        return "".join(letter for bit, letter in LETTERS.items() if bits & bit)

    def _hurt(self, error: OSError, key: str) -> None:
        """One entry cannot be looked at: it is passed by, unless the whole volume went away."""
        if error.errno == errno.ENOENT:
            return  # it was deleted between two looks
        failure = self._volume.failure(error, key)
        if isinstance(failure, DeviceGone):
            raise failure from error
        self._found.miss(key, str(failure))


def _shown(name: str) -> str:
    if name.isascii() and name.isprintable() and "%" not in name:
        return name
    return printable(os.fsencode(name))
