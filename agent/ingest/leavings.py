"""What an earlier run left behind, and what arrived and cannot be continued: kept, named, explained.

Nothing of it is deleted but what is proved to lie there twice: a part that is the beginning of a capture that is held.
A device that begins anew after each break, and there are such, would else fill the spool with beginnings.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import Json, printable
from agent.journal import Desk, finding, queries
from agent.tasks import whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.capture import Digest, Holding
    from agent.spool import Spool

__all__ = ["Leavings"]

_DIGEST: Final = 32
_FEW: Final = 1000
"""So many names and rows at a time may be twice as many the next time."""


class Leavings:
    """Looks at stage/, kept/ and parts/ against the journal, and sets parts aside."""

    def __init__(self, desk: Desk, spool: Spool) -> None:
        self._desk, self._spool = desk, spool
        self._log = structlog.get_logger("ingest")

    async def explain(self) -> None:
        """Look at everything that an earlier run left. Run once, before anything is taken."""
        for leftover in await self._spool.run(self._spool.leftovers):
            if leftover.continuable:
                self._log.info("stage_found", name=leftover.name)
            else:
                await self.set_aside(leftover.name, "an earlier run ended before it was complete")
        for sha256 in await self._desk.read(finding.lost_parts):
            await self._spool.run(self._spool.take_back, sha256)  # to kept/, where it is found as any other
        await self._compare_kept()
        await self._explain_parts()

    async def set_aside(self, name: str, reason: str) -> None:
        """A stage file that cannot be continued becomes a part, with its reason in the journal; both, or neither."""
        await whole(self._set_aside(name, reason))

    async def _set_aside(self, name: str, reason: str) -> None:
        part = await self._spool.run(self._spool.aside.seal, name)
        about: dict[str, Json] = {} if part.about is None else json.loads(part.about)
        await self._desk.write(
            lambda journal: journal.quarantine_part(part.digest, reason, origin=_token_of(name), about=about)
        )
        self._log.warning("part_set_aside", part=part.digest.sha256.hex(), length=part.digest.length, reason=reason)

    async def resolve(self, held: Holding, aside: Iterable[tuple[bytes, int]]) -> None:
        """A capture is held: parts of its origin that are its beginning, byte for byte, are no parts any more.

        First the journal, then the file: after a crash between them the file is found, and is a part again.
        """
        for sha256, count in aside:
            if await self._spool.run(self._spool.sha256_of_first, held.digest.sha256, count) != sha256:
                continue  # other bytes came first: a person may want to see them
            explained = await self._desk.write(
                lambda journal, sha256=sha256, count=count: journal.explain_part(sha256, count, held)  # type: ignore[misc]
            )
            if explained:
                await self._spool.run(self._spool.aside.drop, sha256)
                self._log.info("part_explained", part=sha256.hex(), length=count, capture=held.id)

    async def _explain_kept(self, name: str) -> None:
        """A kept file on which nothing rests was never promised, or it was given up as lost and has come back.

        What has come back byte for byte is what it was; anything else moves to the parts, and is taken if offered.
        """
        sha256 = bytes.fromhex(name)
        if await self._desk.read(lambda journal: queries.keepers(journal, sha256)):
            return
        if await self._desk.read(lambda journal: finding.was_purged(journal, sha256)):
            await self._spool.run(self._spool.evict, sha256)
            return
        if await self._found(sha256):
            return
        part = await self._spool.run(self._spool.set_kept_aside, sha256)
        reason = "it was complete in the spool, and the agent ended before it could promise it"
        if await self._desk.read(lambda journal: queries.was_held(journal, sha256)):
            reason = "it was missing from the spool, or not whole, when the agent looked before, and lies there now"
        await self._explain_part(part.digest, reason)

    async def _found(self, sha256: bytes) -> bool:
        """Whether it is what a capture lost: read to its end, it is what its name says."""
        lost = await self._desk.read(lambda journal: finding.lost(journal, sha256))
        if not lost or await self._spool.run(self._spool.sha256_now, sha256) != sha256:
            return False
        for id_ in await self._desk.write(lambda journal: finding.found(journal, sha256)):
            self._log.warning("kept_file_found", capture=id_)
        return True

    async def _explain_part(self, digest: Digest, reason: str) -> None:
        await self._desk.write(lambda journal: journal.quarantine_part(digest, reason, origin=None, about={}))

    async def _explain_parts(self) -> None:
        """A part that came to lie there just before an earlier run ended gets the entry that it lacks."""
        told = {sha256 for sha256, _, _ in await self._desk.read(queries.parts)}
        for name in await self._spool.run(self._spool.aside.names):
            if name in told:
                continue
            part = await self._spool.run(self._spool.aside.part, name)
            reason = "it was set aside, and the agent ended before it could write why"
            await self._explain_part(part.digest, reason)

    async def _compare_kept(self) -> None:
        """What lies in kept/ against what the journal says lies there, a part of both at a time.

        What the journal says must lie there with its length; else the capture is taken again if it is offered.
        """
        kept, strange = await self._spool.run(self._gathered)
        for name in strange:
            self._log.error(
                "unknown_file_in_spool", name=printable(name), todo="look at it; Evidock did not put it there"
            )
        first, width = 0, 1
        while first < len(kept):
            last = min(first + width, len(kept)) - 1
            names = b"".join(kept[first : last + 1])
            said = await self._desk.read(partial(queries.spooled_under, first=first, last=last))
            for name in await self._spool.run(_unsaid, names, said) if names else ():
                await self._explain_kept(name)
            for row in await self._spool.run(self._missing, said) if said else ():
                id_ = await self._desk.read(lambda journal, row=row: queries.id_of(journal, row))  # type: ignore[misc]
                self._log.critical("kept_file_missing", capture=id_, todo="dock its device again")
                await self._desk.write(lambda journal, id_=id_: journal.lose(id_))  # type: ignore[misc]
            # Where little lies there, hundreds of visits to the threads would find nothing.
            width = 2 * width if len(names) // _DIGEST + len(said) <= _FEW else 1
            first = last + 1

    def _gathered(self) -> tuple[list[bytearray], list[str]]:
        """Names of kept files as raw digests, by their first byte, and names that are none, or of no plain file."""
        # Packed: as objects, the names of a full spool would be most of what the daemon has in memory.
        kept, strange = [bytearray() for _ in range(256)], []
        for name, plain in self._spool.kept():
            if (raw := _raw(name)) is None or not plain:
                strange.append(name)
            else:
                kept[raw[0]] += raw
        return kept, strange

    def _missing(self, said: list[tuple[bytes, int, int]]) -> list[int]:
        """Rows of those that do not lie there with their length."""
        return [row for sha256, length, row in said if self._spool.length(sha256) != length]


def _raw(name: str) -> bytes | None:
    """The digest that is the name of a kept file; None where the name is none."""
    try:
        raw = bytes.fromhex(name)
    except ValueError:
        return None
    return raw if len(raw) == _DIGEST and raw.hex() == name else None


def _unsaid(names: bytes, said: list[tuple[bytes, int, int]]) -> list[str]:
    """Names of kept files of which the journal says nothing."""
    told = {sha256 for sha256, _, _ in said}
    every = (bytes(names[at : at + _DIGEST]) for at in range(0, len(names), _DIGEST))
    return [raw.hex() for raw in every if raw not in told]


def _token_of(name: str) -> bytes | None:
    try:
        return bytes.fromhex(name.split("-", maxsplit=1)[0].split(".", maxsplit=1)[0])
    except ValueError:
        return None
