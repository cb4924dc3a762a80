"""Times that a camera tells: whether a clock can show one, and what is later than one, also at the end of calendars."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["ahead", "later"]

_YEARS: Final = range(1900, 9000)
"""What a clock may show that was never set, or wrongly; with others one cannot count."""
_LAST: Final = datetime.max.replace(tzinfo=UTC)


def ahead(shown: datetime) -> timedelta | None:
    """How far a clock that shows this is ahead of ours; None where no clock shows it."""
    return shown - datetime.now(UTC) if shown.year in _YEARS else None


def later(moment: datetime, by: timedelta) -> datetime:
    """A moment and `by`, which is not negative; the last one that there is where that lies behind it."""
    return moment + by if _LAST - moment > by else _LAST
