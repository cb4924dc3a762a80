"""Kept files that were given up as lost and lie there again, byte for byte: their captures rest on them as before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.capture import Standing
from agent.journal import queries
from agent.journal.entry import Event
from agent.journal.replay import Replay
from agent.journal.rows import text_id

if TYPE_CHECKING:
    from agent.journal.book import Journal

__all__ = ["found", "lost", "lost_parts", "was_lost", "was_purged"]


def lost(journal: Journal, sha256: bytes) -> list[str]:
    """Ids of captures with these bytes whose file was given up as lost."""
    rows = journal.connection.execute(
        "SELECT id FROM capture WHERE sha256 = ? AND spooled = 0 AND superseded = 1", (sha256,)
    )
    return [id_ for (raw,) in rows if was_lost(journal, id_ := text_id(raw))]


def lost_parts(journal: Journal) -> list[bytes]:
    """SHA-256 of parts that are such a file: earlier versions moved them there."""
    # CROSS keeps the order: few parts, each looked up among the captures. SQLite would go through all captures instead.
    rows = journal.connection.execute(
        "SELECT DISTINCT part.sha256 FROM part CROSS JOIN capture ON capture.sha256 = part.sha256"
        " WHERE capture.spooled = 0 AND capture.superseded = 1"
    )
    return [sha256 for (sha256,) in rows if lost(journal, sha256)]


def found(journal: Journal, sha256: bytes) -> list[str]:
    """Its bytes were read, and are these: an entry for each capture that lost them. Its part is none any more.

    What stood held before it was lost is held again. What stood aside for another reason stays there: a person decides.
    """
    ids = lost(journal, sha256)
    for id_ in ids:
        known, replay = journal.get(id_), Replay()
        for entry in queries.story(journal, id_):
            replay.read(entry["predicate"])
        journal.find_again(known, Standing.HELD if replay.held_when_lost else known.standing)
    if ids:
        journal.explain_part(sha256, journal.get(ids[0]).digest.length, journal.get(ids[0]))
    return ids


def was_purged(journal: Journal, sha256: bytes) -> bool:
    """Whether captures with these bytes have left the spool by their entries: then a file that is left is let go.

    One whose file was missing is superseded since: nobody let that go, whatever receipt it has, and whoever else did.
    """
    rows = journal.connection.execute(
        "SELECT id, superseded, strength FROM capture WHERE sha256 = ? AND spooled = 0", (sha256,)
    )
    left = [
        strength is not None and not (superseded and was_lost(journal, text_id(id_)))
        for id_, superseded, strength in rows
    ]
    return bool(left) and all(left)


def was_lost(journal: Journal, capture: str) -> bool:
    """Whether it has left the spool because its file was missing, and not by its purge; its story tells."""
    lost = False
    for entry in queries.story(journal, capture):
        said = entry["predicate"]
        if said["event"] in (Event.QUARANTINED, Event.PURGED, Event.FOUND, Event.OFFERED_AGAIN):
            lost = said["event"] == Event.QUARANTINED and (lost or said.get("spooled") is False)
    return lost
