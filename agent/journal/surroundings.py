"""Are the facts and the batches of positions what their entries say: looked at leaf by leaf, and counted at the end."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from agent.journal import batches
from agent.journal.entry import Event
from agent.journal.facts import row_of, said_by
from agent.journal.rows import micros
from agent.journal.spans import bits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.journal.book import Journal

__all__ = ["Surroundings"]


class Surroundings:
    """What the tables of facts and batches must be, as far as the leaves were read."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._facts = self._batches = self._ends = self._replaces = 0

    def read(self, journal: Journal, seq: int, predicate: Mapping[str, Any], say: Callable[[str, str], None]) -> None:
        """Compare what one entry tells with the tables."""
        if predicate["event"] == Event.OBSERVED_MANY:
            self._batches += 1
            for problem in batches.problems(journal, seq, predicate["batch"]):
                say(f"entry {seq}", problem)
        elif predicate["event"] == Event.OBSERVED and "fact" in predicate:
            self._fact(journal, seq, predicate["fact"], say)

    def _fact(self, journal: Journal, seq: int, part: Mapping[str, Any], say: Callable[[str, str], None]) -> None:
        place = f"entry {seq}"
        for name, column in (("ends", "closed"), ("replaces", "replaced")):
            if (other := part[name]) is None:
                continue
            self._ends, self._replaces = self._ends + (name == "ends"), self._replaces + (name == "replaces")
            found = journal.connection.execute(f"SELECT {column} FROM fact WHERE seq = ?", (other,)).get  # noqa: S608
            if found != seq:
                say(place, f"{name} what entry {other} told, and the table does not say so")
        expected = row_of(seq, part)
        if expected is None:
            return
        self._facts += 1
        row = journal.connection.execute(
            "SELECT seq, sort, about, value, name, began, ended, bits, closed FROM fact WHERE seq = ?", (seq,)
        ).fetchone()
        if row is not None and row[8] is not None:
            expected = (*expected[:6], *_closed(journal, expected[5], row[8]))
        if row is None or tuple(row[:8]) != expected:
            say(place, "tells of an interval that the table has otherwise")

    def end(self, journal: Journal, say: Callable[[str, str], None]) -> None:
        """Every leaf was read: nothing stands in the tables that no entry tells."""
        for table, where, told in (
            ("batch", "seq < ?1", self._batches),
            ("fact", "seq < ?1", self._facts),
            ("fact", "closed < ?1", self._ends),
            ("fact", "replaced < ?1", self._replaces),
        ):
            found = journal.connection.execute(f"SELECT count(*) FROM {table} WHERE {where}", (self._size,)).get  # noqa: S608
            if found != told:
                say(
                    "observations",
                    f"the table {table} has {found} rows with {where.split()[0]}, and entries tell {told}",
                )


def _closed(journal: Journal, began: int, closer: int) -> tuple[int, int]:
    """When something ended, by the entry that ended it, and its size then."""
    ended = micros(datetime.fromisoformat(said_by(journal, closer)["fact"]["from"]))
    return ended, bits_of(began, ended)
