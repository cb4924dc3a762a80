"""The room: observations come in and become entries, positions in batches, and captures are looked at when due."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import KEY_MAX, printable
from agent.context import POSITION, ContextOptions, Sort
from agent.errors import JournalError
from agent.joining.joins import look
from agent.joining.positions import Positions
from agent.joining.roster import Roster
from agent.joining.touched import tell, touch_by_positions
from agent.journal import batches, contexts
from agent.journal.entry import told_claims

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.capture import Holding, Observation
    from agent.joining.announcing import Announcing
    from agent.joining.positions import Batch
    from agent.journal import Desk, Journal
    from agent.journal.facts import Fact

__all__ = ["Joining"]

_AT_ONCE: Final = 32
"""Captures that are looked at in one commit: what comes in between waits for these only."""
_SELDOM: Final = 30.0
"""Seconds between two looks where nothing is due before: the clock may have been set meanwhile."""
_BREATH: Final = 0.1
"""Seconds between two looks at least, whatever is due."""
_ROSTER: Final = 5.0
"""Seconds between two looks at the roster file, where there is one."""


class Joining:
    """Keeps what was observed and joins it to captures. One for the whole station."""

    def __init__(
        self,
        desk: Desk,
        options: ContextOptions,
        *,
        on_joined: Callable[[Holding], None] = lambda _: None,
        roster: Path | None = None,
        announcing: Announcing | None = None,
    ) -> None:
        """`on_joined`: told of each capture that got a new context, and perhaps another class.

        `roster`: the file of the agency that says who has which device.
        """
        self._desk, self._options, self._on_joined = desk, options, on_joined
        self._positions = Positions()
        self._roster, self._announcing = Roster(desk, roster), announcing
        self._nudged, self._wakes_at = asyncio.Event(), inf
        self._log = structlog.get_logger("joining")

    async def start(self) -> None:
        """Tell the journal how long captures wait before they are looked at. Run once the journal is open."""
        await self._desk.read(self._take_up)

    async def configure(self, options: ContextOptions) -> None:
        """These are the rules from now on; what was joined by older ones stays until something touches it."""
        self._options = options
        await self._desk.read(self._take_up)

    def _take_up(self, journal: Journal) -> None:
        journal.settle = self._options.settle

    async def observe(self, observation: Observation, *, actor: str = "agent", why: str | None = None) -> list[Fact]:
        """Keep a fact about the world; on return it is durable, but for positions. The intervals that it changed.

        What cannot stand in an entry is left out of it, and that is said. Raises `JournalError`, and `ValueError` where
        it is not said plainly of which device and kind it is.
        """
        for name in (observation.device, observation.kind):
            if not 0 < len(name) <= KEY_MAX or not name.isprintable():
                raise ValueError(f"{printable(name[:KEY_MAX])!r} cannot be a device or a kind of observation")
        observation = replace(observation, detail=told_claims(observation.detail))
        if observation.kind == POSITION:
            for batch in self._positions.add(observation, datetime.now(UTC)):
                await self._write(batch)
            self.expect(self._options.batch)
            return []

        changed = await self._desk.write(
            lambda journal: tell(journal, self._options, observation, actor=actor, why=why)
        )
        if any(fact.sort is Sort.MARK for fact in changed) or observation.kind == "vehicle.ignition":
            await self.flush()  # whatever made this happen may take the power next
        if changed:
            self.nudge()
        return changed

    @property
    def options(self) -> ContextOptions:
        """The rules that count now."""
        return self._options

    def nudge(self) -> None:
        """Something was told: look at once."""
        self._nudged.set()

    def expect(self, after: timedelta | None = None) -> None:
        """Something will be due after this time; by default, a capture that was taken just now."""
        if monotonic() + (self._options.settle if after is None else after).total_seconds() < self._wakes_at:
            self.nudge()

    async def flush(self) -> None:
        """Write every position that waits."""
        for batch in self._positions.due(0):
            await self._write(batch)

    async def run(self) -> None:
        """Write positions and look at captures when they are due, until cancelled."""
        while True:
            await self._rest()
            for batch in self._positions.due(self._options.batch.total_seconds()):
                await self._write(batch)
            await self._roster.look(self._options)
            await self.settle()
            if self._announcing is not None and self._options.tell_dems:
                await self._announcing.announce()

    async def _rest(self) -> None:
        """Until something is due or was told: a station where nothing happens is not woken up for this."""
        self._wakes_at = inf  # whoever expects something while we look wakes us up
        now = monotonic()
        rest = min(_SELDOM, await self._desk.read(contexts.due_in))
        if (waiting := self._positions.since) is not None:
            rest = min(rest, waiting + self._options.batch.total_seconds() - now)
        if self._roster.asked:
            rest = min(rest, _ROSTER)
        if self._announcing is not None and self._options.tell_dems:
            rest = min(rest, self._announcing.again_at - now)
        self._wakes_at = now + max(_BREATH, rest)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wakes_at - monotonic()):
                await self._nudged.wait()
        self._nudged.clear()

    async def settle(self) -> int:
        """Look at everything that is due now; how many captures got a new context."""
        count = 0
        while rows := await self._desk.read(lambda journal: contexts.due(journal, _AT_ONCE)):
            found = await asyncio.gather(*(self._look(row) for row in rows))
            for holding in found:
                if holding is not None:
                    count += 1
                    self._on_joined(holding)
        return count

    async def _look(self, row: int) -> Holding | None:
        try:
            return await self._desk.write(lambda journal: look(journal, self._options, row))
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever one capture says, the others are looked at
            self._log.error("context_failed", row=row, error=printable(repr(error)), todo="report it to the makers")
            await self._desk.write(lambda journal: contexts.settled(journal, row))
            return None

    async def _write(self, batch: Batch) -> None:
        def act(journal: Journal) -> None:
            batches.keep(journal, batch.device, batch.rows, batch.first, batch.last)
            touch_by_positions(journal, self._options, batch.device, (batch.first, batch.last), self._options.settle)

        await self._desk.write(act)
        self.expect()
