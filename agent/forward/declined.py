"""A destination that says no, or whose receipts prove nothing: the capture waits for a person, a copy for a day."""

from __future__ import annotations

import json
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.errors import AgentError, BadReceipt, UplinkRefused
from agent.forward.aside import DAY
from agent.journal import copies, queries

if TYPE_CHECKING:
    from agent.capture import Holding
    from agent.forward.aside import Asides
    from agent.forward.unsent import Unsent
    from agent.journal import Desk, Journal

__all__ = ["Declined"]

_DOUBTS_MAX: Final = 3
_WHY_MAX: Final = 500


class Declined:
    """What one destination declined."""

    def __init__(self, desk: Desk, asides: Asides, unsent: Unsent, destination: str) -> None:
        self._desk, self._asides, self._unsent, self._destination = desk, asides, unsent, destination
        self._met: set[str] = set()  # copies of which more is known here than what an earlier run wrote down
        self._log = structlog.get_logger("forward")

    async def refused(self, holding: Holding, error: UplinkRefused, *, owed: bool) -> None:
        """It does not take it, for ever. `owed`: a copy, which does not change where the capture stands."""
        if owed:
            await self._shelved(holding, error)
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
            await self._shelved(holding, BadReceipt(why))
        else:
            await self._desk.write(lambda journal: journal.quarantine(holding.id, why))

    async def _shelved(self, holding: Holding, error: AgentError) -> None:
        self._met.add(holding.id)
        name, said = self._destination, {"declined_at": time(), "why": str(error)[:_WHY_MAX]}

        def act(journal: Journal) -> None:
            if copies.owes(journal, holding.id, name):
                state = _read(queries.recall(journal, holding.id, name))["state"]
                queries.remember(journal, holding.id, name, json.dumps({**said, "state": state}))

        await self._desk.write(act)
        self._asides.shelve(holding.id, monotonic())
        self._unsent.failed(holding.id, error, copy=True)

    def forgive(self, capture: str) -> None:
        """A person asks to try this one now."""
        self._met.add(capture)

    def said_before(self, holding: Holding, state: str | None, *, owed: bool) -> tuple[bool, str | None]:
        """Whether it was declined less than a day ago, before a restart; and what the uplink itself remembers of it."""
        told = _read(state)
        left = min(DAY, told["declined_at"] + DAY - time())
        if not owed or left <= 0 or holding.id in self._met:
            return False, told["state"]
        self._met.add(holding.id)
        self._asides.shelve(holding.id, monotonic(), left)
        self._unsent.failed(holding.id, UplinkRefused(told["why"]), copy=True)
        return True, told["state"]


def _read(state: str | None) -> dict[str, Any]:
    """What is remembered of a copy that was declined; of any other the uplink's own words."""
    try:
        told = json.loads(state or "")
        if isinstance(told, dict) and told.keys() == {"declined_at", "why", "state"}:
            return told
    except ValueError:
        pass
    return {"declined_at": 0.0, "why": "", "state": state}
