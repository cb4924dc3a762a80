"""Which captures the DEMS is told of before their bytes go, and which of those it is to go on knowing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

from agent.journal import renewals, turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.capture import Holding
    from agent.forward.watched import Link
    from agent.gate import Gate
    from agent.journal import Desk, Journal

__all__ = ["Telling"]

_PAGE: Final = 128


class Telling:
    """Tells one destination. Where it stopped is known here alone: what was told is known to the journal."""

    def __init__(
        self,
        desk: Desk,
        gate: Gate,
        link: Link,
        *,
        free: Callable[[str, float], bool],
        tell: Callable[[Holding], Awaitable[bool]],
    ) -> None:
        """`free`: whether a capture may be told of at this moment; `tell` tells, and says whether it is told."""
        self._desk, self._gate, self._link, self._free, self._tell = desk, gate, link, free, tell
        self._after, self._left = -1, False
        self._task: asyncio.Task[None] | None = None

    def anew(self) -> None:
        """Others may be told of now."""
        self._after, self._left = -1, True

    async def told(self, group: asyncio.TaskGroup, *, busy: bool) -> None:
        """Let it know of captures whose bytes may not go yet. `busy`: other requests are on their way there.

        Beside those that go, so that one that gets no answer keeps nothing else waiting; except where all is told
        before the bytes of any go, or where the first request shows whether the destination is back.
        """
        if idle := self._task is None or self._task.done():
            if busy and not self._link.up:
                return
            self._task = group.create_task(self._some())
        if self._task is not None and (self._gate.traffic.metadata_first or (idle and not self._link.up)):
            await asyncio.wait({self._task})

    async def _some(self) -> None:
        """Tell of one page, or of all that is here where that goes before the bytes of any.

        Whoever could not be told of gets another turn once the last page was.
        """
        while True:
            before = self._after
            new, due = await self._page()
            if new and self._after == before:  # else there is news
                self._after = new[-1].index
            for holding in (*new, *due):
                if monotonic() < self._link.again_at:
                    self._after = min(self._after, before)
                    return
                if not (self._free(holding.id, monotonic()) and await self._tell(holding)):
                    self._left |= holding in new
            if len(new) < _PAGE:
                if self._left:
                    self._after, self._left = -1, False
                return
            if not self._gate.traffic.metadata_first:
                return

    async def _page(self) -> tuple[list[Holding], list[Holding]]:
        """Those held after a leaf index, and those that are due: what is kept for a time only is renewed meanwhile."""
        classes, kept_up = self._gate.told_classes(), self._gate.kept_up_classes()
        after, destination = self._after, self._link.name

        def look(journal: Journal) -> tuple[list[Holding], list[Holding]]:
            new = turns.untold(journal, destination, classes, after=after, limit=_PAGE) if classes else []
            return new, renewals.due(journal, destination, kept_up, now=datetime.now(UTC), limit=_PAGE)

        return await self._desk.read(look)
