"""Places of uploads that wait at a destination and are kept there for a time only: which of them are to be renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.journal.rows import COLUMNS, holding, micros, raw_id

if TYPE_CHECKING:
    from datetime import datetime

    from agent.capture import Holding, Priority
    from agent.journal.book import Journal

__all__ = ["due", "settled"]

_NAMES: Final = "c." + COLUMNS.replace(", ", ", c.")


def due(
    journal: Journal, destination: str, classes: tuple[Priority, ...], *, now: datetime, limit: int
) -> list[Holding]:
    """Captures that wait and whose place at this destination is to be renewed, the longest overdue first."""
    if not classes:
        return []
    marks = ", ".join(str(int(one)) for one in classes)
    rows = journal.connection.execute(
        f"SELECT {_NAMES} FROM upload u INDEXED BY upload_renewal JOIN capture c ON c.row = u.capture"  # noqa: S608 - ours
        f" WHERE u.destination = ? AND u.renew_at <= ? AND c.standing = 1 AND c.priority IN ({marks})"
        " ORDER BY u.renew_at LIMIT ?",
        (destination, micros(now), limit),
    )
    return [holding(row, journal.log) for row in rows]


def settled(journal: Journal, capture: str, destination: str) -> None:
    """What has arrived at this destination needs no place there any more."""
    journal.connection.execute(
        "UPDATE upload SET renew_at = NULL WHERE destination = ?2 AND renew_at IS NOT NULL"
        " AND capture = (SELECT row FROM capture WHERE id = ?1)",
        (raw_id(capture), destination),
    )
