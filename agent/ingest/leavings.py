"""What an earlier run left behind, and what arrived and cannot be continued: kept, named, explained.

Nothing of it is deleted but what is proved to lie there twice: a part that is the beginning of a capture that is held.
A device that begins anew after each break, and there are such, would else fill the spool with beginnings.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import structlog

from agent.capture import Json, printable
from agent.ingest.order import whole
from agent.journal import Desk, queries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.capture import Digest, Holding
    from agent.spool import Spool

__all__ = ["Leavings"]


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
        names = await self._spool.run(lambda: list(self._spool.kept()))
        for name in names:
            await self._explain_kept(name)
        await self._explain_parts()
        await self._miss_nothing()

    async def set_aside(self, name: str, reason: str) -> None:
        """A stage file that cannot be continued becomes a part, with its reason in the journal; both, or neither."""
        await whole(self._set_aside(name, reason))

    async def _set_aside(self, name: str, reason: str) -> None:
        part = await self._spool.run(self._spool.seal_part, name)
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
                await self._spool.run(self._spool.drop_part, sha256)
                self._log.info("part_explained", part=sha256.hex(), length=count, capture=held.id)

    async def _explain_kept(self, name: str) -> None:
        """A kept file on which nothing rests was never promised: it moves to the parts, and is taken if offered."""
        try:
            sha256 = bytes.fromhex(name)
        except ValueError:
            self._log.error(
                "unknown_file_in_spool", name=printable(name), todo="look at it; Evidock did not put it there"
            )
            return
        if await self._desk.read(lambda journal: queries.keepers(journal, sha256)):
            return
        if await self._desk.read(lambda journal: queries.was_purged(journal, sha256)):
            await self._spool.run(self._spool.evict, sha256)
            return
        part = await self._spool.run(self._spool.set_kept_aside, sha256)
        reason = "it was complete in the spool, and the agent ended before it could promise it"
        await self._explain_part(part.digest, reason)

    async def _explain_part(self, digest: Digest, reason: str) -> None:
        await self._desk.write(lambda journal: journal.quarantine_part(digest, reason, origin=None, about={}))

    async def _explain_parts(self) -> None:
        """A part that came to lie there just before an earlier run ended gets the entry that it lacks."""
        told = {sha256 for sha256, _, _ in await self._desk.read(queries.parts)}
        for name in await self._spool.run(self._spool.set_aside):
            if name in told:
                continue
            part = await self._spool.run(self._spool.part, name)
            reason = "it was set aside, and the agent ended before it could write why"
            await self._explain_part(part.digest, reason)

    async def _miss_nothing(self) -> None:
        """What the journal says lies in the spool must lie there with its length; else it is taken again if offered."""
        after = 0
        while page := await self._spooled_after(after):
            after = page[-1][0]
            for holding in await self._spool.run(self._missing, [holding for _, holding in page]):
                self._log.critical("kept_file_missing", capture=holding.id, todo="dock its device again")
                await self._desk.write(lambda journal, id_=holding.id: journal.lose(id_))  # type: ignore[misc]

    async def _spooled_after(self, row: int) -> list[tuple[int, Holding]]:
        return await self._desk.read(lambda journal: queries.spooled(journal, row))

    def _missing(self, holdings: list[Holding]) -> list[Holding]:
        return [holding for holding in holdings if self._spool.length(holding.digest.sha256) != holding.digest.length]


def _token_of(name: str) -> bytes | None:
    try:
        return bytes.fromhex(name.split("-", maxsplit=1)[0].split(".", maxsplit=1)[0])
    except ValueError:
        return None
