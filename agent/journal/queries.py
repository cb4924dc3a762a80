"""What the other rooms ask of the journal; nothing here writes an entry. Each is an index look-up or a bounded page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.capture import LENGTH_MAX, Digest, Priority, Standing
from agent.journal.rows import CODES, COLUMNS, STANDINGS, holding, micros, moment, raw_id, text_id
from agent.journal.words import folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from agent.capture import Holding
    from agent.journal.book import Journal

__all__ = [
    "DeviceTally",
    "Search",
    "Tally",
    "aside",
    "devices",
    "digests_of",
    "doubts",
    "evictable",
    "first_held_at",
    "forgotten",
    "fresh",
    "id_of",
    "intended",
    "keepers",
    "listing",
    "of_origin",
    "oldest_held",
    "parts",
    "parts_count",
    "parts_of",
    "queue",
    "recall",
    "recording",
    "remember",
    "resolve",
    "rows_between",
    "spooled",
    "spooled_under",
    "standing_of",
    "story",
    "taken_in",
    "tally",
    "to_be_released",
    "was_held",
]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many captures stand somewhere, and how long they are together."""

    captures: int
    bytes: int


@dataclass(frozen=True, slots=True)
class DeviceTally:
    """What was taken of one device."""

    device: str
    captures: int
    bytes: int
    last_held_at: datetime


def of_origin(journal: Journal, token: bytes) -> Holding | None:
    """What was last taken of this origin, unless the device is known to hold other bytes there now."""
    row = journal.connection.execute(
        f"SELECT {COLUMNS} FROM capture WHERE origin = ? AND superseded = 0 ORDER BY row DESC LIMIT 1",  # noqa: S608
        (token,),
    ).get
    return None if row is None else holding(row, journal.log)


def to_be_released(journal: Journal, token: bytes) -> Holding | None:
    """The same, but rather what stands receipted: of two devices that claim to be one, one may have been released."""
    row = journal.connection.execute(
        f"SELECT {COLUMNS} FROM capture WHERE origin = ? AND superseded = 0"  # noqa: S608
        " ORDER BY standing = ? DESC, row DESC LIMIT 1",
        (token, CODES[Standing.RECEIPTED]),
    ).get
    return None if row is None else holding(row, journal.log)


def standing_of(journal: Journal, token: bytes) -> tuple[Standing, int] | None:
    """The standing and the length of the same: all that a device that offers everything again has to be told."""
    row = journal.connection.execute(
        "SELECT standing, length FROM capture WHERE origin = ? AND superseded = 0 ORDER BY row DESC LIMIT 1",
        (token,),
    ).fetchone()
    return None if row is None else (STANDINGS[row[0]], row[1])


def digests_of(journal: Journal, token: bytes) -> tuple[Digest, ...]:
    """What was taken of this origin, the newest first: all that lies in the spool, or that a DEMS has."""
    rows = journal.connection.execute(
        "SELECT sha256, blake3, length FROM capture WHERE origin = ? AND (spooled = 1 OR strength IS NOT NULL)"
        " ORDER BY row DESC",
        (token,),
    )
    return tuple(Digest(*row) for row in rows)


def doubts(journal: Journal, token: bytes) -> bool:
    """Whether anything of this origin stands quarantined: then its device may not forget it."""
    found = journal.connection.execute(
        "SELECT 1 FROM capture WHERE origin = ? AND standing = ? LIMIT 1", (token, CODES[Standing.QUARANTINED])
    ).get
    return found is not None


def queue(journal: Journal, limit: int, after: tuple[int, int] = (-1, -1)) -> list[Holding]:
    """What must be forwarded, in order, after the (priority, index) given."""
    return _page(journal, "standing = 1 AND (priority, held_seq) > (?, ?) ORDER BY priority, held_seq", after, limit)


