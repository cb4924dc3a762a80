"""The uplink `folder`: captures as bags on a drive or a disk that is carried, for stations without a network.

Each capture is a bag of its own (`bag`), written, forced and read back (`writing`) onto a medium that was prepared for
it (`medium`). What that proves, the configuration says: where the agency keeps its evidence there, a copy that was read
back counts; on a disk that is carried it only says that so many bytes are on their way. Whoever receives the disk
verifies it and signs for each capture (`evidock handover sign`); the receipts come back on the same disk, or on another
one, and are believed by their signature alone.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from agent.capture import Receipt, Strength
from agent.errors import UplinkDown
from agent.opened import opening
from agent.uplink import Finding
from agent.uplink.folder.medium import RECEIPTS, Medium, below, names_in, opened, read_plain, told
from agent.uplink.folder.options import FolderOptions
from agent.uplink.folder.writing import written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from agent.uplink import Sending

__all__ = ["FolderOptions", "FolderUplink", "receipts_in"]

FILE_MAX: Final = 64 << 20
"""Bytes of one file of receipts: 100,000 of them."""
FILES_MAX: Final = 10_000
_SCHEMA: Final = "receipt/1"
_Seen: TypeAlias = tuple[int, int, str]
_NEVER: Final = (-1, -1, "")


class FolderUplink:
    """One folder."""

    Options = FolderOptions

    def __init__(self, options: FolderOptions) -> None:
        self._options = options
        self._seen: dict[str, _Seen] = {}
        self._unreadable: dict[str, tuple[str, str]] = {}
        """What was said of a file that could not be read: its medium, and why."""
        self._log = structlog.get_logger("uplink")

    async def send(self, sending: Sending, /) -> Receipt:
        """See `agent.uplink.Uplink`."""
        path = self._options.path
        async with opening(lambda: opened(path)) as root:
            medium = await root.run(Medium.under, path)
            await written(medium, root, sending, watermark=self._options.watermark)
        await asyncio.to_thread(medium.require_here)
        digest = sending.holding.digest
        if self._options.archive:
            return Receipt(Strength.DIGEST, self._options.name, digest.length, digest.sha256)
        return Receipt(Strength.LENGTH, self._options.name, digest.length)

    async def later(self) -> AsyncIterator[bytes]:
        """See `agent.uplink.ReceiptsLater`: the notes of files that were not read yet, or that changed."""
        while True:
            with suppress(UplinkDown):  # the medium is on its way, or was taken out
                medium, names = await asyncio.to_thread(self._files)
                for name in names:
                    seen, notes = await asyncio.to_thread(self._unread, medium, name)
                    for note in notes:
                        yield note
                    self._seen[name] = seen  # and not before: what was not handed over is read again
            await asyncio.sleep(self._options.look)

    def _files(self) -> tuple[Medium, list[str]]:
        medium = Medium.at(self._options.path)
        try:
            with _receipts(medium) as place:
                found = [name for name in names_in(place) if name.endswith(".json")]
        except FileNotFoundError:
            found = []
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                self._cannot_read(medium.path / RECEIPTS, medium, "it is no folder")
            raise told(error, medium.path) from error
        return medium, found[-FILES_MAX:]  # named by their time: the newest

    def _unread(self, medium: Medium, name: str) -> tuple[_Seen, list[bytes]]:
        """A file's length, time and medium, and its notes, where those are others than before. Raises `UplinkDown`."""
        path, seen = medium.path / RECEIPTS / name, self._seen.get(name, _NEVER)
        try:
            with _receipts(medium) as place:
                facts = os.stat(name, dir_fd=place, follow_symlinks=False)
                now = (facts.st_size, facts.st_mtime_ns, medium.id)
                if now == seen:
                    return now, []
                content = read_plain(name, FILE_MAX + 1, place)
        except OSError as error:
            medium.require_here()
            self._cannot_read(path, medium, error.strerror or str(error))
            return seen, []  # a medium that failed once may be read at the next look
        try:
            return now, receipts_in(content)
        except ValueError as error:
            self._cannot_read(path, medium, str(error))
            return now, []

    def _cannot_read(self, path: Path, medium: Medium, why: str) -> None:
        if self._unreadable.get(path.name) != (medium.id, why):
            self._unreadable[path.name] = (medium.id, why)
            self._log.warning("receipts_unreadable", file=str(path), error=why)

    async def check(self) -> list[Finding]:
        """Whether a prepared medium is there, and how much room it has."""
        try:
            medium = await asyncio.to_thread(Medium.at, self._options.path)
            room = await asyncio.to_thread(medium.room)
        except UplinkDown as error:
            return [Finding(what="medium", state="problem", detail=str(error), todo=error.what_to_do)]
        found = [Finding(what="medium", state="ok", detail=f"{medium.id} at {medium.path}")]
        if room <= self._options.watermark:
            todo = "Hand this medium over, and put in another one that was prepared."
            return [*found, Finding(what="room", state="problem", detail="the medium is full", todo=todo)]
        found.append(Finding(what="room", state="ok", detail=f"{room / 1e9:.1f} GB are free"))
        if self._options.archive:
            detail = "each copy is read back, and counts as stored"
        else:
            detail = "what is written is on its way; devices forget once signed receipts came back"
        return [*found, Finding(what="receipts", state="ok", detail=detail)]

    async def aclose(self) -> None:
        """Nothing is open."""


@contextmanager
def _receipts(medium: Medium) -> Iterator[int]:
    """The folder that they are brought back in: no link on the medium leads elsewhere. Raises `OSError`."""
    root = opened(medium.path)
    try:
        with below(root, RECEIPTS) as place:
            yield place
    finally:
        os.close(root)


def receipts_in(content: bytes) -> list[bytes]:
    """The notes of a file of receipts; `ValueError` for anything else. What they are worth, their reader verifies."""
    if len(content) > FILE_MAX:
        raise ValueError("it is too long")
    try:
        said = json.loads(content)
    except RecursionError:
        raise ValueError("it is no text that a program wrote") from None
    if not isinstance(said, dict) or said.get("schema") != _SCHEMA or not isinstance(said.get("receipts"), list):
        raise ValueError(f"it is no {_SCHEMA}")
    return [note.encode("utf-8", "replace") for note in said["receipts"] if isinstance(note, str)]
