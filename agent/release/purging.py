"""What the spool may forget: receipted well enough, for long enough, and owed to nobody."""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import LENGTH_MAX
from agent.errors import Refusal, SpoolDamaged
from agent.journal import dating, queries

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.capture import Holding, Stamp, Strength
    from agent.config import Policy
    from agent.journal import Desk, Journal
    from agent.release.proof import Proving
    from agent.spool import Spool

__all__ = ["Purging", "unless_overtaken"]

_PAGE: Final = 256
_LATER_MAX: Final = 200_000
"""Captures of which it is remembered that they have to wait longer."""
_LOOKS: Final = 20
"""At one that waits, in the time for which it has to: each is a look through its story."""

_log = structlog.get_logger("release")


async def unless_overtaken(desk: Desk, holding: Holding, act: Callable[[Journal], object]) -> bool:
    """Whether it was done; a person may have ordered otherwise since the capture was looked at."""
    try:
        await desk.write(act)
    except Refusal as error:
        _log.info("overtaken", capture=holding.id, reason=str(error))
        return False
    return True


class Purging:
    """One for the whole station."""

    def __init__(
        self, desk: Desk, spool: Spool, policy: Policy, *, stamp: Callable[[], Stamp], proving: Proving, least: Strength
    ) -> None:
        self._desk, self._spool, self._policy = desk, spool, policy
        self._stamp, self._proving, self._least = stamp, proving, least
        self._later = OrderedDict[int, int]()
        """When to look again at what has not waited for long enough, on the clock of this boot, by its entry."""

    async def look(self) -> None:
        """Let go what may go now."""
        if self._policy.spool == "keep":
            return
        now, below = self._stamp(), await self._desk.read(self._proving.below)
        await self._look(now, now.at - self._policy.spool_keep, None, below)
        if now.synchronised:  # and whose receipts a clock that was ahead has dated
            await self._look(now, None, (now.at, LENGTH_MAX), below)

    async def _look(self, now: Stamp, before: datetime | None, after: tuple[datetime, int] | None, below: int) -> None:
        """At what was receipted in a time, page by page."""
        least, released_only = int(self._least), self._policy.spool == "released"
        while page := await self._desk.read(
            lambda journal, after=after: queries.evictable(  # type: ignore[misc]
                journal, _PAGE, before, after=after, least=least, released_only=released_only, below=below
            )
        ):
            for holding in page:
                await self._consider(holding, now)
            last = page[-1]
            after = (last.receipted_at or now.at, last.index)

    async def _consider(self, holding: Holding, now: Stamp) -> None:
        """Let it go, if it has been receipted for long enough: the time of its receipt may be any clock's word."""

        def look(journal: Journal) -> tuple[bool, bool]:
            if not keep or dating.has_waited(journal, holding, now, keep):
                return True, False
            return False, dating.to_be_dated(journal, holding, now)

        keep = self._policy.spool_keep
        if self._later.get(holding.index, 0) > now.mono_ns:
            return
        ripe, undated = await self._desk.read(look)
        self._later.pop(holding.index, None)
        if ripe:
            await self._let_go(holding)
            return
        self._later[holding.index] = now.mono_ns + keep // timedelta(microseconds=1) * 1000 // _LOOKS
        if len(self._later) > _LATER_MAX:
            self._later.popitem(last=False)
        if undated:
            await unless_overtaken(self._desk, holding, lambda journal: dating.date(journal, holding.id))

    async def _let_go(self, holding: Holding) -> None:
        # First the journal, then the file: a crash between them leaves a file that the next start lets go, and
        # never an entry that speaks of a file that is gone.
        if await unless_overtaken(self._desk, holding, lambda journal: journal.purge(holding.id)):
            await self._desk.read(lambda journal: self._evict(journal, holding.digest.sha256))
            _log.debug("purged", capture=holding.id)

    def _evict(self, journal: Journal, sha256: bytes) -> None:
        """In the journal's thread, where no other capture can be promised on the same file meanwhile."""
        if queries.keepers(journal, sha256):
            return
        try:
            self._spool.evict(sha256)
        except OSError as error:
            raise SpoolDamaged(f"letting {sha256.hex()} go from the spool: {error.strerror}") from error
