"""What the controller said of each container and object, kept so that it can be asked for after a restart as well.

It holds no evidence: that is in the spool. It is what makes a 2xx to a container true, what HEAD answers with, and how
a clip that is sent again is told from another clip of the same name. A lost shelf makes the controller begin its
containers again (404), and loses nothing: what it sends again is compared with what the agent was given.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agent.driver.database import Database

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

__all__ = ["Container", "Shelf", "Thing"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS container (
    name TEXT PRIMARY KEY,
    device TEXT NOT NULL,           -- id of the camera, as it was when the container was made
    meta TEXT NOT NULL,             -- JSON
    state TEXT NOT NULL,            -- open, complete, abandoned
    told INTEGER NOT NULL,          -- descriptions of it that were held
    heard_at REAL NOT NULL          -- by our clock
) STRICT;
CREATE TABLE IF NOT EXISTS object (
    container TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,       -- grows when other bytes come under the same name
    length INTEGER,                 -- NULL: metadata only
    sha256 TEXT,
    md5 TEXT,
    meta TEXT NOT NULL,
    note TEXT NOT NULL,             -- JSON: what we read in it
    held INTEGER NOT NULL,
    other INTEGER NOT NULL,         -- what was sent last under this name was not this: the next is another version
    heard_at REAL NOT NULL,
    PRIMARY KEY (container, name, version)
) STRICT;
CREATE TABLE IF NOT EXISTS silence (
    container TEXT PRIMARY KEY,
    seconds REAL NOT NULL           -- in which we listened and nothing came for it: no clock that is set, no downtime
) STRICT;
"""


_LOST: Final = "No evidence is lost with it: the controller begins its recordings again, and what was held stays."


@dataclass(slots=True)
class Thing:
    """One object, in one version."""

    container: str
    name: str
    version: int = 1
    length: int | None = None
    sha256: str | None = None
    md5: str | None = None
    meta: dict[str, str] = field(default_factory=dict)
    note: dict[str, Any] = field(default_factory=dict)
    held: bool = False
    other: bool = False
    heard_at: float = 0.0


@dataclass(slots=True)
class Container:
    """One recording, or one of the fixed containers."""

    name: str
    device: str
    meta: dict[str, str] = field(default_factory=dict)
    state: str = "open"
    told: int = 0
    heard_at: float = 0.0


class Shelf(Database):
    """What is known of containers and objects. Each call that writes is a transaction of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "shelf.db", _SCHEMA, "the destination", lost=_LOST)

    # -- containers ----------------------------------------------------------------------------------------------------

    async def container(self, name: str) -> Container | None:
        """What is known of one."""
        sql = "SELECT name, device, meta, state, told, heard_at FROM container WHERE name = ?"
        return await self.look(lambda db: _container(db.execute(sql, (name,)).fetchone()))

    async def put_container(self, container: Container) -> None:
        """Write all of it; the time is now."""
        container.heard_at = time.time()
        row = (container.name, container.device, json.dumps(container.meta), container.state, container.told)

        def putting(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO container VALUES (?, ?, ?, ?, ?, ?)", (*row, container.heard_at))
            db.execute("DELETE FROM silence WHERE container = ?", (container.name,))

        await self.run(putting)

    async def listened(self, seconds: float) -> None:
        """For so long we listened, after what was heard last of each recording that is open."""
        sql = (
            "INSERT INTO silence SELECT name, ? FROM container"
            " WHERE state = 'open' AND name NOT IN ('System', 'Users', 'Devices')"
            " ON CONFLICT (container) DO UPDATE SET seconds = seconds + excluded.seconds"
        )
        if await self.count("open"):
            await self.run(lambda db: db.execute(sql, (seconds,)))

    async def silent(self, seconds: float, name: str | None = None) -> list[Container]:
        """Recordings that are open, and nothing came for them for so long; of all, or of this one."""
        sql = (
            "SELECT name, device, meta, state, told, heard_at FROM container JOIN silence ON container = name"
            " WHERE state = 'open' AND seconds >= ? AND name = coalesce(?, name) LIMIT 100"
        )
        found = await self.look(lambda db: db.execute(sql, (seconds, name)).fetchall())
        return [container for row in found if (container := _container(row)) is not None]

    async def count(self, state: str) -> int:
        """How many recordings are in this state."""
        sql = "SELECT count(*) FROM container WHERE state = ? AND name NOT IN ('System', 'Users', 'Devices')"
        return int((await self.look(lambda db: db.execute(sql, (state,)).fetchone()))[0])

    async def forget(self, seconds: float) -> None:
        """Drop what ended so long ago."""

        def forgetting(db: sqlite3.Connection) -> None:
            old = "SELECT name FROM container WHERE state != 'open' AND heard_at < ?"
            before = (time.time() - seconds,)
            db.execute(f"DELETE FROM object WHERE container IN ({old})", before)  # noqa: S608 - a constant
            db.execute(f"DELETE FROM container WHERE name IN ({old})", before)  # noqa: S608

        await self.run(forgetting)

    # -- objects -------------------------------------------------------------------------------------------------------

    async def newest(self, container: str, name: str) -> Thing | None:
        """The newest version of an object."""
        sql = "SELECT * FROM object WHERE container = ? AND name = ? ORDER BY version DESC LIMIT 1"
        row = await self.look(lambda db: db.execute(sql, (container, name)).fetchone())
        return None if row is None else _thing(row)

    async def versions(self, container: str, name: str) -> list[Thing]:
        """An object in each of its versions, the newest last; none that is metadata alone."""
        sql = "SELECT * FROM object WHERE container = ? AND name = ? AND length IS NOT NULL ORDER BY version"
        return [_thing(row) for row in await self.look(lambda db: db.execute(sql, (container, name)).fetchall())]

    async def things(self, container: str) -> list[Thing]:
        """Every object of a container, in every version."""
        sql = "SELECT * FROM object WHERE container = ? ORDER BY name, version"
        return [_thing(row) for row in await self.look(lambda db: db.execute(sql, (container,)).fetchall())]

    async def put_thing(self, thing: Thing) -> None:
        """Write all of it, durably, and note that its container was heard of."""
        thing.heard_at = time.time()
        row = (
            thing.container, thing.name, thing.version, thing.length, thing.sha256, thing.md5,
            json.dumps(thing.meta), json.dumps(thing.note), int(thing.held), int(thing.other), thing.heard_at,
        )  # fmt: skip

        def putting(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            db.execute("UPDATE container SET heard_at = ? WHERE name = ?", (thing.heard_at, thing.container))
            db.execute("DELETE FROM silence WHERE container = ?", (thing.container,))

        await self.run(putting)


def _container(row: Any) -> Container | None:  # noqa: ANN401 - a row of the database
    if row is None:
        return None
    name, device, meta, state, told, heard_at = row
    return Container(name, device, json.loads(meta), state, told, heard_at)


def _thing(row: Any) -> Thing:  # noqa: ANN401
    container, name, version, length, sha256, md5, meta, note, held, other, heard_at = row
    return Thing(
        container, name, version, length, sha256, md5, json.loads(meta), json.loads(note), bool(held), bool(other),
        heard_at,
    )  # fmt: skip
