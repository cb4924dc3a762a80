"""Since when a capture is receipted, where the station's clock was years ahead when that was written.

Its entry is of the future, and stays so. Once a clock that is known to be right shows it, an entry says that it was
seen: the receipt had come by then, so that whatever waits from that moment on waits long enough, and not for years.
While nobody keeps the clock nothing is concluded: it may be the clock that is behind now, and not the entry that was
ahead.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.capture import Holding, rfc3339
from agent.journal import queries
from agent.journal.entry import Event

if TYPE_CHECKING:
    from agent.capture import Stamp
    from agent.journal.book import Journal

__all__ = ["date", "receipted_since", "to_be_dated"]

_AHEAD: Final = timedelta(days=1)
"""A clock that was ahead by less is waited for."""


def receipted_since(journal: Journal, holding: Holding, now: Stamp) -> datetime | None:
    """Since when it is receipted, as far as that can be believed now; None while it cannot be told."""
    at = holding.receipted_at or holding.changed_at
    return at if at <= now.at + _AHEAD else _dated(journal, holding, now)


def to_be_dated(journal: Journal, holding: Holding, now: Stamp) -> bool:
    """Whether its receipt is of the future, by a clock that is right, and no entry says so yet."""
    return now.synchronised and receipted_since(journal, holding, now) is None


def date(journal: Journal, capture: str) -> Holding:
    """Say that the entry of its receipt was seen to be of the future."""
    at = journal.get(capture).receipted_at
    return journal.note(capture, Event.RECEIPT_DATED, {"receipted_at": None if at is None else rfc3339(at)})


def _dated(journal: Journal, holding: Holding, now: Stamp) -> datetime | None:
    """When that was seen, of the last receipt."""
    seen: datetime | None = None
    for entry in queries.story(journal, holding.id) if now.synchronised else ():
        said = entry["predicate"]
        if said["event"] == Event.RECEIPTED:
            seen = None
        elif said["event"] == Event.RECEIPT_DATED:
            seen = datetime.fromisoformat(said["recorded_at"])
    return seen if seen is not None and seen <= now.at + _AHEAD else None
