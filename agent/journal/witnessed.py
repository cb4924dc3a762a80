"""Between which times an entry was written, as others state them: the station's own clock is not asked.

It was written after the last cosigned checkpoint, or time stamp, that an entry before it quotes by its SHA-256; and
before the first checkpoint above it was cosigned or stamped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.addresses import shown
from agent.journal import anchors
from agent.journal.rows import moment

if TYPE_CHECKING:
    from datetime import datetime

    from agent.journal.book import Journal

__all__ = ["Bound", "Witnessed", "witnessed"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A time that somebody else states."""

    at: datetime
    by: str
    """`witnesses` or the name of a time stamping authority."""
    size: int
    """Of the checkpoint that was cosigned or stamped."""


@dataclass(frozen=True, slots=True)
class Witnessed:
    """The times around one leaf; None where nobody has said anything yet."""

    after: Bound | None
    before: Bound | None


def witnessed(journal: Journal, index: int) -> Witnessed:
    """Between which times leaf `index` was written, as witnesses and time stamping authorities state them."""
    quoted = _one_row(
        journal, "SELECT cosigned_at, size FROM checkpoint WHERE anchored < ? ORDER BY anchored DESC", index
    )
    stamped = _one_row(
        journal, "SELECT stamped_at, size, authority FROM time_stamp WHERE anchored < ? ORDER BY anchored DESC", index
    )
    over, token = anchors.covering(journal, index), anchors.time_stamp_over(journal, index)
    after = [] if quoted is None else [Bound(moment(quoted[0]), "witnesses", quoted[1])]
    after += [] if stamped is None else [Bound(moment(stamped[0]), shown(stamped[2]), stamped[1])]
    before = [] if over is None or over.cosigned_at is None else [Bound(over.cosigned_at, "witnesses", over.size)]
    before += [] if token is None else [Bound(token.stamped_at, shown(token.authority), token.size)]
    return Witnessed(
        max(after, key=lambda bound: bound.at, default=None), min(before, key=lambda bound: bound.at, default=None)
    )


def _one_row(journal: Journal, sql: str, index: int) -> tuple[Any, ...] | None:
    found: tuple[Any, ...] | None = journal.connection.execute(f"{sql} LIMIT 1", (index,)).fetchone()
    return found
