"""Whose turn it is: the next captures to be sent, as a query. Each step is one look into an index of the journal.

Classes go in the order of their urgency; within a class the devices take turns, so that one that brought ten thousand
captures does not keep one with a single capture waiting; and one turn in eight belongs to whatever has waited longest,
once that is too long, so that nothing starves.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from heapq import merge
from typing import TYPE_CHECKING, Any, Final

from agent.journal.rows import COLUMNS, holding, text_id

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from agent.capture import Holding, Priority
    from agent.journal.book import Journal

__all__ = ["AGED_SHARE", "Order", "Turn", "spend", "spent", "turns", "untold"]

AGED_SHARE: Final = 8
"""One turn of so many belongs to what has waited too long."""

_NAMES: Final = COLUMNS.replace(", ", ", c.")
_FIRST: Final = "\x00"
"""Before every device's id: ids are printable."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the order depends on beside the queue itself."""

    classes: tuple[Priority, ...]
    """Those that may go now, the most urgent first."""
    newest_first: frozenset[Priority]
    served: Mapping[Priority, str]
    """The device of each class that had the last turn."""
    aged_before: int
    """Microseconds since 1970: what was held before has waited too long."""
    turn: int
    """How many turns there were."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The next one."""

    holding: Holding
    aged: bool
    """It goes because it has waited too long."""


_Row = tuple[Any, ...]


def turns(journal: Journal, order: Order, *, skip: Container[str], limit: int) -> list[Turn]:
    """The next captures in order, without those to skip."""
    taken: set[bytes] = set()

    def fresh(rows: Iterator[_Row]) -> Iterator[_Row]:
        for row in rows:
            if row[0] not in taken and text_id(row[0]) not in skip:
                taken.add(row[0])
                yield row

    usual = fresh(row for one in order.classes for row in _in_turn(journal, one, order))
    aged = fresh(_longest_waiting(journal, order))
    found: list[Turn] = []
    while len(found) < limit:
        old = next(aged, None) if (order.turn + len(found)) % AGED_SHARE == AGED_SHARE - 1 else None
        row = old or next(usual, None) or next(aged, None)
        if row is None:
            break
        found.append(Turn(holding(row, journal.log), aged=old is not None))
    return found


def _in_turn(journal: Journal, one: Priority, order: Order) -> Iterator[_Row]:
    """One capture of each device, then the next of each, beginning after the device that was served last."""
    waiting: deque[Iterator[_Row]] = deque()
    for device in _devices(journal, one, order.served.get(one, _FIRST)):
        rows = _of_device(journal, one, device, newest=one in order.newest_first)
        if (row := next(rows, None)) is not None:
            yield row
            waiting.append(rows)
    while waiting:
        rows = waiting.popleft()
        if (row := next(rows, None)) is not None:
            yield row
            waiting.append(rows)


def _devices(journal: Journal, one: Priority, last: str) -> Iterator[str]:
    """The devices that have captures of a class in the queue: those after the one given, then from the first on."""
    for begin, end in ((last, None), (_FIRST, last)):
        device = begin
        while True:
            found: _Row | None = journal.connection.execute(
                "SELECT device FROM capture WHERE standing = 1 AND priority = ? AND device > ? ORDER BY device LIMIT 1",
                (int(one), device),
            ).fetchone()
            if found is None or (end is not None and found[0] > end):
                break
            device = found[0]
            yield device


def _of_device(journal: Journal, one: Priority, device: str, *, newest: bool) -> Iterator[_Row]:
    direction = "DESC" if newest else "ASC"
    yield from journal.connection.execute(
        f"SELECT {COLUMNS} FROM capture WHERE standing = 1 AND priority = ? AND device = ?"  # noqa: S608 - ours
        f" ORDER BY held_seq {direction}",
        (int(one), device),
    )


def _longest_waiting(journal: Journal, order: Order) -> Iterator[_Row]:
    """What was held too long ago, the oldest first, of all classes that may go."""
    return merge(*(_aged(journal, one, order.aged_before) for one in order.classes), key=lambda row: row[16])


def _aged(journal: Journal, one: Priority, before: int) -> Iterator[_Row]:
    for row in journal.connection.execute(
        f"SELECT {COLUMNS} FROM capture WHERE standing = 1 AND priority = ? ORDER BY held_seq",  # noqa: S608 - ours
        (int(one),),
    ):
        if row[17] >= before:
            return
        yield row


def untold(
    journal: Journal, destination: str, classes: tuple[Priority, ...], *, after: int, limit: int
) -> list[Holding]:
    """Captures held after a leaf index of which this destination knows nothing yet, in the order of taking."""
    marks = ", ".join(str(int(one)) for one in classes)
    rows = journal.connection.execute(
        f"SELECT c.{_NAMES} FROM capture c INDEXED BY capture_untold"  # noqa: S608 - ours
        f" WHERE c.standing = 1 AND c.held_seq > ? AND c.priority IN ({marks})"
        " AND NOT EXISTS (SELECT 1 FROM upload u WHERE u.capture = c.row AND u.destination = ?)"
        " ORDER BY c.held_seq LIMIT ?",
        (after, destination, limit),
    )
    return [holding(row, journal.log) for row in rows]


# --- budgets ----------------------------------------------------------------------------------------------------------


def spent(journal: Journal, day: str, link: str) -> int:
    """Bytes that went over this class of links on this day."""
    found: int | None = journal.connection.execute(
        "SELECT bytes FROM spent WHERE day = ? AND link = ?", (day, link)
    ).get
    return found or 0


def spend(journal: Journal, day: str, link: str, length: int, most: int | None) -> bool:
    """Count bytes before they go (a negative number gives back what did not go); False where they would be too many."""
    if most is not None and length > 0 and spent(journal, day, link) + length > most:
        return False
    journal.connection.execute(
        "INSERT INTO spent VALUES (?1, ?2, max(0, ?3))"
        " ON CONFLICT (day, link) DO UPDATE SET bytes = max(0, bytes + ?3)",
        (day, link, length),
    )
    return True
