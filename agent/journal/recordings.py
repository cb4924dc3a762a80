"""How far the captures of one recording are: what its device says of their number, and where each of them stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.journal.rows import STANDINGS

if TYPE_CHECKING:
    from agent.capture import Standing
    from agent.journal.book import Journal

__all__ = ["Recording", "recording", "torn"]


@dataclass(frozen=True, slots=True)
class Recording:
    """The sum of one recording. Names of files are used again: what was released long ago may be of another one."""

    known: int
    """Captures of it that stand anywhere."""
    held: int
    """Of these: not receipted yet."""
    receipted: int
    """Of these: receipted, and not released."""
    safe: int
    """Of these: receipted, or further."""
    stated: int | None
    """How many its device said that it has, at most; 0: it still grows; None: it never said."""
    aside: tuple[str, Standing] | None
    """Key and standing of one that waits for a person."""


def recording(journal: Journal, device: str, group: str) -> Recording:
    """Look at one recording: one look into an index."""
    known, held, receipted, safe, stated, aside = journal.connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE standing = 1), count(*) FILTER (WHERE standing = 2),"
        " count(*) FILTER (WHERE standing IN (2, 3, 4)), max(members), min(row) FILTER (WHERE standing IN (5, 6))"
        " FROM capture WHERE device = ? AND grouping = ?",
        (device, group),
    ).get
    found = None
    if aside is not None:
        key, standing = journal.connection.execute("SELECT key, standing FROM capture WHERE row = ?", (aside,)).get
        found = (str(key), STANDINGS[standing])
    return Recording(known, held, receipted, safe, stated, found)


def torn(journal: Journal, limit: int = 100) -> list[tuple[str, str]]:
    """(device, recording) where one capture stands refused or quarantined, and there are others."""
    rows = journal.connection.execute(
        "SELECT DISTINCT a.device, a.grouping FROM capture a INDEXED BY capture_aside WHERE a.standing IN (5, 6)"
        " AND a.grouping IS NOT NULL AND EXISTS (SELECT 1 FROM capture o WHERE o.device = a.device"
        " AND o.grouping = a.grouping AND o.row <> a.row) LIMIT ?",
        (limit,),
    )
    return [(device, group) for device, group in rows]
