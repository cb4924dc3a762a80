"""How long the room in the spool lasts, if the days go on like the last one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.journal import queries

if TYPE_CHECKING:
    from agent.config import Policy
    from agent.journal import Journal

__all__ = ["Forecast", "Measuring", "measured"]

_DAY: Final = timedelta(days=1)
_LEAST: Final = timedelta(minutes=10)
"""A journal that is younger tells no rate."""
_STEP: Final = 10_000
"""Captures of one step."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a day adds to the spool."""

    a_day: int
    """Bytes: those that were taken, less those that the policy lets go; below zero where it empties."""

    def full_in(self, usable: int) -> float | None:
        """Seconds until so many bytes are used up; None where they never are."""
        return usable / self.a_day * _DAY.total_seconds() if self.a_day > 0 else None


class Measuring:
    """One look at the last day of a journal, in steps of some milliseconds: a busy day has many captures."""

    def __init__(self, journal: Journal, policy: Policy, now: datetime | None = None) -> None:
        now = now or datetime.now(UTC)
        self.forecast: Forecast | None = None
        """Once `step` said that it is done; None where the journal is too young."""
        self._ranges: list[tuple[int, int, bool]] = []
        self._sum = 0
        first = queries.first_held_at(journal)
        self._young = first is None or now - first < _LEAST
        if first is None or self._young:
            return
        self._window = min(_DAY, now - first)
        self._ranges.append((*queries.rows_between(journal, now - self._window, now), True))
        if policy.spool != "keep":
            # What left the spool today was taken about so long ago; what is younger is still to be kept for a while.
            then = now - policy.spool_keep
            self._ranges.append((*queries.rows_between(journal, then - self._window, then), False))

    def step(self, journal: Journal) -> bool:
        """Look at the next captures; True when it is done."""
        while self._ranges:
            first, last, coming = self._ranges.pop()
            if first > last:
                continue
            end = min(last, first + _STEP - 1)
            taken, gone = queries.taken_in(journal, first, end)
            self._sum += taken if coming else -gone
            self._ranges.append((end + 1, last, coming))
            return False
        if not self._young:
            self.forecast = Forecast(round(self._sum * (_DAY / self._window)))
        return True


def measured(journal: Journal, policy: Policy, now: datetime | None = None) -> Forecast | None:
    """The same at one go, for a command; None where the journal is too young."""
    work = Measuring(journal, policy, now)
    while not work.step(journal):
        pass
    return work.forecast
