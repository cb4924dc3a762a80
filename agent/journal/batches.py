"""Positions, many of one device at a time: one leaf has the digest of the whole batch, and the batch lies beside it.

Ten a second would be ten leaves a second, for ever. A batch is the canonical JSON (RFC 8785) of a list; its SHA-256
stands in the entry, so that it can be given to others and checked like any other file.
"""

from __future__ import annotations

import json
import zlib
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from agent.capture import canonical, rfc3339
from agent.context import POSITION, about_device
from agent.errors import JournalError
from agent.journal.entry import Event
from agent.journal.rows import micros, moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from agent.capture import Json
    from agent.journal.book import Journal

__all__ = ["COUNT_MAX", "SPAN_MAX", "abouts", "keep", "opened", "overlapping", "problems"]

COUNT_MAX: Final = 1000
"""Positions of one batch."""
SPAN_MAX: Final = timedelta(minutes=5)
"""Between the first and the last position of one batch."""
LENGTH_MAX: Final = 4 * 1024 * 1024
"""Bytes of one batch, unpacked."""


def keep(journal: Journal, device: str, rows: Sequence[Mapping[str, Json]], first: datetime, last: datetime) -> int:
    """Write a batch and the entry that commits to it; its leaf. Call it in a transaction.

    `first` and `last`: the earliest and the latest time in it that can be used.
    """
    content = canonical([dict(row) for row in rows])
    if not 0 < len(rows) <= COUNT_MAX or len(content) > LENGTH_MAX or last - first > SPAN_MAX or last < first:
        raise ValueError("a batch of this size cannot be kept")
    told: dict[str, Json] = {
        "count": len(rows),
        "device": device,
        "first_at": rfc3339(first),
        "kind": POSITION,
        "last_at": rfc3339(last),
        "length": len(content),
        "sha256": sha256(content).hexdigest(),
    }
    seq = journal.leaves.size
    journal.record(Event.OBSERVED_MANY, {"batch": told})
    journal.connection.execute(
        "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?)",
        (seq, about_device(device), _millis(first), _millis(last), len(rows), zlib.compress(content)),
    )
    return seq


def overlapping(journal: Journal, about: str, since: datetime, until: datetime) -> list[tuple[int, int]]:
    """(leaf, positions) of a device's batches that overlap an interval, in the order of time. A look into an index."""
    reach = SPAN_MAX // timedelta(microseconds=1)
    rows = journal.connection.execute(
        "SELECT seq, count FROM batch WHERE about = ?1 AND first BETWEEN ?2 - ?4 AND ?3 AND last >= ?2"
        " ORDER BY first, seq",
        (about, micros(since), micros(until), reach),
    )
    return [(seq, count) for seq, count in rows]


def abouts(journal: Journal) -> list[str]:
    """Every device of which positions are kept. One look into an index for each."""
    rows = journal.connection.execute(
        "WITH RECURSIVE known (about) AS (SELECT min(about) FROM batch UNION ALL"
        " SELECT (SELECT min(about) FROM batch WHERE about > known.about) FROM known WHERE known.about IS NOT NULL)"
        " SELECT about FROM known WHERE about IS NOT NULL"
    )
    return [about for (about,) in rows]


def opened(journal: Journal, seq: int) -> bytes:
    """The canonical JSON of a batch. Raises `JournalError` where it is not there, or cannot be unpacked."""
    packed = journal.connection.execute("SELECT content FROM batch WHERE seq = ?", (seq,)).get
    if packed is None:
        raise JournalError(f"the positions of entry {seq} are missing")
    return _unpacked(packed)


def problems(journal: Journal, seq: int, told: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the batch of an entry, in sentences: it must be what the entry committed to."""
    row = journal.connection.execute(
        "SELECT about, first, last, count, content FROM batch WHERE seq = ?", (seq,)
    ).fetchone()
    if row is None:
        yield "its positions are missing"
        return
    about, first, last, stored, packed = row
    try:
        content = _unpacked(packed)
        count = len(json.loads(content))
    except (JournalError, ValueError):
        yield "its positions cannot be read"
        return
    if (
        sha256(content).hexdigest() != told["sha256"]
        or count != told["count"]
        or count != stored
        or len(content) != told["length"]
    ):
        yield "its positions are not those that it was written for"
    if (about, rfc3339(moment(first)), rfc3339(moment(last))) != (
        about_device(told["device"]),
        told["first_at"],
        told["last_at"],
    ):
        yield "its positions are found under another device or time"


def _millis(when: datetime) -> int:
    return micros(when) // 1000 * 1000


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(packed, LENGTH_MAX + 1)
    except zlib.error as error:
        raise JournalError(f"a batch of positions cannot be unpacked: {error}") from error
    if len(content) > LENGTH_MAX or not unpacking.eof:
        raise JournalError("a batch of positions is longer than it can be, or cut")
    return content
