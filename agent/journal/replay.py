"""What the entries of one capture make of it, read one after another: the journal's tables must say the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agent.capture import STEPS, Priority, Standing, Strength
from agent.journal.entry import Event
from agent.journal.pen import ENDS_RELEASE
from agent.journal.words import context_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Replay"]

_RETRY: Final = "retry"
_EXPORT: Final = "export"
_HOLD: Final = "hold"
_LIFT: Final = "lift hold"
_PRIORITISE: Final = "prioritise "
_ENDS_LOSS: Final = frozenset({Event.OFFERED_AGAIN, Event.RECEIPTED, Event.REFUSED, Event.CHANGED_AFTER_SEEN})


@dataclass(slots=True)
class Replay:
    """One capture, from its first entry on. `complaints` are steps and entries that the rules do not know."""

    standing: Standing = Standing.UNKNOWN
    priority: Priority = Priority.ROUTINE
    spooled: bool = False
    retained: bool = False
    superseded: bool = False
    forgets: bool = False
    """Its device forgets it by itself, and cannot be asked to."""
    strength: Strength | None = None
    destination: str | None = None
    note: str | None = None
    """SHA-256 of the signed receipt, where the entry names it; those of older versions do not."""
    reason: str | None = None
    held_when_lost: bool = False
    """It stood held when its file was given up as lost, and nothing else has happened to it since."""
    intended: int | None = None
    """Leaf of the entry `release.intended`, as long as nobody wrote how that ended."""
    context: int | None = None
    """Leaf of the newest entry about its context."""
    words: set[tuple[str, str]] = field(default_factory=set)
    """What that entry names."""
    complaints: list[str] = field(default_factory=list)

    def read(self, predicate: Mapping[str, Any]) -> None:
        """Apply the next entry."""
        event = predicate["event"]
        act = _ACTS.get(event)
        if act is None:
            self.complaints.append(f"no capture can have an entry {event!r}")
            return
        before = self.standing
        self.held_when_lost = self.held_when_lost and event not in _ENDS_LOSS
        if before is Standing.UNKNOWN and event != Event.HELD:
            self.complaints.append(f"its story begins with {event!r}")
        act(self, predicate)
        if self.standing is not before and self.standing in ENDS_RELEASE:
            self.intended = None
        if self.standing is not before and self.standing not in STEPS[before]:
            self.complaints.append(f"it went from {before} to {self.standing}, which is not permitted")


# One function for each event.


def _held(replay: Replay, predicate: Mapping[str, Any]) -> None:
    if replay.standing is not Standing.UNKNOWN:
        replay.complaints.append("it is held for a second time")
    replay.standing, replay.spooled = Standing.HELD, True
    replay.priority = Priority[predicate["capture"]["priority"].upper()]
    replay.forgets = "forgets" in predicate["capture"]


def _offered_again(replay: Replay, _: Mapping[str, Any]) -> None:
    if replay.standing in (Standing.RELEASED, Standing.PURGED):
        replay.standing = Standing.RECEIPTED
    elif replay.spooled:
        replay.complaints.append("it was taken again although it was here")
    elif replay.standing is Standing.QUARANTINED:
        replay.standing = Standing.HELD
    replay.spooled, replay.superseded, replay.reason = True, False, None


def _found(replay: Replay, predicate: Mapping[str, Any]) -> None:
    if replay.spooled:
        replay.complaints.append("it was found again although it was here")
    if replay.held_when_lost:
        replay.standing = Standing.HELD
    replay.spooled, replay.reason, replay.held_when_lost = True, predicate["reason"], False


def _receipted(replay: Replay, predicate: Mapping[str, Any]) -> None:
    told = predicate["receipt"]
    replay.standing, replay.reason = Standing.RECEIPTED, None
    replay.strength, replay.destination = Strength[told["strength"].upper()], told["destination"]
    replay.note = told.get("note_sha256")


def _refused(replay: Replay, predicate: Mapping[str, Any]) -> None:
    replay.standing, replay.reason = Standing.REFUSED, predicate["reason"]


def _quarantined(replay: Replay, predicate: Mapping[str, Any]) -> None:
    replay.reason = predicate["reason"]
    if predicate.get("spooled") is not False:
        replay.standing, replay.superseded = Standing.QUARANTINED, False
        return
    # Its file is lost; what the DEMS has proven stays proven.
    replay.held_when_lost = replay.standing is Standing.HELD
    if replay.standing not in (Standing.RELEASED, Standing.RECEIPTED):
        replay.standing = Standing.QUARANTINED
    replay.spooled, replay.superseded = False, True


def _changed(replay: Replay, predicate: Mapping[str, Any]) -> None:
    replay.standing, replay.reason, replay.superseded = Standing.QUARANTINED, predicate["reason"], True


def _intended(replay: Replay, predicate: Mapping[str, Any]) -> None:
    replay.intended = predicate["seq"]
    if replay.standing is not Standing.RECEIPTED or replay.retained:
        replay.complaints.append(f"its release was intended while it stood {replay.standing}")
    if replay.forgets:
        replay.complaints.append("its release was intended, and its device cannot be asked to forget it")


def _released(replay: Replay, _: Mapping[str, Any]) -> None:
    if replay.strength is None or replay.strength < Strength.DIGEST or replay.retained:
        replay.complaints.append("it was released without a receipt that names its digest, or against an order")
    replay.standing, replay.reason = Standing.RELEASED, None


def _release_refused(replay: Replay, predicate: Mapping[str, Any]) -> None:
    replay.reason = predicate["reason"]


def _purged(replay: Replay, _: Mapping[str, Any]) -> None:
    if replay.strength is None or replay.strength < Strength.DIGEST or replay.retained:
        replay.complaints.append("it left the spool without a receipt that names its digest, or against an order")
    if replay.standing is Standing.RELEASED:
        replay.standing = Standing.PURGED
    replay.spooled = False


def _checked(_replay: Replay, _: Mapping[str, Any]) -> None:
    return


def _context(replay: Replay, predicate: Mapping[str, Any]) -> None:
    told = predicate["context"]
    if predicate["instead_of"] != replay.context:
        replay.complaints.append("an entry about its context follows another one than it says")
    replay.context, replay.words = predicate["seq"], context_words(told)
    if (priority := told["priority"]) is not None:
        replay.priority = Priority[priority.upper()]


def _commanded(replay: Replay, predicate: Mapping[str, Any]) -> None:
    command: str = predicate["command"]
    if command in (_HOLD, _LIFT):
        replay.retained = command == _HOLD
    elif command.startswith(_PRIORITISE):
        replay.priority = Priority[command.removeprefix(_PRIORITISE).upper()]
    elif command == _EXPORT:
        return
    elif command != _RETRY:
        replay.complaints.append(f"nobody can order {command!r}")
    elif replay.standing is not Standing.HELD:
        replay.standing, replay.reason = Standing.HELD, None
        replay.strength = replay.destination = replay.note = None


_ACTS: Final[Mapping[str, Callable[[Replay, Mapping[str, Any]], None]]] = {
    Event.HELD: _held,
    Event.OFFERED_AGAIN: _offered_again,
    Event.RECEIPTED: _receipted,
    Event.COPIED: _checked,
    Event.REFUSED: _refused,
    Event.QUARANTINED: _quarantined,
    Event.CHANGED_AFTER_SEEN: _changed,
    Event.RELEASE_INTENDED: _intended,
    Event.RELEASED: _released,
    Event.RELEASE_REFUSED: _release_refused,
    Event.PURGED: _purged,
    Event.FIXITY_CHECKED: _checked,
    Event.RECEIPT_DATED: _checked,
    Event.FOUND: _found,
    Event.CONTEXT: _context,
    Event.OPERATOR_COMMAND: _commanded,
}
