"""Hours of the week: `Mon-Fri 22:00-06:00`, open while a wall clock in the station's zone shows a time in them.

So daylight saving needs no rule of its own. In spring `01:30-03:30` lasts one hour, for the clock jumps over the other,
and `02:00-03:00` is not there at all; in autumn `01:00-02:00` comes twice and is open both times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Window", "WindowText"]

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHAPE: Final = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))?\s+)?(\d\d):(\d\d)-(\d\d):(\d\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Window:
    """Some hours on some days; it belongs to the day on which it opens."""

    days: frozenset[int]
    """0 is Monday."""
    opens: time
    closes: time
    """Not later than `opens`: on the next day. Equal: a whole day."""
    text: str

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read it; `ValueError` for what is none."""
        found = _SHAPE.fullmatch(text.strip())
        if found is None:
            raise ValueError('write a window such as "Mon-Fri 22:00-06:00" or "01:00-05:00"')
        first, last = (found[1] or "mon").lower(), (found[2] or found[1] or "sun").lower()
        if first not in _DAYS or last not in _DAYS:
            raise ValueError(f"days are written {', '.join(day.title() for day in _DAYS)}")
        begin, count = _DAYS.index(first), (_DAYS.index(last) - _DAYS.index(first)) % 7
        try:
            closes = time(0) if (found[5], found[6]) == ("24", "00") else time(int(found[5]), int(found[6]))
            opens = time(int(found[3]), int(found[4]))
        except ValueError:
            raise ValueError(f"{text} names a time that no clock shows") from None
        return cls(frozenset((begin + step) % 7 for step in range(count + 1)), opens, closes, text.strip())

    def open_at(self, local: datetime) -> bool:
        """Whether it is open when the wall clock shows this."""
        shown, today = local.time(), local.weekday()
        yesterday = (local.date() - timedelta(days=1)).weekday()
        if self.opens < self.closes:
            return today in self.days and self.opens <= shown < self.closes
        return (today in self.days and shown >= self.opens) or (yesterday in self.days and shown < self.closes)


def _window(value: Any) -> Window:  # noqa: ANN401 - whatever stands in the file
    if isinstance(value, Window):
        return value
    return Window.parse(str(value))


WindowText = Annotated[Window, BeforeValidator(_window), PlainSerializer(lambda window: window.text, return_type=str)]
"""A window as it is written in agent.toml."""