def evictable(
    journal: Journal,
    limit: int,
    before: datetime | None,
    *,
    after: tuple[datetime, int] | None = None,
    least: int,
    released_only: bool,
    below: int = LENGTH_MAX,
) -> list[Holding]:
    """Receipted (or released) captures whose bytes still lie in the spool, receipted in a time, oldest first.

    `after`: only those behind the (time, index) given; receipts that came together have one time. `least`: the weakest
    receipt that counts, as the number of its `Strength`. `below`: only those whose entry `held` stands below this leaf.
    What another destination still has to get stays. `released_only`: what a device can be asked to forget must stand
    released.
    """
    condition = "spooled = 1 AND standing IN (2, 3) AND receipted_at <= ? AND receipted_at >= ? AND retained = 0"
    # In the order of the index, which has the row behind the time: rows follow the entries `held`.
    condition += " AND (receipted_at > ? OR held_seq > ?)"
    condition += (
        " AND strength >= ? AND held_seq < ? AND NOT EXISTS (SELECT 1 FROM owed WHERE owed.capture = capture.row)"
    )
    if released_only:
        condition += " AND (standing = 3 OR forgets IS NOT NULL)"
    until = LENGTH_MAX if before is None else micros(before)
    since, index = (-LENGTH_MAX, -1) if after is None else (micros(after[0]), after[1])
    values = (until, since, since, index, least, below)
    return _page(journal, f"{condition} ORDER BY receipted_at, row", values, limit)


def recording(journal: Journal, device: str, group: str, limit: int) -> list[Holding]:
    """Captures that this device says are clips of one recording, in its order, then in that of the log."""
    condition = "device = ? AND grouping = ? ORDER BY clip, held_seq"
    return _page(journal, condition, (device, group), limit)


def forgotten(journal: Journal, limit: int, below: int = LENGTH_MAX, *, after: int = -1) -> list[Holding]:
    """Receipted captures of devices that kept no copy: nobody will offer them again. `below`: as above.

    `after`: only those whose entry `held` stands after this leaf.
    """
    condition = "volatile = 1 AND standing = 2 AND retained = 0 AND reason IS NULL AND held_seq < ? AND held_seq > ?"
    condition += " AND NOT EXISTS (SELECT 1 FROM owed WHERE owed.capture = capture.row) ORDER BY row"
    return _page(journal, condition, (below, after), limit)


def intended(journal: Journal, limit: int = 100_000) -> list[Holding]:
    """Captures whose release was begun and not ended: few, unless a device was pulled out in the middle."""
    return _page(journal, "row IN (SELECT capture FROM intended)", (), limit)


