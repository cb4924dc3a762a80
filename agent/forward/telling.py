"""Which captures the DEMS is told of before their bytes go, and which of those it is to go on knowing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.journal import renewals, turns

if TYPE_CHECKING:
    from agent.capture import Holding
    from agent.gate import Gate
    from agent.journal import Desk, Journal

__all__ = ["to_tell"]


async def to_tell(desk: Desk, gate: Gate, destination: str, after: int, limit: int) -> tuple[list[Holding], int]:
    """A page of those held after a leaf index, with what is due again, and the leaf index where the next page begins.

    What was announced or begun and is kept for a time only is renewed while it waits.
    """
    classes, kept_up = gate.told_classes(), gate.kept_up_classes()

    def look(journal: Journal) -> tuple[list[Holding], list[Holding]]:
        new = turns.untold(journal, destination, classes, after=after, limit=limit) if classes else []
        return new, renewals.due(journal, destination, kept_up, now=datetime.now(UTC), limit=limit)

    new, due = await desk.read(look)
    return [*new, *due], new[-1].index if new else after
