"""Whose turn it is: the next captures to be sent, as a query. Each step is one look into an index of the journal.

Classes go in the order of their urgency; within a class the devices take turns, so that one that brought ten thousand
captures does not keep one with a single capture waiting; and one turn in eight belongs to whatever has waited longest,
once that is too long, so that nothing starves. A turn brings a whole recording: its captures follow one another, and
one that was begun is finished before anything else of its class.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from heapq import merge
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from agent.journal.rows import COLUMNS, holding, text_id

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from agent.capture import Holding, Priority
    from agent.journal.book import Journal

__all__ = [
    "AGED_SHARE",
    "Begun",
    "Order",
    "Turn",
    "begun_last",
    "begun_of",
    "going_on",
    "turns",
    "unfinished",
    "untold",
]

AGED_SHARE: Final = 8
"""One turn of so many belongs to what has waited too long."""

_NAMES: Final = "c." + COLUMNS.replace(", ", ", c.")
_DEVICE: Final = 1
_GROUP: Final = 10
_MEMBERS: Final = COLUMNS.split(", ").index("members")
"""Places of these in a row of COLUMNS."""
_LAST: Final = 64
"""Captures that were receipted last, of which a restart looks whether their recordings are finished."""
_FIRST: Final = "\x00"
"""Before every device's id: ids are printable."""

_Row = tuple[Any, ...]

Begun = tuple[int, str, str]
"""(priority, device, recording) of which something was sent or is on its way."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the order depends on beside the queue itself."""

    classes: tuple[Priority, ...]
    """Those that may go now, the most urgent first."""
    newest_first: frozenset[Priority] = frozenset()
    served: Mapping[Priority, str] | None = None
    """The device of each class that had the last turn."""
    aged_before: int = 0
    """Microseconds since 1970: what was held before has waited too long."""
    turn: int = 0
    """How many turns there were."""
    begun: tuple[Begun, ...] = ()
    """Recordings that go on, in the order in which they were begun."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The next one."""

    holding: Holding
    aged: bool = False
    """It goes because it has waited too long."""
    owed: bool = False
    """It is no longer in the queue, and this destination has to get it all the same."""


@dataclass(frozen=True, slots=True)
class _Queue:
    """What stands held; or what one destination is owed beside that."""

    journal: Journal
    destination: str | None = None

    def rows(self, columns: str, rest: str, *values: int | str) -> Iterator[_Row]:
        """Columns of `q`, where it waits, and of `c`, the capture; as far as they are asked for."""
        if self.destination is None:
            tables = "capture q JOIN capture c ON c.row = q.row WHERE q.standing = 1"
            if "c." not in columns:
                tables = "capture q WHERE q.standing = 1"
        else:
            tables = "owed q JOIN capture c ON c.row = q.capture WHERE q.destination = ?"
        first = () if self.destination is None else (self.destination,)
        # Every word of it is ours.
        yield from self.journal.connection.execute(f"SELECT {columns} FROM {tables} AND {rest}", (*first, *values))  # noqa: S608

    def mates(self, columns: str, begun: Begun) -> Iterator[_Row]:
        """Those of one recording and class, in its own order."""
        priority, device, group = begun
        which = "c.device = ? AND c.grouping = ? AND c.priority = ?"
        if self.destination is None:
            sql = f"SELECT {columns} FROM capture c INDEXED BY capture_mates WHERE c.standing = 1 AND {which}"  # noqa: S608 - ours
            values: tuple[int | str, ...] = (device, group, priority)
        else:
            # From the recording to what is owed, and not along all that is owed: CROSS keeps this order of tables.
            tables = "capture c INDEXED BY capture_grouping CROSS JOIN owed q ON q.capture = c.row"
            sql = f"SELECT {columns} FROM {tables} WHERE q.destination = ? AND {which}"  # noqa: S608 - ours
            values = (self.destination, device, group, priority)
        yield from self.journal.connection.execute(f"{sql} ORDER BY c.clip, c.held_seq", values)


def begun_of(holding: Holding) -> Begun | None:
    """The recording that is begun when this one goes, also where it is all of it as yet; None where it is of none."""
    return None if holding.group is None else (int(holding.priority), holding.origin.device, holding.group)


def unfinished(journal: Journal, begun: Iterable[Begun]) -> list[Begun]:
    """Those recordings of which something still stands in the queue."""
    queue = _Queue(journal)
    return [one for one in begun if next(queue.mates("1", one), None) is not None]


def going_on(
    journal: Journal, begun: Iterable[Begun], skip: Container[str]
) -> tuple[tuple[Begun, ...], tuple[Begun, ...]]:
    """The same, and those of them of which something stands there that is not to be skipped: one look at each."""
    queue, left, free = _Queue(journal), list[Begun](), list[Begun]()
    for one in begun:
        names = [text_id(row[0]) for row in queue.mates("c.id", one)]
        if names:
            left.append(one)
        if any(name not in skip for name in names):
            free.append(one)
    return tuple(left), tuple(free)


