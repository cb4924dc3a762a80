"""Which captures the DEMS has to be told of, and when again. Derived from the journal; nothing here is an entry.

A capture comes in when it was held, and goes out when it no longer stands held: a receipt came, or a person must look.
Until then it is told of again after 15 minutes, an hour, six hours, and then daily, for a broker may lose what it took.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent.capture import Priority
from agent.journal.rows import COLUMNS, holding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.capture import Holding
    from agent.journal import Journal

__all__ = [
    "AGAIN",
    "Due",
    "Page",
    "answered",
    "change_answer",
    "collect",
    "keep_answer",
    "last_told",
    "lost",
    "next_birth",
    "told",
    "waiting",
]

AGAIN: Final = (900, 3600, 6 * 3600, 86400)
"""Seconds until a capture is told of again, after the first, second, third, and every later time."""

_TABLE_OF: Final = ", ".join(f"c.{name.strip()}" for name in COLUMNS.split(","))


@dataclass(frozen=True, slots=True)
class Due:
    """A capture that is to be announced now."""

    row: int
    times: int
    """How often it was announced before."""
    holding: Holding
    claims: dict[str, Any] | None
    """What its device said of it; only of a hit."""

    @property
    def urgent(self) -> bool:
        """Whether it waits for no pace."""
        return self.holding.priority <= Priority.HIT

    @property
    def hit(self) -> bool:
        """Whether it goes to the topic `hit`."""
        return self.holding.priority is Priority.HIT


@dataclass(frozen=True, slots=True)
class Page:
    """What is to be announced now, the most urgent first, and when there is something again."""

    due: tuple[Due, ...]
    next_at: int | None
    """Microseconds since 1970; None where nothing waits."""


def collect(journal: Journal, now: int, limit: int) -> Page:
    """Take in what was held since the last look, let go what no longer stands held, and give the next ones."""
    db = journal.connection
    through = int(db.execute("SELECT value FROM meta WHERE name = 'mqtt.through'").get or 0)
    newest: int = db.execute("SELECT coalesce(max(row), 0) FROM capture").get
    if newest > through:
        db.execute(
            "INSERT OR IGNORE INTO outbox SELECT row, priority, held_seq, 0, 0, 0 FROM capture"
            " WHERE row > ? AND standing = 1 AND drill = 0",
            (through,),
        )
        db.execute("INSERT OR REPLACE INTO meta VALUES ('mqtt.through', ?)", (str(newest),))
    found: list[Due] = []
    while len(found) < limit:
        rows = _next(journal, now, limit - len(found), [one.row for one in found])
        if not rows:
            break
        gone = [(row,) for row, _, standing, *_ in rows if standing != 1]
        db.executemany("DELETE FROM outbox WHERE capture = ?", gone)
        found += [_due(journal, row, times, columns) for row, times, standing, *columns in rows if standing == 1]
    next_at = None if found else db.execute("SELECT min(due) FROM outbox").get
    return Page(tuple(found), next_at)


def _next(journal: Journal, now: int, limit: int, skip: Sequence[int]) -> list[tuple[Any, ...]]:
    """What was never announced comes before what is announced again, and each by class and age."""
    select = f"SELECT o.capture, o.times, c.standing, {_TABLE_OF} FROM outbox o"  # noqa: S608 - our names
    join = "JOIN capture c ON c.row = o.capture"
    apart = f"o.capture NOT IN ({', '.join('?' * len(skip))})"
    first = journal.connection.execute(
        # By itself SQLite would take the other index, and sort all that is due for each page.
        f"{select} INDEXED BY outbox_now {join} WHERE o.due = 0 AND {apart} ORDER BY o.priority, o.held_seq LIMIT ?",
        (*skip, limit),
    ).fetchall()
    if len(first) == limit:
        return first
    later = journal.connection.execute(
        f"{select} {join} WHERE o.due > 0 AND o.due <= ? AND {apart} ORDER BY o.due LIMIT ?",
        (now, *skip, limit - len(first)),
    ).fetchall()
    return [*first, *later]


def _due(journal: Journal, row: int, times: int, columns: Sequence[Any]) -> Due:
    found = holding(tuple(columns), journal.log)
    claims = None
    if found.priority is Priority.HIT:
        leaf: bytes = journal.connection.execute("SELECT leaf FROM entry WHERE seq = ?", (found.index,)).get
        claims = json.loads(leaf)["predicate"]["capture"]["claims"]
    return Due(row, times, found, claims)


def told(journal: Journal, row: int, now: int, *, after: int | None = None) -> None:
    """A broker took it. `after`: it did not, and is asked again after so many seconds."""
    times: int = journal.connection.execute("SELECT times FROM outbox WHERE capture = ?", (row,)).get or 0
    wait = AGAIN[min(times, len(AGAIN) - 1)] if after is None else after
    journal.connection.execute(
        "UPDATE outbox SET times = times + ?, told = ?, due = ? WHERE capture = ?",
        (int(after is None), now, now + wait * 1_000_000, row),
    )


def lost(journal: Journal, since: int) -> None:
    """What was told since then may have been lost with the broker: it is due now. 0: everything is."""
    journal.connection.execute("UPDATE outbox SET due = 0 WHERE due > 0 AND told >= ?", (since,))


def last_told(journal: Journal) -> int:
    """When anything that still waits was announced last, in microseconds since 1970; 0: never."""
    newest: int = journal.connection.execute("SELECT coalesce(max(told), 0) FROM outbox").get
    return newest


def waiting(journal: Journal) -> int:
    """How many captures are announced and have no receipt yet, or wait to be announced."""
    count: int = journal.connection.execute("SELECT count(*) FROM outbox").get
    return count


def next_birth(journal: Journal) -> int:
    """The number of the next connection: durable before it is used, and never used twice."""
    number = int(journal.connection.execute("SELECT value FROM meta WHERE name = 'mqtt.bd'").get or 0) + 1
    journal.connection.execute("INSERT OR REPLACE INTO meta VALUES ('mqtt.bd', ?)", (str(number),))
    return number


def answered(journal: Journal, id_: str) -> tuple[bytes, str] | None:
    """(SHA-256 of the note, our answer) of a command that was obeyed or refused before."""
    found = journal.connection.execute("SELECT sha256, answer FROM command WHERE id = ?", (id_,)).fetchone()
    return None if found is None else (found[0], found[1])


def keep_answer(journal: Journal, id_: str, sha256: bytes, answer: str) -> None:
    """Remember a command for ever: a clock that is set back must not let it in again."""
    journal.connection.execute("INSERT INTO command VALUES (?, ?, ?)", (id_, sha256, answer))


def change_answer(journal: Journal, id_: str, answer: str) -> None:
    """What a command was answered, once it is known what became of it: whoever sends it again is told the same."""
    journal.connection.execute("UPDATE command SET answer = ? WHERE id = ?", (answer, id_))
