"""Whose key is whose, and from when until when it is believed. Keys come from here, never out of an envelope."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.capture import rfc3339
from drivers.enotes.signatures import PublicKey
from firmware_specs.formats.enote import moment

if TYPE_CHECKING:
    import sqlite3
    from datetime import datetime

    from drivers.enotes.shelf import Shelf

__all__ = ["Key", "Register", "Tablet", "keys_of"]


@dataclass(frozen=True, slots=True)
class Key:
    """One registered key."""

    public: PublicKey
    badge: str
    name: str | None
    tablet: str
    since: datetime
    until: datetime | None
    how: str
    registered_at: datetime
    ended_at: datetime | None
    revoked: bool = False
    """It ended because its tablet was given up as lost."""

    def believed(self, recorded_at: datetime | None) -> bool:
        """Whether an entry that was recorded then may bear its signature."""
        if recorded_at is None:
            return False
        return self.since <= recorded_at and (self.until is None or recorded_at < self.until)

    @property
    def told(self) -> dict[str, Any]:
        """As it is shown, and as it stands in the custody log."""
        return {
            "badge": self.badge,
            "ended_at": None if self.ended_at is None else rfc3339(self.ended_at),
            "how": self.how,
            "kid": self.public.kid,
            "name": self.name,
            "public": dict(self.public.jwk),
            "registered_at": rfc3339(self.registered_at),
            "revoked": self.revoked,
            "since": rfc3339(self.since),
            "tablet": self.tablet,
            "until": None if self.until is None else rfc3339(self.until),
        }


@dataclass(frozen=True, slots=True)
class Tablet:
    """Who is at the other end of a connection, by its certificate."""

    id: str
    known: bool
    """It was enrolled here."""
    revoked: bool = False


class Register:
    """Keys and tablets; the keys in memory as well, for each envelope asks for one."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.keys: dict[str, Key] = {}
        self.changes = 0
        """How often they were read: who judges by them can see that they changed meanwhile."""

    async def load(self) -> None:
        """Read the keys anew."""
        self.changes += 1
        self.keys = await self._shelf.look(keys_of)

    async def tablet(self, name: str, certificate: bytes) -> Tablet:
        """Who shows this certificate, and is called so in it; one that was not enrolled here is taken, and marked."""

        def look(db: sqlite3.Connection) -> Tablet:
            ours = db.execute("SELECT tablet FROM certificate WHERE sha256 = ?", (certificate,)).fetchone()
            row = db.execute("SELECT revoked_at FROM tablet WHERE id = ?", (name,)).fetchone()
            known = row is not None and ours is not None and ours[0] == name
            return Tablet(name, known, revoked=row is not None and row[0] is not None)

        return await self._shelf.look(look)

    async def enrol(self, key: Key, certificate: bytes, not_after: datetime) -> None:
        """A tablet with its key. What it had before ends now, certificates too: it was given on, or set up anew."""
        now = rfc3339(key.registered_at)

        def put(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE key SET until = ?, ended_at = ?, judged = 0 WHERE tablet = ? AND until IS NULL",
                (now, now, key.tablet),
            )
            db.execute(
                "INSERT INTO tablet (id, enrolled_at) VALUES (?, ?) ON CONFLICT (id) DO UPDATE"
                " SET enrolled_at = excluded.enrolled_at, revoked_since = NULL, revoked_at = NULL, why = NULL",
                (key.tablet, now),
            )
            # Whoever still has the old certificate is another one now: the thief of a tablet whose name goes on.
            db.execute("DELETE FROM certificate WHERE tablet = ?", (key.tablet,))
            _put_key(db, key)
            _put_certificate(db, key.tablet, certificate, not_after)

        await self._shelf.run(put)
        await self.load()

    async def rotate(self, old: str, key: Key, certificate: bytes | None, not_after: datetime | None) -> None:
        """A new key of a tablet that signed with its old one; the old one ends where the new one begins."""

        def put(db: sqlite3.Connection) -> None:
            if old != key.public.kid:
                ends = (rfc3339(key.since), rfc3339(key.registered_at), old)
                db.execute("UPDATE key SET until = ?, ended_at = ?, judged = 0 WHERE kid = ?", ends)
                _put_key(db, key)
            if certificate is not None and not_after is not None:
                _put_certificate(db, key.tablet, certificate, not_after)

        await self._shelf.run(put)
        await self.load()

    async def revoke(self, tablet: str, since: datetime, at: datetime, why: str) -> list[str]:
        """From `since` on nothing of this tablet is believed. Returns the keys that end by it; none: not known."""

        def put(db: sqlite3.Connection) -> list[str]:
            told = (rfc3339(since), rfc3339(at), why, tablet)
            changed = db.execute("UPDATE tablet SET revoked_since = ?, revoked_at = ?, why = ? WHERE id = ?", told)
            if not changed.rowcount:
                return []
            where = "tablet = ? AND (until IS NULL OR until > ?)"
            found = [row[0] for row in db.execute(f"SELECT kid FROM key WHERE {where}", (tablet, rfc3339(since)))]  # noqa: S608
            db.execute(
                f"UPDATE key SET until = ?, ended_at = ?, revoked = 1, judged = 0 WHERE {where}",  # noqa: S608 - constants
                (rfc3339(since), rfc3339(at), tablet, rfc3339(since)),
            )
            return found or ["-"]

        found = await self._shelf.run(put)
        await self.load()
        return found


def _put_key(db: sqlite3.Connection, key: Key) -> None:
    until, ended = (None if when is None else rfc3339(when) for when in (key.until, key.ended_at))
    db.execute(
        "INSERT INTO key VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
        (
            key.public.kid, json.dumps(dict(key.public.jwk)), key.badge, key.name, key.tablet, rfc3339(key.since),
            until, key.how, rfc3339(key.registered_at), ended,
        ),
    )  # fmt: skip


def _put_certificate(db: sqlite3.Connection, tablet: str, certificate: bytes, not_after: datetime) -> None:
    db.execute("INSERT OR REPLACE INTO certificate VALUES (?, ?, ?)", (certificate, tablet, rfc3339(not_after)))


def keys_of(db: sqlite3.Connection) -> dict[str, Key]:
    """Every registered key, by its thumbprint."""
    found: dict[str, Key] = {}
    sql = (
        "SELECT jwk, badge, name, tablet, since, until, how, registered_at, ended_at, revoked"
        " FROM key ORDER BY registered_at"
    )
    for jwk, badge, name, tablet, since, until, how, registered_at, ended_at, revoked in db.execute(sql):
        public, begins, made = PublicKey.of(json.loads(jwk)), moment(since), moment(registered_at)
        if begins is not None and made is not None:
            ends = moment(until), how, made, moment(ended_at)
            found[public.kid] = Key(public, badge, name, tablet, begins, *ends, bool(revoked))
    return found
