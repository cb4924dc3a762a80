"""A notebook of `enote/1`: which entries follow one another, what each does to its note, and what that makes of it.

    chain    an entry is linked where its `seq` follows the head and its `prev` names it; else it waits (`chain_gap`),
             or another one has its place (`fork`; `twin` where only the signature differs). Nothing is merged.
    note     `open` until it is final or void; a correction must turn the text that there is into the text that it says

What comes out depends on the entries that there are, and for forks alone on which of them came first. So entries may
come in any order, doubled, and late, and the end is the same once all of them are there.

`append` puts its text right behind the text that there is, with nothing in between: what separates them is the
author's. An entry with `bad_ops` leaves the head where it is; one that is `out_of_order` is linked, for only its
meaning is refused, and not its place.

Whatever is sent, a notebook takes a bounded room in memory: so much text in open notes, and so many entries. Those that
wait are known by their digests alone where whoever keeps them can give them again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from firmware_specs.formats.enote import Status, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["CLOCK_SLACK", "ENTRIES_MAX", "OPEN_MAX", "Item", "Note", "Notebook", "clock_flags", "struck"]

CLOCK_SLACK: Final = timedelta(minutes=2)
"""How far two clocks may differ before that is worth a word."""
OPEN_MAX: Final = 1 << 24
"""Code points of text that the open notes of a notebook have together: an act that brings more is `out_of_order`."""
ENTRIES_MAX: Final = 50_000
"""Entries of a notebook, forks and what waits included: what comes after them is `out_of_order`, with a flag."""
_ALLOWED: Final = {"attach": ("open", "final"), "supplement": ("final",), "review": ("final",)}
"""In which states of a note an act may come; all others where it is open."""


@dataclass(slots=True)
class Item:
    """An entry whose signature is good, that is canonical and keeps the rules: what the chain is made of."""

    number: int
    """In which order they arrived."""
    digest: bytes
    """Of its envelope."""
    payload: bytes
    """SHA-256 of its payload: twins have the same."""
    entry: dict[str, Any] | None
    """None: nobody needs it now, and `Notebook` can ask for it."""
    status: Status = Status.CHAIN_GAP
    flags: tuple[str, ...] = ()
    seq: int = field(init=False)
    """Its page number."""
    prev: bytes | None = field(init=False)
    """The digest that it names as the one before; None for the first."""

    def __post_init__(self) -> None:
        """Keep where it belongs: that is asked for also while the entry is not here."""
        said = self.entry or {}
        named = said.get("prev")
        self.seq = int(said["seq"])
        self.prev = None if named is None else bytes.fromhex(named.removeprefix("sha-256:"))


@dataclass(slots=True)
class Note:
    """One note, after the acts that were linked so far."""

    state: str = "open"
    revs: int = 0
    text_rev: int = 0
    """The act that made the text what it is."""
    text: str = ""
    """As it stands while it is open; empty afterwards, for nothing can change it any more."""
    final_rev: int | None = None


class Notebook:
    """The chain of one notebook, entry after entry. What ever stood in its notes tells `enote_pieces`.

    `entry_of`: gives what an entry says again, so that entries which are linked, or wait, are not kept in memory.
    """

    def __init__(self, *, late_after: timedelta, entry_of: Callable[[Item], dict[str, Any]] | None = None) -> None:
        self._late_after = late_after
        self.entry_of = entry_of
        self.head = 0
        """`seq` of the last entry that is linked."""
        self.linked: list[tuple[bytes, bytes]] = []
        """(digest of the envelope that the chain knows, digest of its payload) for each `seq` from 1 on."""
        self._twins: dict[int, set[bytes]] = {}
        self._digests: set[bytes] = set()
        self._waiting: dict[int, dict[bytes | None, dict[int, Item]]] = {}
        """What is not linked: by `seq`, by what it names as the one before, and by its number."""
        self._first: dict[int, Item] = {}
        """Which came first of those that wait for a `seq`."""
        self._bad_ops: set[int] = set()
        """Numbers of pages of which one was tried, and its ops were bad."""
        self.notes: dict[str, Note] = {}
        self.open_text = 0
        """Code points of text in notes that are open."""
        self._last: dict[str, Any] | None = None

    @property
    def head_digest(self) -> bytes | None:
        """Of the envelope at the head; None for an empty chain."""
        return self.linked[-1][0] if self.linked else None

    @property
    def entries(self) -> int:
        """How many there are, linked or not."""
        return len(self._digests)

    @property
    def missing(self) -> Iterator[tuple[int, int]]:
        """Gaps: (first, last) `seq` of entries that are not here although later ones are."""
        first = self.head + 1
        for seq in sorted(seq for seq in self._waiting.keys() | self._bad_ops if seq > self.head):
            if seq > first:
                yield first, seq - 1
            first = seq + 1

    def add(self, item: Item) -> list[Item]:
        """Put an entry where it belongs. Returns the others whose status is another one now."""
        if item.digest in self._digests:
            item.status = Status.DUPLICATE
            return []
        if self.entries >= ENTRIES_MAX:
            item.status, item.flags = Status.OUT_OF_ORDER, (*item.flags, "notebook_full")
            self._forget(item)
            return []
        self._digests.add(item.digest)
        item.status = self._unlinked(item)
        found = [item]
        if item.seq > self.head:
            self._waiting.setdefault(item.seq, {}).setdefault(item.prev, {})[item.number] = item
        elif item.seq == self.head and item.status is Status.TWIN:
            found = self._candidates((item.digest,))  # some may name this one, and not the one that is linked
        changed: dict[int, tuple[Item, Status]] = {}
        while (next_ := self._next(found, changed)) is not None:
            self._link(next_, changed)
            found = self._candidates((next_.digest, *self._twins.get(self.head, ())))
        self._forget(item)
        return [one for one, was in changed.values() if one.status is not was and one is not item]

    # -- chain ---------------------------------------------------------------------------------------------------------

    def _candidates(self, before: Iterable[bytes]) -> list[Item]:
        """Those that wait for the place after the head and name one of these, as they came."""
        waiting = self._waiting.get(self.head + 1, {})
        found = (one for digest in before for one in waiting.get(digest, {}).values())
        return sorted(found, key=lambda one: one.number)

    def _next(self, candidates: Iterable[Item], changed: dict[int, tuple[Item, Status]]) -> Item | None:
        """What follows the head. What would, and whose ops are bad, is tried once and is no candidate any more."""
        for item in candidates:
            if item.seq == self.head + 1 and self._follows(item):
                changed.setdefault(id(item), (item, item.status))
                if self._act(item) is not Status.BAD_OPS:
                    return item
                self._put_aside(item)
        return None

    def _put_aside(self, item: Item) -> None:
        """It waits no longer: its ops are bad."""
        self._bad_ops.add(item.seq)
        self._forget(item)
        waiting = self._waiting[item.seq]
        del waiting[item.prev][item.number]
        if not waiting[item.prev]:
            del waiting[item.prev]
        if self._first.get(item.seq) is item:
            del self._first[item.seq]

    def _link(self, item: Item, changed: dict[int, tuple[Item, Status]]) -> None:
        waited = self._waiting.pop(item.seq)
        self._first.pop(item.seq, None)
        self.head = item.seq
        self.linked.append((item.digest, item.payload))
        self._last = {"recorded_at": self._said(item)["recorded_at"]}
        self._forget(item)
        for other in (one for some in waited.values() for one in some.values() if one is not item):
            changed.setdefault(id(other), (other, other.status))
            other.status = self._unlinked(other)

    def _follows(self, item: Item) -> bool:
        """Whether its `prev` names the head, or a twin of it."""
        return item.seq == 1 or item.prev == self.linked[-1][0] or item.prev in self._twins.get(self.head, ())

    def _unlinked(self, item: Item) -> Status:
        """What an entry is that is not linked: who has its place, or nobody yet."""
        if item.seq <= self.head:
            if self.linked[item.seq - 1][1] == item.payload:
                self._twins.setdefault(item.seq, set()).add(item.digest)
                return Status.TWIN
            return Status.FORK
        if item.seq not in self._first:  # none was there, or its ops were bad
            others = (one for some in self._waiting.get(item.seq, {}).values() for one in some.values())
            self._first[item.seq] = min(others, key=lambda one: one.number, default=item)
        first = self._first[item.seq]
        if first is item:
            return Status.CHAIN_GAP
        return Status.TWIN if first.payload == item.payload else Status.FORK

    def _said(self, item: Item) -> dict[str, Any]:
        """What an entry says, from memory or from whoever keeps it."""
        if item.entry is None and self.entry_of is not None:
            item.entry = self.entry_of(item)
        return item.entry or {}

    def _forget(self, item: Item) -> None:
        if self.entry_of is not None:
            item.entry = None

    # -- notes ---------------------------------------------------------------------------------------------------------

    def _act(self, item: Item) -> Status:
        """Do what an entry that follows does to its note, and say how that went."""
        entry = self._said(item)
        op, note = entry["op"], self.notes.get(entry["note"])
        before = clock_flags(entry, self._last)
        late = _lateness(entry, self._late_after)
        item.flags = (*item.flags, *before, *(("late",) if late or entry.get("late") else ()))
        if (op == "create") != (note is None):
            item.status = Status.OUT_OF_ORDER
            return item.status
        note = note or Note()
        status = self._acted(note, entry)
        if status is None:
            self.notes[entry["note"]] = note
            note.revs += 1
            unexplained = late and not (entry.get("late") and entry.get("reason"))
            status = Status.LATE if unexplained else Status.OK
        item.status = status
        return status

    def _acted(self, note: Note, entry: dict[str, Any]) -> Status | None:
        """Change the note; what is returned is why it was left as it is."""
        op = entry["op"]
        if note.state not in _ALLOWED.get(op, ("open",)) or entry["rev"] != note.revs + 1:
            return Status.OUT_OF_ORDER
        act = {
            "append": self._more,
            "correct": self._correct,
            "create": self._more,
            "finalize": self._finalize,
            "supplement": self._supplement,
        }.get(op)
        if op == "void_page":
            self._close(note, "void")
        return None if act is None else act(note, entry)

    def _more(self, note: Note, entry: dict[str, Any]) -> Status | None:
        if not self._room(len(entry["text"])):
            return Status.OUT_OF_ORDER
        note.text, note.text_rev = note.text + entry["text"], entry["rev"]
        return None

    def _correct(self, note: Note, entry: dict[str, Any]) -> Status | None:
        if entry["supersedes"] != note.text_rev:
            return Status.OUT_OF_ORDER
        if struck(note.text, entry["ops"]) != entry["text"]:
            return Status.BAD_OPS
        if not self._room(len(entry["text"]) - len(note.text)):
            return Status.OUT_OF_ORDER
        note.text, note.text_rev = entry["text"], entry["rev"]
        return None

    def _finalize(self, note: Note, entry: dict[str, Any]) -> Status | None:
        if entry["text_sha256"] != sha256(note.text.encode("utf-8", "surrogatepass")).hexdigest():
            return Status.BAD_OPS
        self._close(note, "final")
        note.final_rev = entry["rev"]
        return None

    def _close(self, note: Note, state: str) -> None:
        note.state = state
        self.open_text -= len(note.text)
        note.text = ""

    def _room(self, more: int) -> bool:
        """Count so much more text in open notes, where there is room: all of it is in memory."""
        if more > 0 and self.open_text + more > OPEN_MAX:
            return False
        self.open_text += more
        return True

    def _supplement(self, note: Note, entry: dict[str, Any]) -> Status | None:
        if entry["supplements"] != note.final_rev:
            return Status.OUT_OF_ORDER
        return None


def struck(text: str, ops: Iterable[dict[str, Any]]) -> str | None:
    """The text after these strikes, from the highest place down; None where one lies outside or over another."""
    end = len(text)
    parts: list[str] = []
    for op in sorted(ops, key=lambda one: one["at"], reverse=True):
        first, last = op["at"]
        if not first <= last <= end:
            return None
        parts += [text[last:end], op["with"]]
        end = first
    parts.append(text[:end])
    return "".join(reversed(parts))


def _lateness(entry: dict[str, Any], after: timedelta) -> bool:
    occurred, recorded = moment(entry["occurred_at"]), moment(entry["recorded_at"])
    return (
        entry["op"] in ("create", "append")
        and occurred is not None
        and recorded is not None
        and recorded - occurred > after
    )


def clock_flags(entry: dict[str, Any], before: dict[str, Any] | None) -> tuple[str, ...]:
    """What the tablet's times contradict, by themselves and beside the entry before."""
    found: list[str] = []
    occurred, recorded = moment(entry["occurred_at"]), moment(entry["recorded_at"])
    if occurred is not None and recorded is not None and occurred > recorded + CLOCK_SLACK:
        found.append("occurred_after_recorded")
    if before is not None and recorded is not None:
        last = moment(before["recorded_at"])
        if last is not None and recorded < last - CLOCK_SLACK:
            found.append("clock_went_back")
    return tuple(found)
