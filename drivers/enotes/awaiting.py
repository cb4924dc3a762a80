"""Files that entries name are awaited from when their entry is believed: at once, or when its key is known later.

Until they came, or a person said that they will not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from drivers.enotes.judging import Judged

__all__ = ["AWAITED", "put_awaited"]

AWAITED: Final = (
    "held_at IS NULL AND wanted_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM given_up"
    " WHERE (notebook, seq, sha256) = (attachment.notebook, attachment.seq, attachment.sha256))"
)
"""Which rows of `attachment` are awaited, for the index's SQL."""


def put_awaited(db: sqlite3.Connection, found: Iterable[Judged], at: str) -> None:
    """Note the files that these entries name, in whoever's transaction this is. What is awaited already stays so."""
    rows: list[tuple[Any, ...]] = [
        (one.notebook, one.seq, file["sha256"], file["length"], file["blake3"], file["name"], file["media_type"], at)
        for one in found
        if one.base is None and one.entry is not None and one.entry["op"] == "attach"
        for file in one.entry["attachments"]
    ]
    db.executemany(
        "INSERT INTO attachment (notebook, seq, sha256, length, blake3, name, media_type, wanted_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        # The entry's word for the length goes before that of whoever announced the file earlier.
        " SET length = iif(wanted_at IS NULL AND held_at IS NULL, excluded.length, length),"
        " wanted_at = coalesce(wanted_at, excluded.wanted_at)",
        rows,
    )
