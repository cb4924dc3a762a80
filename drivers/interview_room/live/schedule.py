"""Hours at which a room records without a button: `Mon-Fri 08:00-18:00`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

__all__ = ["Hours"]

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHAPE: Final = re.compile(r"(?:([A-Za-z]{3})(?:-([A-Za-z]{3}))? +)?([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")


@dataclass(frozen=True, slots=True)
class Hours:
    """Some hours on some days; those that pass midnight belong to the day on which they begin."""

    days: frozenset[int]
    """0 is Monday."""
    opens: time
    closes: time
    """Not later than `opens`: on the next day. Equal: a whole day."""

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Read them; `ValueError` for what is none."""
        found = _SHAPE.fullmatch(text.strip())
        if found is None:
            raise ValueError('write hours such as "Mon-Fri 08:00-18:00"')
        first = (found[1] or "mon").lower()
        last = (found[2] or found[1] or "sun").lower()
        if first not in _DAYS or last not in _DAYS:
            raise ValueError(f"days are written {', '.join(day.title() for day in _DAYS)}")
        begin = _DAYS.index(first)
        count = (_DAYS.index(last) - begin) % 7 + 1
        try:
            opens, closes = time(int(found[3]), int(found[4])), time(int(found[5]) % 24, int(found[6]))
        except ValueError:
            raise ValueError(f"{text} names a time that no clock shows") from None
        return cls(frozenset((begin + step) % 7 for step in range(count)), opens, closes)

    def open_at(self, local: datetime) -> bool:
        """Whether they are when the wall clock of the zone shows this."""
        shown, today = local.time(), local.weekday()
        yesterday = (local.date() - timedelta(days=1)).weekday()
        if self.opens < self.closes:
            return today in self.days and self.opens <= shown < self.closes
        return (today in self.days and shown >= self.opens) or (yesterday in self.days and shown < self.closes)
