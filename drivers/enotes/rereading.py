"""Where the envelopes of a notebook lie, so that each can be read once more: a station's index, or files.

One at a time is in memory, however many there are; and the index is never held open between two, for whoever reads it
keeps the daemon from writing it.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Protocol, Self

from agent.errors import Refusal
from firmware_specs.formats.enote import LINE_MAX

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["IndexLines", "KeptLines", "Lines", "Row"]

_PAGE: Final = 1000
"""Attachments that are asked for at once."""


@dataclass(frozen=True, slots=True)
class Row:
    """One envelope, with what was noted when it came; nothing but its bytes where only the file is there."""

    number: int
    """In which order they came."""
    line: bytes
    told: str | None = None
    flags: str = "[]"
    tablet: str | None = None
    received_at: str | None = None


class Lines(Protocol):
    """The envelopes of a notebook."""

    knows_attachments: bool
    """Whether it can tell which attachments came."""

    def line(self, number: int) -> bytes:
        """The envelope that came as this number, byte for byte."""

    def held_at(self, seq: int, sha256: str) -> str | None:
        """When an attachment was held; None: it did not come."""

    def awaited(self) -> Iterator[tuple[int, str]]:
        """(entry, SHA-256) of each attachment that did not come."""


class IndexLines:
    """Those of one notebook of a station's index; None: of those that have no place in any."""

    knows_attachments = True

    def __init__(self, db: sqlite3.Connection, notebook: str | None) -> None:
        self._db, self._notebook = db, notebook

    def rows(self) -> Iterator[Row]:
        """All of them, as they came."""
        sql = "SELECT number FROM envelope WHERE notebook IS ? ORDER BY number"
        numbers = array("q", (number for (number,) in self._db.execute(sql, (self._notebook,))))
        sql = "SELECT line, status, base_flags, tablet, received_at FROM envelope WHERE number = ?"
        for number in numbers:
            for row in self._db.execute(sql, (number,)).fetchall():
                yield Row(number, *row)

    def line(self, number: int) -> bytes:
        """See `Lines`."""
        sql = "SELECT line FROM envelope WHERE number = ?"
        return b"".join(line for (line,) in self._db.execute(sql, (number,)).fetchall())

    def held_at(self, seq: int, sha256: str) -> str | None:
        """See `Lines`."""
        sql = "SELECT held_at FROM attachment WHERE notebook = ? AND seq = ? AND sha256 = ?"
        found = self._db.execute(sql, (self._notebook, seq, sha256)).fetchall()
        return next((held_at for (held_at,) in found), None)

    def awaited(self) -> Iterator[tuple[int, str]]:
        """See `Lines`."""
        sql = (
            "SELECT seq, sha256 FROM attachment WHERE notebook = ? AND held_at IS NULL AND (seq, sha256) > (?, ?)"
            " ORDER BY seq, sha256 LIMIT ?"
        )
        last = (-1, "")
        while page := self._db.execute(sql, (self._notebook, *last, _PAGE)).fetchall():
            yield from page
            last = page[-1]


class KeptLines:
    """Those in files, one a line or one a file. What can be read once only, as a pipe, is kept in a file of ours."""

    knows_attachments = False

    def __init__(self) -> None:
        self._files: list[Path | None] = []
        """None: what is kept."""
        self._of, self._at, self._length = array("q"), array("q"), array("q")
        self._kept: IO[bytes] | None = None
        self._open: tuple[int, IO[bytes]] | None = None
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        """Open as long as anything is read."""
        return self

    def __exit__(self, *_: object) -> None:
        """What was kept is gone then."""
        self._close()
        self._closing.close()

    def rows(self, files: Iterable[Path]) -> Iterator[Row]:
        """All of them, file after file. Raises `Refusal` where one cannot be read."""
        for path in files:
            try:
                with path.open("rb") as file:
                    for at, line in _lines(file):
                        if file.seekable():
                            self._note(path, at, len(line))
                        else:
                            self._keep(line)
                        yield Row(len(self._of), line)
            except OSError as error:
                raise Refusal(f"{path} cannot be read: {error.strerror}") from error

    def where(self, number: int) -> str:
        """Which file an envelope came from."""
        return str(self._files[self._of[number - 1]] or "what came by a pipe")

    def line(self, number: int) -> bytes:
        """See `Lines`."""
        which = self._of[number - 1]
        try:
            file = self._file(which)
            file.seek(self._at[number - 1])
            return file.read(self._length[number - 1])
        except OSError as error:
            raise Refusal(f"{self._files[which]} cannot be read: {error.strerror}") from error

    def held_at(self, seq: int, sha256: str) -> str | None:  # noqa: ARG002 - nobody knows
        """See `Lines`."""
        return None

    def awaited(self) -> Iterator[tuple[int, str]]:
        """See `Lines`."""
        return iter(())

    def _note(self, path: Path | None, at: int, length: int) -> None:
        if not self._files or self._files[-1] != path:
            self._files.append(path)
        self._of.append(len(self._files) - 1)
        self._at.append(at)
        self._length.append(length)

    def _keep(self, line: bytes) -> None:
        try:
            kept = self._keeping()
            self._note(None, kept.seek(0, os.SEEK_END), len(line))
            kept.write(line)
        except OSError as error:
            raise Refusal(
                f"what comes by a pipe cannot be kept: {error.strerror}",
                hint="Make room where TMPDIR says, else in /tmp; or name a file.",
            ) from error

    def _keeping(self) -> IO[bytes]:
        if self._kept is None:
            self._kept = self._closing.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it is one
        return self._kept

    def _file(self, which: int) -> IO[bytes]:
        if (path := self._files[which]) is None:
            return self._keeping()
        if self._open is None or self._open[0] != which:
            self._close()
            self._open = (which, path.open("rb"))
        return self._open[1]

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(where it begins, the line) for each that is not blank. One without an end comes in parts, which are none."""
    at = 0
    while line := file.readline(LINE_MAX + 2):
        if line.strip():
            yield at, line.rstrip(b"\n")
        at += len(line)
