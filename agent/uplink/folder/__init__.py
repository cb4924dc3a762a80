"""The uplink `folder`: captures as bags on a drive or a disk that is carried, for stations without a network.

Each capture is a bag of its own (`bag`), written, forced and read back (`writing`) onto a medium that was prepared for
it (`medium`). What that proves, the configuration says: where the agency keeps its evidence there, a copy that was read
back counts; on a disk that is carried it only says that so many bytes are on their way. Whoever receives the disk
verifies it and signs for each capture (`evidock handover sign`); the receipts come back on the same disk, or on another
one, and are believed by their signature alone.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import Receipt, Strength
from agent.errors import UplinkDown
from agent.uplink import Finding
from agent.uplink.folder.medium import RECEIPTS, Medium, told
from agent.uplink.folder.options import FolderOptions
from agent.uplink.folder.writing import written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.uplink import Sending

__all__ = ["FolderOptions", "FolderUplink", "receipts_in"]

FILE_MAX: Final = 64 << 20
"""Bytes of one file of receipts: 100,000 of them."""
FILES_MAX: Final = 10_000
_SCHEMA: Final = "receipt/1"


class FolderUplink:
    """One folder."""

    Options = FolderOptions

    def __init__(self, options: FolderOptions) -> None:
        self._options = options
        self._seen: dict[str, tuple[int, int, str]] = {}
        self._log = structlog.get_logger("uplink")

    async def send(self, sending: Sending, /) -> Receipt:
        """See `agent.uplink.Uplink`."""
        medium = await asyncio.to_thread(Medium.at, self._options.path)
        await written(medium, sending, watermark=self._options.watermark)
        await asyncio.to_thread(medium.require_here)
        digest = sending.holding.digest
        if self._options.archive:
            return Receipt(Strength.DIGEST, self._options.name, digest.length, digest.sha256)
        return Receipt(Strength.LENGTH, self._options.name, digest.length)

    async def later(self) -> AsyncIterator[bytes]:
        """See `agent.uplink.ReceiptsLater`: the notes of files that were not read yet, or that changed."""
        while True:
            try:
                found = await asyncio.to_thread(self._unread)
            except UplinkDown:  # the medium is on its way
                found = []
            for note in found:
                yield note
            await asyncio.sleep(self._options.look)

    def _unread(self) -> list[bytes]:
        medium, notes = Medium.at(self._options.path), list[bytes]()
        try:
            names = sorted(path.name for path in (medium.path / RECEIPTS).glob("*.json"))[:FILES_MAX]
            for name in names:
                path = medium.path / RECEIPTS / name
                facts = path.stat()
                seen = (facts.st_size, facts.st_mtime_ns, medium.id)
                if self._seen.get(name) == seen:
                    continue
                self._seen[name] = seen
                if facts.st_size > FILE_MAX:
                    self._log.warning("receipts_unreadable", file=str(path), error="it is too long")
                    continue
                try:
                    notes += receipts_in(path.read_bytes())
                except ValueError as error:
                    self._log.warning("receipts_unreadable", file=str(path), error=str(error))
        except OSError as error:
            raise told(error, medium.path) from error
        return notes

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


def receipts_in(content: bytes) -> list[bytes]:
    """The notes of a file of receipts; `ValueError` for anything else. What they are worth, their reader verifies."""
    said = json.loads(content)
    if not isinstance(said, dict) or said.get("schema") != _SCHEMA or not isinstance(said.get("receipts"), list):
        raise ValueError(f"it is no {_SCHEMA}")
    return [str(note).encode("utf-8", "replace") for note in said["receipts"]]
