"""One look at everything in a folder: what can be a recording, what is named as unfinished, what is refused."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from agent.capture import KEY_MAX, LENGTH_MAX, printable
from agent.descent import FOLDER, KINDS, open_at
from agent.errors import DeviceGone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivers.interview_room.drop_folder.share import Share

__all__ = ["OURS", "UNFINISHED", "Entry", "Look", "look_through"]

OURS: Final = ".evidock"
"""The folder in which stations agree who takes."""

DEPTH_MAX: Final = 16
REFUSALS_MAX: Final = 1000

UNFINISHED: Final = (
    ".part",
    ".partial",
    ".filepart",
    ".tmp",
    ".temp",
    ".crdownload",
    ".swp",
    ".inprogress",
    ".writing",
)
"""Endings under which clients write what they rename when it is whole: never complete."""

_BEGINNINGS: Final = (".", "~$")


class Entry(NamedTuple):
    """One file. A tuple, since there may be many."""

    key: str
    """Path from the folder on, through `printable`."""
    length: int
    mtime_ns: int


@dataclass(slots=True)
class Look:
    """What one look found."""

    entries: list[Entry] = field(default_factory=list)
    unfinished: list[Entry] = field(default_factory=list)
    """Names that say of themselves that they are not complete."""
    refused: dict[str, str] = field(default_factory=dict)
    """Reason by key, of the first few."""
    refusals: int = 0
    seen: int = 0
    whole: bool = True
    """False where there was more than we look at, or a place that could not be looked at."""

    def refuse(self, key: str, why: str) -> None:
        """Note that this is not taken, and why."""
        self.refusals += 1
        if len(self.refused) < REFUSALS_MAX:
            self.refused[key[:KEY_MAX]] = why

    def miss(self, key: str, why: str) -> None:
        """Note that something may lie there that is not known."""
        self.whole = False
        self.refuse(key, why)


def look_through(share: Share, max_entries: int, unfinished: Sequence[str] = ()) -> Look:
    """Look at every file below the folder. Blocks. `DeviceGone` where the share goes away meanwhile."""
    looker = _Looker(share, max_entries, tuple(one.lower() for one in (*UNFINISHED, *unfinished)))
    try:
        with share.opened(()) as root:
            looker.folder(root, "", 0)
    except OSError as error:
        raise share.failure(error, "the folder") from error
    # What an unmounting cut short must not read as a folder with few recordings.
    share.check()
    looker.found.entries.sort()
    return looker.found


class _Looker:
    def __init__(self, share: Share, max_entries: int, endings: tuple[str, ...]) -> None:
        self._share, self._max, self._endings = share, max_entries, endings
        self._device = share.ground.root[0]
        self.found = Look()

    def folder(self, folder: int, prefix: str, depth: int) -> None:
        """Look at one open folder, and then into its own, one at a time: few descriptors are ever in use."""
        inner: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self.found.seen += 1
                    if self.found.seen > self._max:
                        self.found.whole = False
                        return
                    if (name := self._one(entry, prefix, depth)) is not None:
                        inner.append(name)
        except OSError as error:
            self._hurt(error, prefix or ".")
        for name in sorted(inner):
            self._inner(folder, name, prefix, depth)
            if self.found.seen > self._max:
                return

    def _inner(self, folder: int, name: str, prefix: str, depth: int) -> None:
        key = prefix + printable(os.fsencode(name))
        if depth >= DEPTH_MAX or len(key) >= KEY_MAX:
            self.found.miss(key, "its folders lie too deep")
            return
        try:
            opened = open_at(os.fsencode(name), FOLDER, folder)
        except OSError as error:
            self._hurt(error, key)
            return
        try:
            if os.fstat(opened).st_dev != self._device:
                self.found.miss(key, "another file system is mounted here")
                return
            self.folder(opened, f"{key}/", depth + 1)
        finally:
            os.close(opened)

    def _one(self, entry: os.DirEntry[str], prefix: str, depth: int) -> str | None:
        """Note one entry; its name where it is a folder to be looked into."""
        key = prefix + printable(os.fsencode(entry.name))
        if "/" in entry.name:
            self.found.miss(key, "its name holds a path")
            return None
        try:
            what = entry.stat(follow_symlinks=False)
        except OSError as error:
            self._hurt(error, key)
            return None
        if stat.S_ISDIR(what.st_mode):
            return None if depth == 0 and entry.name == OURS else entry.name
        if why := self._unfit(what, key):
            self.found.refuse(key, why)
            return None
        found = Entry(key, what.st_size, what.st_mtime_ns)
        lower = entry.name.lower()
        if lower.startswith(_BEGINNINGS) or lower.endswith(self._endings):
            self.found.unfinished.append(found)
        else:
            self.found.entries.append(found)
        return None

    def _unfit(self, what: os.stat_result, key: str) -> str | None:
        if not stat.S_ISREG(what.st_mode):
            return KINDS.get(stat.S_IFMT(what.st_mode), "no plain file")
        if what.st_nlink > 1:
            return "has another name elsewhere (hard link)"  # it could show a file from outside of the folder
        if not 0 <= what.st_size < LENGTH_MAX:
            return f"says that it has {what.st_size} bytes"
        if len(key) > KEY_MAX:
            return "its name is too long"
        return None

    def _hurt(self, error: OSError, key: str) -> None:
        if error.errno == errno.ENOENT:
            return  # deleted or renamed between two looks
        failure = self._share.failure(error, key)
        if isinstance(failure, DeviceGone):
            raise failure from error
        self.found.miss(key, str(failure))
