"""What belongs to each capture: the entry that tells its context now, and which captures must be looked at again.

A context is a function of what the journal holds. It is worked out again whenever something that touches it was told,
and becomes an entry where it says something else than before: nothing is ever edited.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any, Final

from agent.capture import Priority
from agent.context import folded
from agent.journal.entry import Event
from agent.journal.rows import micros, text_id
from agent.journal.spans import SIZES, predicate_at
from agent.journal.words import context_words, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.capture import Holding, Json
    from agent.journal.book import Journal

__all__ = [
    "called",
    "class_of",
    "current",
    "devices",
    "due",
    "due_in",
    "held_of",
    "join",
    "names_of",
    "said_at",
    "settled",
    "told",
    "unsettle",
    "untold",
]

_FOREVER: Final = (1 << 62) - 1
_MICROSECOND: Final = timedelta(microseconds=1)


# -- what has to be looked at ------------------------------------------------------------------------------------------


def devices(journal: Journal) -> list[str]:
    """Every device of which captures are known, by id."""
    return [device for (device,) in journal.connection.execute("SELECT DISTINCT device FROM alias")]


def called(journal: Journal, name: str) -> list[str]:
    """Devices of this id or serial number, in any case of letters."""
    rows = journal.connection.execute("SELECT device FROM alias WHERE name = ?", (folded(name),))
    return [device for (device,) in rows]


def names_of(journal: Journal, device: str) -> list[str]:
    """By what a device of this id may be called, folded: its id, and its serial number."""
    rows = journal.connection.execute("SELECT name FROM alias WHERE device = ?", (device,))
    return [name for (name,) in rows]


def unsettle(
    journal: Journal, names: Iterable[str], since: datetime, until: datetime | None, *, after: timedelta = timedelta(0)
) -> int:
    """Captures of these devices in this interval are looked at again; how many. In a transaction."""
    first, last = micros(since), _FOREVER if until is None else micros(until)
    due_at, count = micros(journal.now() + after), 0
    for device in names:
        journal.connection.execute(
            f"INSERT INTO unsettled SELECT s.capture, ?4 FROM {SIZES} CROSS JOIN span s"  # noqa: S608 - our names
            " WHERE s.device = ?1 AND s.bits = size.bits AND s.began BETWEEN ?2 - size.reach AND ?3 AND s.ended >= ?2"
            " ON CONFLICT (capture) DO UPDATE SET due = min(due, excluded.due)",
            (device, first, last, due_at),
        )
        count += journal.connection.changes()
    return count


def due(journal: Journal, limit: int) -> list[int]:
    """Rows of captures that are to be looked at now, the longest waiting first."""
    rows = journal.connection.execute(
        "SELECT capture FROM unsettled WHERE due <= ? ORDER BY due LIMIT ?", (micros(journal.now()), limit)
    )
    return [row for (row,) in rows]


def due_in(journal: Journal) -> float:
    """Seconds until one is to be looked at; infinite where none waits, and below zero where it is late."""
    first: int | None = journal.connection.execute("SELECT min(due) FROM unsettled").get
    return inf if first is None else (first - micros(journal.now())) / 1_000_000


def settled(journal: Journal, row: int) -> None:
    """It was looked at."""
    journal.connection.execute("DELETE FROM unsettled WHERE capture = ?", (row,))


# -- what stands -------------------------------------------------------------------------------------------------------


def current(journal: Journal, capture: str) -> dict[str, Any] | None:
    """What the newest entry about its context says of a capture, with `entry`, its leaf; None where there is none."""
    seq = journal.connection.execute("SELECT seq FROM context WHERE capture = ?", (journal.row(capture),)).get
    return None if seq is None else {**predicate_at(journal.connection, seq)["context"], "entry": seq}


def class_of(journal: Journal, capture: str) -> Priority:
    """The class of its entry `held`, or the most urgent one that an entry about its context gave it.

    What a person ordered says when it is sent, and nothing of what it is.
    """
    leaves = journal.connection.execute(
        "SELECT leaf FROM entry WHERE capture = ? AND (seq = ? OR instr(leaf, ?) > 0)",
        (journal.row(capture), journal.get(capture).index, f'"event":"{Event.CONTEXT.value}"'),
    )
    names: list[str] = []
    for (leaf,) in leaves:
        said = json.loads(leaf)["predicate"]
        told = said["context"] if said["event"] == Event.CONTEXT else said["capture"]
        names += filter(None, (told.get("priority"), told.get("class")))
    return min(Priority[name.upper()] for name in names)


def untold(journal: Journal, limit: int) -> list[tuple[int, int]]:
    """(row, leaf) of captures whose context no destination was told yet, in the order of the log."""
    rows = journal.connection.execute(
        "SELECT capture, seq FROM context WHERE seq > coalesce((SELECT CAST(value AS INTEGER) FROM meta"
        " WHERE name = 'context_told'), -1) ORDER BY seq LIMIT ?",
        (limit,),
    )
    return [(row, seq) for row, seq in rows]


def told(journal: Journal, last: int) -> None:
    """Everything up to this leaf was told."""
    journal.connection.execute("INSERT OR REPLACE INTO meta VALUES ('context_told', ?)", (str(last),))


def said_at(journal: Journal, seq: int) -> dict[str, Any]:
    """What an entry about a context says."""
    return predicate_at(journal.connection, seq)


def held_of(journal: Journal, row: int) -> tuple[str, dict[str, Any]] | None:
    """Id and entry `held` of a capture; None of a drill, which has no context."""
    found = journal.connection.execute("SELECT id, held_seq, drill FROM capture WHERE row = ?", (row,)).fetchone()
    if found is None or found[2]:
        return None
    return text_id(found[0]), predicate_at(journal.connection, found[1])


def join(journal: Journal, capture: str, context: Mapping[str, Json], priority: Priority | None) -> Holding:
    """Write what belongs to a capture from now on, and let it be found by it. In a transaction."""
    row = journal.row(capture)
    before = current(journal, capture)
    held = held_of(journal, row)
    detail: dict[str, Json] = {"context": dict(context), "instead_of": None if before is None else before["entry"]}
    seq = journal.leaves.size
    joined = journal.note(capture, Event.CONTEXT, detail, priority=priority)
    journal.connection.execute("INSERT OR REPLACE INTO context VALUES (?, ?)", (row, seq))
    old = set() if before is None else context_words(before)
    new = context_words(context)
    claimed = set() if held is None else words(held[1])
    journal.connection.executemany(
        "DELETE FROM word WHERE kind = ? AND value = ? AND capture = ?",
        [(*word, row) for word in old - new - claimed],
    )
    journal.connection.executemany(
        "INSERT OR IGNORE INTO word VALUES (?, ?, ?)", [(*word, row) for word in new - claimed]
    )
    return joined
