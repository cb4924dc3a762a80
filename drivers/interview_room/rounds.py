"""Recordings cut on a grid that never moves, and which of the slices one look offers: so many, then those that follow.

A recording that goes on for months has more slices than fit into one look, and a recorder whose clock was wrong lists
more than there ever were. Nothing is left out for that: each look begins where the last one ended, round and round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta

__all__ = ["AT_ONCE", "Grid", "Rounds"]

AT_ONCE: Final = 10_000
"""Captures that one look offers at most: ten weeks in slices of ten minutes."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The slices of one recording: of one that goes on they all lie before `ends`; of a whole the last is shorter."""

    begins: datetime
    ends: datetime
    length: timedelta
    whole: bool
    """Nothing is added to the recording any more."""
    gone: int = 0
    """Slices at its beginning of which the recorder has nothing any more."""

    @property
    def single(self) -> bool:
        """It is short, and taken as it is."""
        return self.whole and self.ends - self.begins <= self.length

    @property
    def count(self) -> int:
        """How many slices there are; the first is number `gone`."""
        if self.single:
            return 1
        reach = self.ends - self.begins
        return max(0, (-(-reach // self.length) if self.whole else reach // self.length) - self.gone)

    @property
    def members(self) -> int:
        """How many there will ever be; 0 while nobody knows."""
        return self.count if self.whole else 0

    def at(self, number: int) -> tuple[datetime, datetime]:
        """Where a slice begins and ends."""
        begins = self.begins + number * self.length
        return begins, self.ends if self.ends - begins <= self.length else begins + self.length

    def short(self, number: int) -> int | None:
        """Seconds of a slice that is shorter than the others; None for those.

        It is the end of a recording. If that goes on some day, the slice is a longer one, and another capture.
        """
        begins, ends = (self.begins, self.ends) if self.single else self.at(number)
        return int((ends - begins).total_seconds()) if ends - begins < self.length else None


class Rounds:
    """Where the next look begins. Forgetting it costs nothing: the round begins anew."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self.at_once = at_once
        self._first = 0

    def next(self, grids: Sequence[Grid]) -> Iterator[tuple[int, range]]:
        """(index of a grid, numbers of its slices) for this look, in the order of the grids."""
        counts = [grid.count for grid in grids]
        total = sum(counts)
        first = self._first if self._first < total else 0
        last = min(first + self.at_once, total)
        self._first = last
        passed = 0
        for index, count in enumerate(counts):
            numbers = range(max(first - passed, 0), min(last - passed, count))
            if numbers:
                gone = grids[index].gone
                yield index, range(numbers.start + gone, numbers.stop + gone)
            passed += count
