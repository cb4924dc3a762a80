"""The driver's small database: who may sign, which envelopes came in which order, which attachments are awaited.

It promises nothing: what is held stands in the agent's journal, and a row is written here only after `take` returned.
If power fails between the two, the tablet sends again, is judged by the same rows, is offered under the same origin,
and finds it held. A lost shelf loses no entry; tablets must be enrolled again then, and chains begin with a gap.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from agent.driver.database import Database
from agent.errors import DeviceRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["NAME", "Shelf", "reading"]

NAME: Final = "enotes.db"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS tablet (
    id TEXT PRIMARY KEY,
    enrolled_at TEXT NOT NULL,
    revoked_since TEXT,              -- from this moment on nothing of it is believed
    revoked_at TEXT,                 -- when we were told, by our clock
    why TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS certificate (
    sha256 BLOB PRIMARY KEY,
    tablet TEXT NOT NULL,
    not_after TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS key (
    kid TEXT PRIMARY KEY,
    jwk TEXT NOT NULL,
    badge TEXT NOT NULL,
    name TEXT,
    tablet TEXT NOT NULL,
    since TEXT NOT NULL,             -- entries are believed that were recorded from here ...
    until TEXT,                      -- ... until here, by the tablet's clock
    how TEXT NOT NULL,               -- enrolled, rotated, enrolled again
    registered_at TEXT NOT NULL,
    ended_at TEXT,                   -- when `until` became known here
    revoked INTEGER NOT NULL DEFAULT 0,  -- it ended because its tablet was given up as lost
    judged INTEGER NOT NULL DEFAULT 0  -- what it signed before was judged again since it changed
) STRICT;
CREATE TABLE IF NOT EXISTS envelope (
    number INTEGER PRIMARY KEY,      -- the order of arrival
    received_sha256 BLOB NOT NULL UNIQUE,
    envelope BLOB NOT NULL,          -- SHA-256 of the canonical three members
    notebook TEXT,
    seq INTEGER,
    kid TEXT,
    status TEXT NOT NULL,
    base TEXT NOT NULL,              -- what signature, key and form alone say; empty: nothing against it
    base_flags TEXT NOT NULL,        -- JSON list, the same
    flags TEXT NOT NULL,             -- JSON list, with those of its place in the notebook
    tablet TEXT NOT NULL,
    received_at TEXT NOT NULL,
    line BLOB NOT NULL,
    seen INTEGER NOT NULL DEFAULT 0  -- a person looked at what is flagged
) STRICT;
CREATE INDEX IF NOT EXISTS envelope_notebook ON envelope (notebook, seq);
CREATE INDEX IF NOT EXISTS envelope_kid ON envelope (kid);
CREATE INDEX IF NOT EXISTS envelope_flagged ON envelope (notebook, status)
    WHERE seen = 0 AND status NOT IN ('ok', 'late', 'duplicate', 'twin');
CREATE TABLE IF NOT EXISTS attachment (
    notebook TEXT NOT NULL,
    seq INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    length INTEGER NOT NULL,
    blake3 TEXT,
    name TEXT,
    media_type TEXT,
    wanted_at TEXT,                  -- when the entry that names it was held; NULL: none does
    tablet TEXT,
    upload TEXT UNIQUE,              -- where it arrives
    held_at TEXT,
    PRIMARY KEY (notebook, seq, sha256)
) STRICT;
CREATE TABLE IF NOT EXISTS given_up (  -- attachments of which a person said that they will not come
    notebook TEXT NOT NULL,
    seq INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (notebook, seq, sha256)
) STRICT;
"""


_LOST: Final = "No entry that was held is lost with it; tablets must be enrolled again, and send what they have again."


class Shelf(Database):
    """Each call that writes is a transaction of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / NAME, _SCHEMA, "the listener for tablets", lost=_LOST)


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """The same database for somebody else who only looks: nothing is written, not even beside it."""
    try:
        db: Any = sqlite3.connect(f"{(folder / NAME).as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=30)
    except sqlite3.Error as error:
        raise DeviceRefused(f"{folder / NAME}: {error}", hint="Try again; then look at this station's disk.") from error
    try:
        yield db
    except sqlite3.Error as error:
        raise DeviceRefused(f"{folder / NAME}: {error}", hint="Try again; then look at this station's disk.") from error
    finally:
        db.close()
