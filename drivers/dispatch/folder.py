"""A folder into which others drop files: plain files that have stopped changing, bounded, and never written to.

Whoever writes there may be slow, and names prove nothing: a file is read once it looked the same in two looks. What was
read is remembered for as long as it stays the same; after a restart all is read again, which the journal does not mind.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation when the program runs
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, field_validator

from agent.capture import KEY_MAX, printable
from agent.descent import FILE, FOLDER, open_at
from drivers.dispatch.door import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FILES_MAX", "Dropped", "Folder", "FolderOptions", "facts_of"]

FILES_MAX: Final = 20_000
"""Files of one folder that are looked at; more are told as a trouble."""
_UNFINISHED: Final = (".part", ".filepart", ".tmp", ".crdownload", "~")


class FolderOptions(Table):
    """The `folder` table."""

    path: Path
    """Only files that lie in it are read, no folders below it."""
    endings: Annotated[tuple[str, ...], Field(min_length=1, max_length=20)] = (".json", ".csv", ".xml")
    """Names of files that are read end so, in any case of letters."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError("must be an absolute path without `..`")
        return path


@dataclass(frozen=True, slots=True)
class Dropped:
    """One file that has stopped changing."""

    name: bytes
    length: int
    mtime_ns: int
    inode: int

    @property
    def key(self) -> str:
        """Its name for people and records."""
        return printable(self.name)


class Folder:
    """One folder, looked at again and again."""

    def __init__(self, options: FolderOptions, *, longest: int) -> None:
        self._options, self._longest = options, longest
        self._last: dict[bytes, Dropped] = {}
        self.trouble: str | None = None
        """Why it cannot be looked at, in a sentence."""

    def settled(self) -> list[Dropped]:
        """Files that look as they did in the look before. Reads no file."""
        try:
            found = {one.name: one for one in self._look()}
        except OSError as error:
            self.trouble = f"{self._options.path}: {error.strerror}"
            return []
        self.trouble = f"{self._options.path} has more than {FILES_MAX} files" if len(found) >= FILES_MAX else None
        same = [one for name, one in found.items() if self._last.get(name) == one]
        self._last = found
        return sorted(same, key=lambda one: (one.mtime_ns, one.name))

    def read(self, dropped: Dropped) -> bytes | None:
        """Its bytes; None where it is not the file that was seen, is longer than may be, or cannot be read."""
        try:
            folder = os.open(self._options.path, FOLDER)
            try:
                fd = open_at(dropped.name, FILE, folder)
            finally:
                os.close(folder)
            with open(fd, "rb", buffering=0) as file:  # noqa: PTH123 - by descriptor
                if facts_of(dropped.name, os.fstat(file.fileno())) != dropped or dropped.length > self._longest:
                    return None
                content = bytearray()
                while block := file.read(self._longest + 1 - len(content)):
                    content += block
                return bytes(content) if len(content) == dropped.length else None
        except OSError:
            return None

    def _look(self) -> Iterator[Dropped]:
        endings = tuple(ending.lower() for ending in self._options.endings)
        folder = os.open(self._options.path, FOLDER)
        try:
            with os.scandir(folder) as entries:
                for count, entry in enumerate(entries):
                    if count >= FILES_MAX:
                        return
                    name = os.fsencode(entry.name)
                    lower = entry.name.lower()
                    if not lower.endswith(endings) or lower.startswith(".") or lower.endswith(_UNFINISHED):
                        continue
                    if len(printable(name)) > KEY_MAX:
                        continue
                    try:
                        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    except OSError:
                        continue  # it was taken away meanwhile
                    if stat.S_ISREG(facts.st_mode):
                        yield facts_of(name, facts)
        finally:
            os.close(folder)


def facts_of(name: bytes, facts: os.stat_result) -> Dropped:
    """What a file looks like."""
    return Dropped(name, facts.st_size, facts.st_mtime_ns, facts.st_ino)
