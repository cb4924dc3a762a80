"""A destination that says no, or whose receipts prove nothing: the capture waits for a person, a copy for a day."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from agent.errors import AgentError, BadReceipt, UplinkRefused
from agent.journal import queries

if TYPE_CHECKING:
    from agent.capture import Holding
    from agent.forward.aside import Asides
    from agent.forward.unsent import Unsent
    from agent.journal import Desk

__all__ = ["Declined"]

_DOUBTS_MAX: Final = 3


class Declined:
    """What one destination declined."""

    def __init__(self, desk: Desk, asides: Asides, unsent: Unsent, destination: str) -> None:
        self._desk, self._asides, self._unsent, self._destination = desk, asides, unsent, destination
        self._log = structlog.get_logger("forward")

    async def refused(self, holding: Holding, error: UplinkRefused, *, owed: bool) -> None:
        """It does not take it, for ever. `owed`: a copy, which does not change where the capture stands."""
        if owed:
            self._shelved(holding, error)
            return
        reason = str(error)
        await self._desk.write(lambda journal: journal.refuse(holding.id, reason))
        self._log.error("refused", capture=holding.id, reason=reason, todo=error.what_to_do)

    async def doubted(self, holding: Holding, reason: str, *, owed: bool = False) -> None:
        """What came as a receipt proves nothing. Sent anew a few times; then a person must look."""
        aside = self._asides.step(holding.id, monotonic())
        aside.doubts += 1
        self._log.error("bad_receipt", capture=holding.id, reason=reason, todo=BadReceipt.hint)
        await self._desk.write(lambda journal: queries.remember(journal, holding.id, self._destination, None))
        if aside.doubts < _DOUBTS_MAX:
            return
        why = f"its receipt was bad {_DOUBTS_MAX} times: {reason}"
        if owed:
            self._shelved(holding, BadReceipt(why))
        else:
            await self._desk.write(lambda journal: journal.quarantine(holding.id, why))

    def _shelved(self, holding: Holding, error: AgentError) -> None:
        self._asides.shelve(holding.id, monotonic())
        self._unsent.failed(holding.id, error, copy=True)