def aside(journal: Journal, limit: int = 1000) -> list[Holding]:
    """What waits for a person: refused and quarantined."""
    return _page(journal, "standing IN (5, 6) ORDER BY standing, row", (), limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which captures are wanted: those of which everything holds that is said here."""

    standing: Standing | None = None
    device: str | None = None
    """Its id or its serial number."""
    officer: str | None = None
    """A name, badge or user number, as the device claims it or as it was assigned."""
    incident: str | None = None
    unit: str | None = None
    since: datetime | None = None
    """Taken at or after."""
    drills: bool = False
    """Drills, and no evidence; else evidence, and no drills."""


def listing(
    journal: Journal, wanted: Search | None = None, *, limit: int = 100, before: int | None = None
) -> list[Holding]:
    """Captures, newest first, below the leaf index `before`."""
    wanted = wanted or Search()
    conditions, values = [f"drill = {int(wanted.drills)}"], list[Any]()
    if wanted.standing is not None:
        conditions.append("standing = ?")
        values.append(CODES[wanted.standing])
    for kind in ("device", "officer", "incident", "unit"):
        if (word := getattr(wanted, kind)) is not None:
            conditions.append("row IN (SELECT capture FROM word WHERE kind = ? AND value = ?)")
            values += (kind, folded(word))
    if wanted.since is not None:
        # Rows follow the time of taking, except where the clock was set: the first row bounds the look, no more. The
        # plus has SQLite take the index of times for it, and not walk along the rows.
        conditions.append("row >= (SELECT min(+row) FROM capture WHERE held_at >= ?) AND held_at >= ?")
        values += (micros(wanted.since),) * 2
    if before is not None:
        conditions.append("held_seq < ?")
        values.append(before)
    return _page(journal, f"{' AND '.join(conditions)} ORDER BY row DESC", tuple(values), limit)


def resolve(journal: Journal, beginning: str, limit: int = 10) -> list[str]:
    """Ids of captures that begin with some hexadecimal digits: people type the first eight."""
    digits = beginning.replace("-", "").lower()
    if not digits or len(digits) > 32 or any(c not in "0123456789abcdef" for c in digits):  # noqa: PLR2004
        return []
    low, high = bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f"))
    rows = journal.connection.execute("SELECT id FROM capture WHERE id BETWEEN ? AND ? LIMIT ?", (low, high, limit))
    return [text_id(row[0]) for row in rows]


def spooled(journal: Journal, after: int = 0, limit: int = 1000) -> list[tuple[int, Holding]]:
    """(row, capture) of what lies in the spool, page by page, in the order of taking."""
    rows = journal.connection.execute(
        # The plus has SQLite walk along the rows, and not sort all that the index of the spool holds for each page.
        f"SELECT row, {COLUMNS} FROM capture WHERE +spooled = 1 AND row > ? ORDER BY row LIMIT ?",  # noqa: S608
        (after, limit),
    )
    return [(row[0], holding(row[1:], journal.log)) for row in rows]


def spooled_under(journal: Journal, first: int, last: int) -> list[tuple[bytes, int, int]]:
    """(SHA-256, length, row) of what lies in the spool under digests that begin with these bytes, from one index."""
    bounds = (bytes([first]), bytes([last]) + b"\xff" * 32)
    rows = journal.connection.execute(
        "SELECT sha256, length, row FROM capture WHERE spooled = 1 AND sha256 BETWEEN ? AND ?", bounds
    )
    return [(sha256, length, row) for sha256, length, row in rows]


def id_of(journal: Journal, row: int) -> str:
    """The id of the capture in this row."""
    return text_id(journal.connection.execute("SELECT id FROM capture WHERE row = ?", (row,)).get)


def keepers(journal: Journal, sha256: bytes) -> int:
    """How many captures rest on this file of the spool: the same bytes from two devices are one file."""
    count: int = journal.connection.execute(
        "SELECT count(*) FROM capture WHERE sha256 = ? AND spooled = 1", (sha256,)
    ).get
    return count


def was_held(journal: Journal, sha256: bytes) -> bool:
    """Whether a capture with these bytes was ever promised."""
    return journal.connection.execute("SELECT 1 FROM capture WHERE sha256 = ? LIMIT 1", (sha256,)).get is not None


def tally(journal: Journal) -> dict[Standing, Tally]:
    """Captures and bytes at each standing."""
    rows = journal.connection.execute("SELECT standing, captures, bytes FROM tally")
    return {STANDINGS[code]: Tally(captures, length) for code, captures, length in rows}


def oldest_held(journal: Journal) -> datetime | None:
    """Since when the capture that waits longest to be sent is held: one index look-up for each priority."""
    first = "SELECT held_at FROM capture WHERE standing = 1 AND priority = ? ORDER BY held_seq LIMIT 1"
    rows = (journal.connection.execute(first, (int(priority),)).get for priority in Priority)
    return min((moment(held_at) for held_at in rows if held_at is not None), default=None)


def story(journal: Journal, capture: str) -> Iterator[dict[str, Any]]:
    """Every entry about one capture, in order."""
    rows = journal.connection.execute(
        "SELECT leaf FROM entry WHERE capture = (SELECT row FROM capture WHERE id = ?) ORDER BY seq", (raw_id(capture),)
    )
    for (leaf,) in rows:
        yield json.loads(leaf)


def parts(journal: Journal) -> list[tuple[str, int, str]]:
    """(SHA-256, length, reason) of every part that was set aside."""
    rows = journal.connection.execute("SELECT sha256, length, reason FROM part ORDER BY seq")
    return [(sha256.hex(), length, reason) for sha256, length, reason in rows]


def parts_of(journal: Journal, origin: bytes, longest: int, limit: int = 64) -> list[tuple[bytes, int]]:
    """(SHA-256, length) of parts of one origin that are no longer than a capture."""
    sql = "SELECT sha256, length FROM part WHERE origin = ? AND length <= ? LIMIT ?"
    return [(sha256, length) for sha256, length in journal.connection.execute(sql, (origin, longest, limit))]


def parts_count(journal: Journal) -> int:
    """How many parts were set aside."""
    count: int = journal.connection.execute("SELECT count(*) FROM part").get
    return count


def devices(journal: Journal) -> list[DeviceTally]:
    """Every device of which captures were taken, newest first. Reads the whole table: for a person, not a loop."""
    rows = journal.connection.execute(
        "SELECT device, count(*), sum(length), max(held_at) AS newest FROM capture WHERE drill = 0"
        " GROUP BY device ORDER BY newest DESC"
    )
    return [DeviceTally(device, count, length, moment(newest)) for device, count, length, newest in rows]


def first_held_at(journal: Journal) -> datetime | None:
    """When the first capture was taken that this journal tells of."""
    found = journal.connection.execute("SELECT min(held_at) FROM capture").get
    return None if found is None else moment(found)


def rows_between(journal: Journal, since: datetime, until: datetime) -> tuple[int, int]:
    """First and last row of the captures that were taken in this time, by the index of times; (1, 0) for none."""
    first, last = journal.connection.execute(
        "SELECT min(+row), max(+row) FROM capture WHERE held_at >= ? AND held_at < ?", (micros(since), micros(until))
    ).get
    return (1, 0) if first is None else (first, last)


def taken_in(journal: Journal, first: int, last: int) -> tuple[int, int]:
    """Bytes of the captures in these rows: (all of them, those that have left the spool since)."""
    taken, gone = journal.connection.execute(
        "SELECT coalesce(sum(length), 0), coalesce(sum(length) FILTER (WHERE spooled = 0), 0) FROM capture"
        " WHERE row BETWEEN ? AND ?",
        (first, last),
    ).get
    return taken, gone


def recall(journal: Journal, capture: str, destination: str) -> str | None:
    """What an uplink remembers of this capture."""
    state: str | None = journal.connection.execute(
        "SELECT state FROM upload WHERE capture = (SELECT row FROM capture WHERE id = ?) AND destination = ?",
        (raw_id(capture), destination),
    ).get
    return state


def fresh(journal: Journal, captures: Iterable[str], destination: str) -> set[str]:
    """Those of them that stand held, and of which an uplink remembers nothing."""
    sql = "SELECT 1 FROM capture c WHERE id = ? AND standing = 1 AND NOT EXISTS"
    sql += " (SELECT 1 FROM upload u WHERE u.capture = c.row AND u.destination = ?)"
    execute = journal.connection.execute
    return {one for one in captures if execute(sql, (raw_id(one), destination)).get is not None}


def remember(
    journal: Journal, capture: str, destination: str, state: str | None, renew_at: datetime | None = None
) -> None:
    """Keep what an uplink says, or forget it; no entry, for it is a hint and no promise."""
    key = (raw_id(capture), destination)
    if state is None:
        journal.connection.execute(
            "DELETE FROM upload WHERE capture = (SELECT row FROM capture WHERE id = ?) AND destination = ?", key
        )
    else:
        journal.connection.execute(
            "INSERT OR REPLACE INTO upload SELECT row, ?2, ?3, ?4 FROM capture WHERE id = ?1",
            (*key, state, None if renew_at is None else micros(renew_at)),
        )


def _page(journal: Journal, condition: str, values: tuple[Any, ...], limit: int) -> list[Holding]:
    rows = journal.connection.execute(f"SELECT {COLUMNS} FROM capture WHERE {condition} LIMIT ?", (*values, limit))  # noqa: S608
    return [holding(row, journal.log) for row in rows]
