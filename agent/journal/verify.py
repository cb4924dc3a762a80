"""Is the journal what it says: every leaf, the tree over them and the tables that follow from them, step by step.

What this can show is that the file is consistent in itself, every checkpoint that was signed over it included.
Whoever may write the file can make another consistent one; only heads that were kept elsewhere show that.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import apsw

from agent.capture import Origin, Priority, Standing, Strength, canonical, capture_id
from agent.errors import JournalError
from agent.journal import pages
from agent.journal.entry import PREDICATE_TYPE, STATEMENT_TYPE, Event
from agent.journal.heads import Heads
from agent.journal.replay import Replay
from agent.journal.rows import COLUMNS, FLAGS, STANDINGS, holding, micros, raw_id
from agent.journal.surroundings import Surroundings
from agent.journal.words import context_words, words
from agent.merkle import HASH_LENGTH, TILE_WIDTH, Frontier, leaf_hash, subtree_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.capture import Holding
    from agent.journal.book import Journal

__all__ = ["PROBLEMS_MAX", "Report", "Verification"]

PROBLEMS_MAX: Final = 100
"""Problems that are told one by one; the others are counted."""

_LEAVES: Final = 256
_CAPTURES: Final = 64
_EVENTS: Final = frozenset(Event)
_MILLISECOND: Final = 1000
"""Microseconds: an entry tells no less of the time that the table notes beside it."""
_NO_ENTRY: Final = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError)
"""What reading something of another shape ends with."""
_UNREADABLE: Final = (apsw.Error, JournalError, *_NO_ENTRY)
"""What reading a damaged file ends with."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. `ok` where there are no problems."""

    ok: bool
    origin: str
    size: int
    root: str
    captures: int
    problems: list[str]
    more: int
    """Problems beyond those that are told."""

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Verification:
    """One look through the whole journal. Call `step` until `done`; entries that come meanwhile are not looked at."""

    def __init__(self, journal: Journal) -> None:
        self._origin, self._size, self._root = journal.log, journal.leaves.size, journal.leaves.root()
        rows: int = journal.connection.execute("SELECT coalesce(max(row), 0) FROM capture").get
        self._rows = rows
        self.total = self._size + rows
        """Steps of work, roughly: leaves and captures."""
        self.seen = 0
        self.done = False
        self._work = self._all()
        self._journal = journal
        self._heads = Heads(journal, self._size)
        self._frontier = Frontier()
        self._tails: list[bytearray] = [bytearray()]
        self._told = 0
        self._explained = 0
        self._captures = self._words = 0
        self._looks: list[tuple[int, int]] = []
        """The last row of each look at some captures, and how many entries there were then."""
        self._surroundings = Surroundings(self._size)
        self._problems: list[str] = []
        self._more = 0

    def step(self, journal: Journal) -> None:
        """Look at the next few, in some milliseconds."""
        self._journal = journal
        try:
            self.done = next(self._work, True)
        except _UNREADABLE as error:
            self._say(
                "file", f"cannot be read any further ({type(error).__name__}: {error}); the rest was not looked at"
            )
            self.done = True

    def report(self) -> Report:
        """What was found so far."""
        return Report(
            ok=not self._problems,
            origin=self._origin,
            size=self._size,
            root=self._root.hex(),
            captures=self._captures,
            problems=list(self._problems),
            more=self._more,
        )

    def _all(self) -> Iterator[bool]:
        yield from self._file()
        for first in range(0, self._size, _LEAVES):
            self._some_leaves(first, min(self._size, first + _LEAVES))
            yield False
        if self._frontier.size != self._size or self._frontier.root() != self._root:
            self._say("log", "the root over the leaves is not the one that the journal gives")
        self._heads.end(self._journal, self._say)
        row = 0
        while (row := self._some_captures(row)) != 0:
            yield False
        if self._told != self._explained:
            self._say("captures", f"{self._told} entries speak of captures, and {self._explained} belong to one")
        if self._count("word WHERE capture <= ?", self._rows) != self._words + self._words_told_since():
            self._say("words", "captures are found by words that no entry tells")
        if self._count("intended WHERE capture NOT IN (SELECT row FROM capture)"):
            self._say("releases", "some are said to be begun, of captures that there are not")
        self._surroundings.end(self._journal, self._say)
        self._tally()

    def _file(self) -> Iterator[bool]:
        connection = self._journal.connection
        for problem in pages.schema_problems(connection):
            self._say("file", problem)
        for table in pages.tables(connection):
            for problem in pages.table_problems(connection, table):
                self._say(f"file, table {table}", problem)
            yield False

    def _count(self, what: str, *values: int | str) -> int:
        found: int = self._journal.connection.execute(f"SELECT count(*) FROM {what}", values).get  # noqa: S608 - ours
        return found

    def _say(self, place: str, message: str) -> None:
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(f"{place}: {message}")
        else:
            self._more += 1

    # -- leaves -------------------------------------------------------------------------------------------------------

    def _some_leaves(self, first: int, end: int) -> None:
        rows = self._journal.connection.execute(
            "SELECT seq, capture, leaf FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq", (first, end)
        )
        hashes = dict(
            self._journal.connection.execute("SELECT seq, hash FROM tail WHERE seq >= ? AND seq < ?", (first, end))
        )
        heads = self._heads.between(self._journal, first, end, self._say)
        expected = first
        for seq, capture, leaf in rows:
            if seq != expected:
                self._say(f"entry {expected}", "is missing")
            expected = seq + 1
            self._one_leaf(seq, capture, leaf)
            self._grow(hashed := leaf_hash(leaf))
            if hashes.get(seq, hashed) != hashed:
                self._say(f"entry {seq}", "is not what was hashed when it was written")
            if seq + 1 in heads and heads[seq + 1] != self._frontier.root():
                self._say(f"checkpoint over {seq + 1} entries", "was signed with another root than these entries have")
            self.seen += 1
        if expected != end:
            self._say(f"entry {expected}", "is missing")

    def _one_leaf(self, seq: int, capture: int | None, leaf: bytes) -> None:
        place = f"entry {seq}"
        try:
            parsed = json.loads(leaf)
            if canonical(parsed) != leaf:
                self._say(place, "is not canonical JSON")
            predicate, (subject,) = parsed["predicate"], parsed["subject"]
            name, digest = subject["name"], subject["digest"]["sha256"]
            if parsed["_type"] != STATEMENT_TYPE or parsed["predicateType"] != PREDICATE_TYPE:
                self._say(place, "is a statement of another kind")
            if predicate["seq"] != seq:
                self._say(place, f"says that it is entry {predicate['seq']}")
            self._surroundings.read(self._journal, seq, predicate, self._say)
            self._heads.read(self._journal, seq, predicate, self._say)
            if predicate["event"] not in _EVENTS:
                self._say(place, f"tells of {predicate['event']!r}, which nobody knows")
            # An entry about the log itself names the root before it: the one place where the past is nailed down.
            if name == self._origin and digest != self._frontier.root().hex():
                self._say(place, "names another root than that of the entries before it")
            row = None
            if name != self._origin and not name.startswith("part:"):
                row = self._journal.connection.execute("SELECT row FROM capture WHERE id = ?", (raw_id(name),)).get
                self._told += 1
            if row != capture:
                self._say(place, f"speaks of {name}, and belongs to {'no' if capture is None else 'another'} capture")
        except _NO_ENTRY as error:
            self._say(place, f"is not an entry ({type(error).__name__}: {error})")

    def _grow(self, hashed: bytes) -> None:
        """Add a leaf to the tree, and compare each tile that is complete with the stored one."""
        self._frontier.append(hashed)
        level, position = 0, self._frontier.size - 1
        while True:
            if level == len(self._tails):
                self._tails.append(bytearray())
            tail = self._tails[level]
            tail += hashed
            if len(tail) < TILE_WIDTH * HASH_LENGTH:
                return
            index = position // TILE_WIDTH
            try:
                same = self._journal.leaves.tile(level, index, TILE_WIDTH) == tail
            except JournalError:
                same = False
            if not same:
                self._say(f"tile {index} of level {level}", "is not that of the leaves: one of 256 entries was changed")
            hashed, level, position = subtree_root(bytes(tail)), level + 1, index
            tail.clear()

    # -- captures -----------------------------------------------------------------------------------------------------

    def _some_captures(self, after: int) -> int:
        """Compare the next few captures with their entries; the row to go on after, or 0."""
        rows = self._journal.connection.execute(
            f"SELECT row, superseded, origin, {COLUMNS} FROM capture"  # noqa: S608
            " WHERE row > ? AND row <= ? ORDER BY row LIMIT ?",
            (after, self._rows, _CAPTURES),
        ).fetchall()
        last = 0
        for row, superseded, token, *columns in rows:
            try:
                known = holding(columns, self._origin)
                self._one_capture(row, known, token, superseded=bool(superseded))  # type: ignore[arg-type]
                flags = (superseded, *(columns[number] for number in FLAGS))
                if any(flag not in (0, 1) for flag in flags) or columns[3] != known.origin.claims["began_at"]:
                    self._say(f"capture {known.id}", "is not spelled as it is written")
            except _NO_ENTRY as error:
                self._say(f"capture row {row}", f"cannot be read ({type(error).__name__}: {error})")
            last = int(str(row))
            self._captures += 1
            self.seen += 1
        if last:
            self._looks.append((last, self._journal.leaves.size))
        return last

    def _one_capture(self, row: int, known: Holding, token: bytes, *, superseded: bool) -> None:
        place = f"capture {known.id}"
        replay, claimed, times = Replay(), set[tuple[str, str]](), list[int]()
        found = self._journal.connection.execute("SELECT seq, leaf FROM entry WHERE capture = ? ORDER BY seq", (row,))
        for number, (seq, leaf) in enumerate(found):
            if seq < self._size:
                self._explained += 1
            parsed = json.loads(leaf)
            (subject,) = parsed["subject"]
            if subject != {"digest": _digests(known), "name": known.id}:
                self._say(place, f"entry {seq} speaks of something else")
            if number == 0:
                self._beginning(place, known, seq, parsed["predicate"])
                claimed = words(parsed["predicate"])
            replay.read(parsed["predicate"])
            times.append(micros(datetime.fromisoformat(parsed["predicate"]["recorded_at"])))
        self._found_by(place, row, claimed | replay.words)
        self._stands_now(place, row, replay)
        self._at(place, known, times)
        for complaint in replay.complaints:
            self._say(place, complaint)
        if token != known.origin.token or known.id != capture_id(known.origin, known.digest.sha256):
            self._say(place, "has not the id of its origin and digest")
        for name, told, kept in _pairs(replay, known):
            if told != kept:
                self._say(place, f"stands with {name} {kept}, and its entries say {told}")
        if superseded and not replay.superseded:
            self._say(place, "stands superseded, and its entries do not say so")

    def _at(self, place: str, known: Holding, times: list[int]) -> None:
        for name, at in (("held", known.held_at), ("changed", known.changed_at), ("receipted", known.receipted_at)):
            if at is not None and not any(0 <= micros(at) - other < _MILLISECOND for other in times):
                self._say(place, f"was {name} at {at.isoformat()}, and no entry of it is of that time")

    def _found_by(self, place: str, row: int, named: set[tuple[str, str]]) -> None:
        for kind, value in named:
            self._words += 1
            if not self._count("word WHERE kind = ? AND value = ? AND capture = ?", kind, value, row):
                self._say(place, f"cannot be found by the {kind} that its entries name")

    def _words_told_since(self) -> int:
        """By how many words more (or fewer) captures are found than when each was looked at: others write meanwhile."""
        if not self._looks:
            return 0
        rows: list[tuple[Any, ...]] = self._journal.connection.execute(
            "SELECT DISTINCT capture FROM entry WHERE seq >= ? AND capture <= ? AND instr(leaf, ?) > 0",
            (self._looks[0][1], self._rows, f'"event":"{Event.CONTEXT}"'.encode()),
        ).fetchall()
        more = 0
        for (row,) in rows:
            _, seen = self._looks[bisect_left(self._looks, (row, 0))]
            now, then = (self._words_of(row, below) for below in (self._journal.leaves.size, seen))
            more += len(now) - len(then)
        return more

    def _words_of(self, row: int, below: int) -> set[tuple[str, str]]:
        """By which words a capture is found when there are so many entries."""
        sql = "SELECT leaf FROM entry WHERE capture = ? AND seq < ? ORDER BY seq"
        held, *later = (
            json.loads(leaf)["predicate"] for (leaf,) in self._journal.connection.execute(sql, (row, below))
        )
        contexts = [said["context"] for said in later if said["event"] == Event.CONTEXT]
        return words(held) | (context_words(contexts[-1]) if contexts else set())

    def _stands_now(self, place: str, row: int, replay: Replay) -> None:
        found = self._journal.connection.execute("SELECT seq FROM context WHERE capture = ?", (row,)).get
        if found != replay.context:
            self._say(place, f"has its context from entry {found}, and its entries say {replay.context}")
        begun = self._journal.connection.execute("SELECT seq FROM intended WHERE capture = ?", (row,)).get
        if begun != replay.intended:
            told = f"its entries say that entry {replay.intended} did" if replay.intended is not None else "none did"
            self._say(place, f"has its release begun by entry {begun}, and {told}")

    def _beginning(self, place: str, known: Holding, seq: int, predicate: dict[str, Any]) -> None:
        said, device = predicate["capture"], predicate["device"]
        origin = Origin(device["id"], said["key"], known.origin.began_at)
        parts = known.parts.sha256 + known.parts.through
        same = {
            "place in the log": seq == known.index,
            "origin": origin == known.origin and said["began_at"] == known.origin.claims["began_at"],
            "length": said["length"] == known.digest.length,
            "kind": (
                said["media_type"],
                said["group"],
                said.get("clip"),
                said.get("members"),
                said["volatile"],
                said.get("forgets"),
            )
            == (known.media_type, known.group, known.clip, known.members, known.volatile, known.forgets),
            "digests of parts": predicate.get("parts", {}).get("list_sha256")
            == (sha256(parts).hexdigest() if parts else None),
        }
        for name, right in same.items():
            if not right:
                self._say(place, f"has another {name} than its first entry says")

    def _tally(self) -> None:
        counted = dict.fromkeys(STANDINGS, (0, 0))
        stored = dict(counted)
        connection = self._journal.connection
        for code, number, length in connection.execute(
            "SELECT standing, count(*), sum(length) FROM capture WHERE drill = 0 GROUP BY standing"
        ):
            counted[STANDINGS[code]] = (number, length)
        for code, number, length in connection.execute("SELECT standing, captures, bytes FROM tally"):
            stored[STANDINGS[code]] = (number, length)
        for standing in STANDINGS:
            if counted[standing] != stored[standing]:
                self._say("tally", f"{standing}: {stored[standing]} is stored, {counted[standing]} is true")


def _digests(known: Holding) -> dict[str, str]:
    return {"blake3": known.digest.blake3.hex(), "sha256": known.digest.sha256.hex()}


_Pair = tuple[
    str, Standing | Priority | Strength | bool | str | None, Standing | Priority | Strength | bool | str | None
]


def _pairs(replay: Replay, known: Holding) -> Iterator[_Pair]:
    """(name, as the entries say, as the table says)."""
    receipt = known.receipt
    yield "standing", replay.standing, known.standing
    yield "priority", replay.priority, known.priority
    yield "spooled", replay.spooled, known.spooled
    yield "order to keep", replay.retained, known.retained
    yield "receipt", replay.strength, None if receipt is None else receipt.strength
    yield "destination", replay.destination, None if receipt is None else receipt.destination
    if replay.note is not None:
        stored = b"" if receipt is None or receipt.note is None else receipt.note
        yield "a receipt of SHA-256", replay.note, sha256(stored).hexdigest()
    yield "reason", replay.reason, known.reason