def begun_last(journal: Journal) -> list[Begun]:
    """After a restart: recordings of which a capture was receipted last, and another still stands in the queue."""
    last = "SELECT priority, device, grouping FROM capture WHERE spooled = 1 AND standing IN (2, 3)"
    rows = journal.connection.execute(f"{last} ORDER BY receipted_at DESC LIMIT {_LAST}")
    return unfinished(journal, dict.fromkeys(row for row in rows if row[2] is not None))


def turns(
    journal: Journal, order: Order, *, skip: Container[str], limit: int, owed_to: str | None = None
) -> list[Turn]:
    """The next captures in order, without those to skip: of the queue, or of what a destination is owed."""
    queue = _Queue(journal, owed_to)
    taken: set[bytes] = set()

    def fresh(rows: Iterator[_Row]) -> Iterator[_Row]:
        for row in rows:
            if row[0] not in taken and text_id(row[0]) not in skip:
                taken.add(row[0])
                yield row

    usual = fresh(
        row for one in order.classes for row in chain(_goes_on(queue, one, order), _in_turn(queue, one, order, taken))
    )
    aged = fresh(_longest_waiting(queue, order))
    found: list[Turn] = []
    while len(found) < limit:
        old = next(aged, None) if (order.turn + len(found)) % AGED_SHARE == AGED_SHARE - 1 else None
        row = old or next(usual, None) or next(aged, None)
        if row is None:
            break
        found.append(Turn(holding(row, journal.log), aged=old is not None, owed=owed_to is not None))
    return found


def _goes_on(queue: _Queue, one: Priority, order: Order) -> Iterator[_Row]:
    """What is left of recordings that were begun."""
    return chain.from_iterable(queue.mates(_NAMES, begun) for begun in order.begun if begun[0] == int(one))


def _with_mates(queue: _Queue, row: _Row, one: Priority) -> Iterator[_Row]:
    """The others of its recording follow a capture."""
    yield row
    if row[_GROUP] is not None and row[_MEMBERS] != 1:
        yield from queue.mates(_NAMES, (int(one), row[_DEVICE], row[_GROUP]))


def _in_turn(queue: _Queue, one: Priority, order: Order, taken: Container[bytes]) -> Iterator[_Row]:
    """One recording of each device, then the next of each, beginning after the device that was served last.

    `taken`: what has its turn already, as part of a recording.
    """
    direction = "DESC" if one in order.newest_first else "ASC"
    waiting: deque[Iterator[_Row]] = deque()
    for device in _devices(queue, one, (order.served or {}).get(one, _FIRST)):
        rest = f"q.priority = ? AND q.device = ? ORDER BY q.held_seq {direction}"
        rows: Iterator[_Row] = (row for row in queue.rows(_NAMES, rest, int(one), device) if row[0] not in taken)
        if (row := next(rows, None)) is not None:
            yield from _with_mates(queue, row, one)
            waiting.append(rows)
    while waiting:
        rows = waiting.popleft()
        if (row := next(rows, None)) is not None:
            yield from _with_mates(queue, row, one)
            waiting.append(rows)


def _devices(queue: _Queue, one: Priority, last: str) -> Iterator[str]:
    """The devices that have captures of a class in the queue: those after the one given, then from the first on."""
    for begin, end in ((last, None), (_FIRST, last)):
        device = begin
        while True:
            rest = "q.priority = ? AND q.device > ? ORDER BY q.device LIMIT 1"
            found = next(queue.rows("q.device", rest, int(one), device), None)
            if found is None or (end is not None and found[0] > end):
                break
            device = found[0]
            yield device


def _longest_waiting(queue: _Queue, order: Order) -> Iterator[_Row]:
    """What was held too long ago, the oldest first, of all classes that may go."""
    return merge(*(_aged(queue, one, order.aged_before) for one in order.classes), key=lambda row: row[16])


def _aged(queue: _Queue, one: Priority, before: int) -> Iterator[_Row]:
    for row in queue.rows(_NAMES, "q.priority = ? ORDER BY q.held_seq", int(one)):
        if row[17] >= before:
            return
        yield row


def untold(
    journal: Journal, destination: str, classes: tuple[Priority, ...], *, after: int, limit: int
) -> list[Holding]:
    """Captures held after a leaf index of which this destination knows nothing yet, in the order of taking."""
    marks = ", ".join(str(int(one)) for one in classes)
    rows = journal.connection.execute(
        f"SELECT {_NAMES} FROM capture c INDEXED BY capture_untold"  # noqa: S608 - ours
        f" WHERE c.standing = 1 AND c.held_seq > ? AND c.priority IN ({marks})"
        " AND NOT EXISTS (SELECT 1 FROM upload u WHERE u.capture = c.row AND u.destination = ?)"
        " ORDER BY c.held_seq LIMIT ?",
        (after, destination, limit),
    )
    return [holding(row, journal.log) for row in rows]
