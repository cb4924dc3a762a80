"""What a receiver's time is worth: compared with ours, it is believed, or marked and not used.

Time and place are claims apart: a receiver that counts its weeks wrongly (they roll over at 1024) still knows where it
is. gpsd repairs dates that look too old by adding 1024 weeks, and so can be wrong the other way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.clock import EARLIEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.capture import Stamp

__all__ = ["Judged", "TimeJudge"]

ERA: Final = timedelta(weeks=1024)
_ERAS: Final = 3
AGREES: Final = timedelta(seconds=2)
"""How far a receiver's time may lie from ours: a sentence at 4800 baud comes up to a second after its moment."""
_UNKEPT: Final = timedelta(days=1)
"""How far a clock that nobody keeps right is taken to be off at most, when weeks are counted: 1024 are far more."""
_STEADY: Final = 3
"""Fixes in a row after which a receiver's time is listened to."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The time of one fix."""

    at: datetime
    """The best that is known."""
    source: str
    """`gnss`: it is the receiver's; `station`: it is ours, when it came."""
    rollover: int | None = None
    """How many times 1024 weeks the receiver lies behind; negative: ahead."""
    doubt: str | None = None
    """Why the receiver's time was not used."""


class TimeJudge:
    """Judges the times of one receiver, in their order."""

    def __init__(self, stamp: Callable[[], Stamp]) -> None:
        self._stamp, self._fixes = stamp, 0

    def lost(self) -> None:
        """There is no fix: the next times are on trial again."""
        self._fixes = 0

    def judge(self, said: datetime | None) -> Judged:
        """The time of a fix that just came."""
        ours = self._stamp()
        self._fixes += 1
        if said is None:
            return Judged(ours.at, "station", doubt="not_told")
        off = ours.at - said
        eras = round(off / ERA)
        near = (AGREES + timedelta(microseconds=ours.uncertainty_us or 0)) if ours.synchronised else _UNKEPT
        if eras and abs(eras) <= _ERAS and abs(off - eras * ERA) <= near:
            return Judged(ours.at, "station", rollover=eras, doubt="week_rollover")
        if said < EARLIEST:
            return Judged(ours.at, "station", doubt="too_early")
        if self._fixes < _STEADY:
            return Judged(ours.at, "station", doubt="first_fixes")
        if ours.synchronised and abs(off) > near:
            return Judged(ours.at, "station", doubt="disagrees")
        return Judged(said, "gnss")
