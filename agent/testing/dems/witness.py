"""The emulated DEMS as a witness (c2sp.org/tlog-witness): it remembers how large each log was, and cosigns what grew.

A real witness is told by its administrator which logs it watches. This one may also take the key of a log that it
never saw from the header `Evidock-Log-Key` of its first request, and then keeps to it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aiohttp import web

from agent.anchor import keys
from agent.anchor.link import LOG_KEY
from agent.custody.checkpoint import Checkpoint
from agent.custody.witness import NOTHING_SEEN, Head, Request, judge
from agent.note import COSIGNATURE, BadNote, Note, Verifier

if TYPE_CHECKING:
    from pathlib import Path

    from agent.testing.dems.uploads import Store

__all__ = ["ADD_CHECKPOINT", "LAST_CHECKPOINT", "LOGS", "Witness"]

ADD_CHECKPOINT: Final = "/add-checkpoint"
"""The submission prefix is the DEMS's address itself."""
LAST_CHECKPOINT: Final = "/last-checkpoint"
LOGS: Final = "/logs"
"""For the administrator, who here is whoever asks."""


class Witness:
    """A witness's key in a file, made when it is missing, and its memory in the database of the DEMS."""

    def __init__(self, store: Store, name: str, key_file: Path, *, enrol: bool) -> None:
        if not key_file.exists():
            keys.make_key(key_file, name, kind=COSIGNATURE)
        self._cosigner = keys.load_key(key_file, name, kind=COSIGNATURE)
        self._store, self._enrol = store, enrol
        self._turn = asyncio.Lock()
        self.asked = 0
        """Requests that came."""

    @property
    def vkey(self) -> str:
        """The public half."""
        return self._cosigner.vkey

    def add_routes(self, app: web.Application) -> None:
        """Put the resource in place."""
        app.router.add_post(ADD_CHECKPOINT, self._answer)
        app.router.add_get(LAST_CHECKPOINT, self._last)
        app.router.add_post(LOGS, self._enrolled)

    async def watch(self, vkey: str) -> None:
        """Watch a log by its key; `BadNote` where that is none."""
        log = Verifier.parse(vkey)
        await self._store.record.commit(("INSERT INTO logs VALUES (?, ?) ON CONFLICT DO NOTHING", (log.name, vkey)))

    def head(self, origin: str) -> Head:
        """What was cosigned last."""
        found = self._store.record.rows("SELECT size, root FROM heads WHERE origin = ?", origin)
        return Head(int(str(found[0][0])), bytes(found[0][1])) if found else NOTHING_SEEN  # type: ignore[arg-type]

    def watched(self, origin: str) -> list[Verifier]:
        """The keys of a log."""
        found = self._store.record.rows("SELECT vkey FROM logs WHERE origin = ?", origin)
        return [Verifier.parse(str(row[0])) for row in found]

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked += 1
        async with self._turn:  # reading what was seen and keeping what was cosigned is one step
            origin = _origin(body)
            if origin is not None and self._enrol and not self.watched(origin):
                await self._take_key(origin, request.headers.get(LOG_KEY, ""))
            logs = {} if origin is None else {origin: self.watched(origin)}
            seen = {} if origin is None else {origin: self.head(origin)}
            now = datetime.fromtimestamp(self._store.clock(), UTC)
            answer = judge(body, logs, seen, self._cosigner, now)
            if answer.head is not None:
                sql = "INSERT OR REPLACE INTO heads VALUES (?, ?, ?)"
                kept = Request.parse(body).checkpoint + answer.body
                await self._store.record.commit(
                    (sql, (answer.origin, answer.head.size, answer.head.root)),
                    ("INSERT OR REPLACE INTO cosigned VALUES (?, ?)", (answer.origin, kept)),
                )
        return web.Response(status=answer.status, body=answer.body, headers={"Content-Type": answer.content_type})

    async def _last(self, request: web.Request) -> web.Response:
        """The last checkpoint of a log that was cosigned: what a station quotes that has lost its state."""
        found = self._store.record.rows("SELECT note FROM cosigned WHERE origin = ?", request.query.get("origin", ""))
        if not found:
            return web.Response(status=404)
        return web.Response(body=bytes(found[0][0]), content_type="text/plain", charset="utf-8")  # type: ignore[arg-type]

    async def _enrolled(self, request: web.Request) -> web.Response:
        """An administrator names another key of a log, by its public key alone."""
        try:
            await self.watch((await request.text()).strip())
        except BadNote:
            return web.Response(status=400)
        return web.Response(status=204)

    async def _take_key(self, origin: str, vkey: str) -> None:
        try:
            if Verifier.parse(vkey).name == origin:
                await self.watch(vkey)
        except BadNote:
            return  # then the log stays unknown: 404


def _origin(body: bytes) -> str | None:
    try:
        return Checkpoint.parse(Note.parse(Request.parse(body).checkpoint).text).origin
    except BadNote:
        return None
