"""What SQLite does to its files, step by step, and what a power cut between two steps leaves of it.

SQLite's own door to the system (sqlite.org/vfs.html), watched: a write is lasting once its file was forced; before that
each sector of it may have come to the disk or not, whatever was written after it.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

SECTOR = 512
_numbers = itertools.count()


class Forgetful:
    """One life of one database, from a file on."""

    def __init__(self, path: Path) -> None:
        self._base = path
        self._steps: list[tuple[str, str, int, bytes]] = []

    @property
    def steps(self) -> int:
        """How many steps were seen."""
        return len(self._steps)

    @contextmanager
    def watching(self) -> Iterator[Path]:
        """A copy of the database; whatever opens it in this block is seen."""
        with tempfile.TemporaryDirectory(dir=self._base.parent) as folder:
            path = Path(folder) / self._base.name
            shutil.copy(self._base, path)
            door = _Door(f"watched-{next(_numbers)}", self._steps)
            try:
                yield path
            finally:
                door.unregister()

    def left(self, cut: int, folder: Path, chance: Random) -> Path:
        """The files as a power cut leaves them that comes before step `cut`; the path of the database."""
        files = {self._base.name: bytearray(self._base.read_bytes())}
        floating: dict[str, list[tuple[str, int, bytes]]] = {}
        for what, name, offset, data in self._steps[:cut]:
            if what == "sync":
                for one in floating.pop(name, []):
                    _do(files.setdefault(name, bytearray()), *one)
            elif what == "delete":  # forced with its folder, as SQLite asks for
                files.pop(name, None)
                floating.pop(name, None)
            else:
                floating.setdefault(name, []).append((what, offset, data))
        for name, waiting in floating.items():
            for what, offset, data in waiting:
                for at in range(0, max(len(data), 1), SECTOR):
                    if chance.random() < 0.5:
                        _do(files.setdefault(name, bytearray()), what, offset + at, data[at : at + SECTOR])
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return folder / self._base.name


def _do(file: bytearray, what: str, offset: int, data: bytes) -> None:
    if what == "truncate":
        del file[offset:]
        return
    if len(file) < offset:
        file.extend(bytes(offset - len(file)))
    file[offset : offset + len(data)] = data


class _Door(apsw.VFS):
    """The default while it is there."""

    def __init__(self, name: str, steps: list[tuple[str, str, int, bytes]]) -> None:
        self._steps, self._base = steps, apsw.vfs_names()[0]
        super().__init__(name, base=self._base, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: ANN401, N802 - SQLite's names
        return _File(self._base, self._steps, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802
        super().xDelete(filename, syncdir)
        self._steps.append(("delete", Path(filename).name, 0, b""))


class _File(apsw.VFSFile):
    def __init__(
        self,
        base: str,
        steps: list[tuple[str, str, int, bytes]],
        name: Any,  # noqa: ANN401
        flags: list[int],
    ) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._steps, self._name = steps, Path(path or "temporary").name
        super().__init__(base, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._steps.append(("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._steps.append(("truncate", self._name, newsize, b""))

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._steps.append(("sync", self._name, 0, b""))
