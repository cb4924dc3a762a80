"""How long the room in the spool lasts, if the days go on like the last one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.journal import queries

if TYPE_CHECKING:
    from agent.config import Policy
    from agent.journal import Journal

__all__ = ["Forecast", "measured"]

_DAY: Final = timedelta(days=1)
_LEAST: Final = timedelta(minutes=10)
"""A journal that is younger tells no rate."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a day adds to the spool."""

    a_day: int
    """Bytes: those that were taken, less those that the policy lets go; below zero where it empties."""

    def full_in(self, usable: int) -> float | None:
        """Seconds until so many bytes are used up; None where they never are."""
        return usable / self.a_day * _DAY.total_seconds() if self.a_day > 0 else None


def measured(journal: Journal, policy: Policy, now: datetime | None = None) -> Forecast | None:
    """Look at the last day of this journal; None where it is too young. By an index: the day's captures, no others."""
    now = now or datetime.now(UTC)
    first = queries.first_held_at(journal)
    if first is None or now - first < _LEAST:
        return None
    window = min(_DAY, now - first)
    taken, _ = queries.taken_between(journal, now - window, now)
    gone = 0
    if policy.spool != "keep":
        # What left the spool today was taken about so long ago; what is younger is still to be kept for a while.
        keep = policy.spool_keep
        _, gone = queries.taken_between(journal, now - window - keep, now - keep)
    return Forecast(round((taken - gone) * (_DAY / window)))
