"""How many bytes went over which class of links on which day: what budgets are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.journal.book import Journal

__all__ = ["spend", "spent"]


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
