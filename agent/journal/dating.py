"""For how long a capture is receipted, as far as anything shows it: a station's clock may be set, or be years off.

Within one boot CLOCK_BOOTTIME shows it, which nobody sets. Between two boots the wall clock does, where it was kept
right at either end. Where it was not when the receipt came, or shows a time that is still to come, an entry says when a
clock that is kept right showed it: the receipt had come by then, so that whatever waits from that moment on waits long
enough, and not for years. A clock that is not kept right now shows no more than how long this boot lasts.

A station whose clock nobody keeps, neither then nor now, has nothing else: there the wall clock counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from agent.capture import Holding, rfc3339
from agent.journal import queries
from agent.journal.entry import Event

if TYPE_CHECKING:
    from agent.capture import Stamp
    from agent.journal.book import Journal

__all__ = ["date", "has_waited", "to_be_dated"]

_AHEAD: Final = timedelta(days=1)
"""A clock that was ahead by less is waited for."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A moment at which the receipt had come, as an entry tells it."""

    at: datetime
    boot_id: str
    mono_ns: int
    kept: bool
    """The wall clock was kept right then."""

    @classmethod
    def read(cls, said: dict[str, Any]) -> Self:
        at = datetime.fromisoformat(said["recorded_at"])
        return cls(at, str(said["boot_id"]), int(said["mono_ns"]), said["clock"]["synchronised"] is True)

    def counts(self, now: Stamp) -> bool:
        """Whether a clock that is kept right now can tell how long it is ago."""
        return self.boot_id == now.boot_id or (self.kept and self.at <= now.at + _AHEAD)

    def ago(self, now: Stamp) -> timedelta:
        """How long it is ago, at least."""
        if self.boot_id == now.boot_id:
            return timedelta(microseconds=(now.mono_ns - self.mono_ns) // 1000)
        this_boot = timedelta(microseconds=now.mono_ns // 1000)
        return max(this_boot, now.at - self.at) if self.kept is now.synchronised else this_boot


def has_waited(journal: Journal, holding: Holding, now: Stamp, least: timedelta) -> bool:
    """Whether it has been receipted for so long, beyond doubt."""
    at = holding.receipted_at or holding.changed_at
    if at <= now.at < at + least:
        return False  # no entry need be read: whatever they show, it is waited for
    return any(mark.ago(now) >= least for mark in _marks(journal, holding))


def to_be_dated(journal: Journal, holding: Holding, now: Stamp) -> bool:
    """Whether a clock that is kept right is to say that the receipt has come by now: nothing else can be believed."""
    return now.synchronised and not any(mark.counts(now) for mark in _marks(journal, holding))


def date(journal: Journal, capture: str) -> Holding:
    """Say that its receipt has come by now."""
    at = journal.get(capture).receipted_at
    return journal.note(capture, Event.RECEIPT_DATED, {"receipted_at": None if at is None else rfc3339(at)})


def _marks(journal: Journal, holding: Holding) -> list[_Mark]:
    """When it was seen that the last receipt had come."""
    marks: list[_Mark] = []
    for entry in queries.story(journal, holding.id):
        said = entry["predicate"]
        if said["event"] == Event.RECEIPTED:
            marks = [_Mark.read(said)]
        elif said["event"] == Event.RECEIPT_DATED:
            marks.append(_Mark.read(said))
    return marks
