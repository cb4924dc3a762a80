"""What was taken of one origin: devices give other bytes under a name, and others bear their serial number."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.capture import PART_LENGTH
from agent.journal.rows import text_id

if TYPE_CHECKING:
    from agent.journal.book import Journal

__all__ = ["Version", "versions"]


class Version(NamedTuple):
    """One of the contents that were taken of an origin."""

    capture: str
    """Its id."""
    sha256: bytes
    begins: bytes | None
    """SHA-256 of its first part; None where no entry tells."""
    spooled: bool


def versions(journal: Journal, token: bytes, length: int) -> list[Version]:
    """What was taken of this origin and is so long."""
    sql = "SELECT id, sha256, part_through, part_sha256, spooled FROM capture WHERE origin = ? AND length = ?"
    whole = length <= PART_LENGTH
    return [
        Version(text_id(raw), sha256, sha256 if whole else (through or parts)[:32] or None, bool(spooled))
        for raw, sha256, through, parts, spooled in journal.connection.execute(sql, (token, length))
    ]
