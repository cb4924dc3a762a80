"""Requests from this station: each is answered from the journal's views, the live picture, or by an act of a person."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import web

from agent.driver import TakesOrders
from agent.errors import AgentError, JournalFull, Refusal
from agent.journal import Event
from agent.station import acts, assigning, views
from agent.station.dossiers import UNSAID, exported
from agent.station.live import room_view
from agent.station.peers import GROUP, Peer, peer_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.capture import Json
    from agent.journal import Journal
    from agent.station.live import Live
    from agent.station.running import Running
    from agent.station.views import View

__all__ = ["Routes", "translated"]

_LEAVES: Final = 256
"""Leaves that are read at one go: what comes in between waits for these only."""
_STATUS_OF_REFUSAL: Final = 409
_log = structlog.get_logger("station")


@web.middleware
async def translated(request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401 - aiohttp's handler
    """Turn our errors into JSON that says whose side failed, so that the command line can raise them again."""
    try:
        answer: web.StreamResponse = await handler(request)
    except AgentError as error:
        told = {"kind": type(error).__name__, "message": str(error), "todo": error.what_to_do}
        return _json({"error": told}, status=_STATUS_OF_REFUSAL if isinstance(error, Refusal) else 503)
    return answer


class Routes:
    """Handlers over one running daemon. `add_looks` and `add_acts` put them in place apart from each other."""

    def __init__(self, running: Running, live: Live, *, group: str = GROUP) -> None:
        self._running, self._live, self._group = running, live, group

    def add_looks(self, app: web.Application) -> None:
        """What changes nothing."""
        app.router.add_get("/status", self._status)
        app.router.add_get("/devices", self._devices)
        app.router.add_get("/bays", self._bays)
        app.router.add_get("/captures", self._captures)
        app.router.add_get("/captures/{capture}", self._capture)
        app.router.add_get("/journal/head", self._head)
        app.router.add_get("/journal/entries", self._entries)
        app.router.add_get("/journal/leaves", self._leaves)
        app.router.add_get("/journal/verify", self._verify)
        app.router.add_get("/assignments", self._assigned)
        app.router.add_get("/spool/room", self._room)
        app.router.add_get("/spool/expected", self._expected)
        app.router.add_post("/spool/keepers", self._keepers)

    def refuse_acts(self, app: web.Application) -> None:
        """The daemon waits for room before it begins: what is ordered cannot be written down."""
        app.router.add_route("POST", "/{act:.*}", self._no_act)

    def add_acts(self, app: web.Application) -> None:
        """What a person orders."""
        app.router.add_post("/captures/{capture}/{verb}", self._act)
        app.router.add_post("/assignments", self._assign)
        app.router.add_post("/drill", self._drill)
        app.router.add_post("/journal/dossiers", self._dossiers)
        app.router.add_post("/custody/rotate", self._rotate)
        app.router.add_post("/drivers/{driver}/{word}", self._order)

    # -- looks --------------------------------------------------------------------------------------------------------

    async def _status(self, _: web.Request) -> web.Response:
        return _json(await self._live.status())

    async def _devices(self, _: web.Request) -> web.Response:
        known = await self._running.desk.read(views.devices)
        return _json({**known, "here": self._live.devices()})

    async def _bays(self, _: web.Request) -> web.Response:
        room = await self._running.spool.run(self._running.spool.room)
        return _json(self._live.bays({}, no_room=not room.usable))

    async def _captures(self, request: web.Request) -> web.Response:
        query = request.query
        before = _number(query.get("before"))
        wanted = {name: query.get(name) for name in views.WANTED}
        limit = _number(query.get("limit"))
        return _json(
            await self._running.desk.read(
                lambda journal: views.captures(
                    journal,
                    drills=query.get("drills") == "true",
                    limit=100 if limit is None else limit,
                    before=before,
                    **wanted,
                )
            )
        )

    async def _capture(self, request: web.Request) -> web.Response:
        name = request.match_info["capture"]
        return _json(await self._running.desk.read(lambda journal: views.capture(journal, name)))

    async def _assigned(self, request: web.Request) -> web.Response:
        names = request.query.getall("name", [])
        return _json(
            await self._running.desk.read(
                lambda journal: assigning.assigned(journal, self._running.joining.options, names)
            )
        )

    async def _head(self, _: web.Request) -> web.Response:
        return _json(await self._running.desk.read(views.head))

    async def _entries(self, request: web.Request) -> web.Response:
        first, limit = _number(request.query.get("first")), _number(request.query.get("limit"))
        return _json(
            await self._running.desk.read(
                lambda journal: views.entries(journal, first=first, limit=20 if limit is None else limit)
            )
        )

    async def _leaves(self, request: web.Request) -> web.StreamResponse:
        """Every leaf, byte for byte, one a line: canonical JSON holds no line break."""
        desk = self._running.desk
        size: int = await desk.read(lambda journal: journal.leaves.size)
        answer = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await answer.prepare(request)
        for first in range(0, size, _LEAVES):
            await answer.write(await desk.read(partial(views.leaves, first=first, end=min(size, first + _LEAVES))))
        await answer.write_eof()
        return answer

    async def _verify(self, request: web.Request) -> web.StreamResponse:
        """Progress as JSON lines, the report as the last; in small steps, so that taking and sending go on."""
        from agent.journal.verify import Verification  # noqa: PLC0415

        desk = self._running.desk
        work = await desk.read(Verification)
        answer = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await answer.prepare(request)
        while not work.done:
            await desk.read(work.step)
            await answer.write(_line({"done": work.seen, "of": work.total}))
        await answer.write(_line({"report": work.report().told()}))
        await answer.write_eof()
        return answer

    async def _dossiers(self, request: web.Request) -> web.Response:
        actor, asked = await self._actor(request), await _body(request)
        if not isinstance(asked, dict) or not isinstance(asked.get("captures"), list):
            raise Refusal('dossiers are asked for with {"captures": [...], "why": "..."}')
        names, why = [str(name) for name in asked["captures"]], str(asked.get("why") or UNSAID)
        told = await self._running.desk.write(
            lambda journal: exported(journal, names, actor=actor, why=why), waits=False
        )
        _log.info("export", captures=len(told["captures"]), actor=actor, why=why)
        return _json(told)

    async def _room(self, _: web.Request) -> web.Response:
        forecast = await self._live.forecast()
        return _json(room_view(await self._running.spool.run(self._running.spool.room), forecast))

    async def _expected(self, request: web.Request) -> web.Response:
        after = _number(request.query.get("after")) or 0
        return _json(await self._running.desk.read(lambda journal: views.expected(journal, after)))

    async def _keepers(self, request: web.Request) -> web.Response:
        names = await _body(request)
        return _json(await self._running.desk.read(lambda journal: views.keepers(journal, names)))

    async def _no_act(self, _: web.Request) -> web.Response:
        raise self._running.desk.full or JournalFull("the daemon is not ready yet", hint="Do it again in a moment.")

    # -- acts ---------------------------------------------------------------------------------------------------------

    async def _act(self, request: web.Request) -> web.Response:
        actor, asked = await self._actor(request), await _body(request)
        if not isinstance(asked, dict):
            raise Refusal('an act is asked for with {"why": "..."}')
        verb, beginning = request.match_info["verb"], request.match_info["capture"]
        why, priority = str(asked.get("why") or ""), asked.get("priority")

        def do(journal: Journal) -> View:
            return views.describe(
                acts.act(
                    journal, verb, beginning, actor=actor, why=why, priority=None if priority is None else str(priority)
                )
            )

        done = await self._running.desk.write(do, waits=False)
        _log.info("act", verb=verb, capture=done["id"], actor=actor, why=why)
        for forward in self._running.forwards:
            forward.forgive(done["id"]) if verb == "retry" else forward.nudge()
        return _json({"capture": done})

    async def _assign(self, request: web.Request) -> web.Response:
        actor, asked, joining = await self._actor(request), await _body(request), self._running.joining
        seen = {name for one in self._running.devices.values() for name in (one.device.id, one.device.serial) if name}
        told = await self._running.desk.write(
            lambda journal: assigning.write(journal, joining.options, asked, actor=actor, seen=seen), waits=False
        )
        joining.nudge()
        _log.info("assigned", assignments=len(told["assignments"]), actor=actor, why=acts.said(str(asked["why"])))
        return _json(told)

    async def _rotate(self, request: web.Request) -> web.Response:
        actor, asked = await self._actor(request), await _body(request)
        if not isinstance(asked, dict):
            raise Refusal('a change of the key is asked for with {"why": "...", "finish": false}')
        why, finish = acts.said(str(asked.get("why") or "")), asked.get("finish") is True
        told = await self._running.rotate(finish=finish, actor=actor, why=why)
        _log.warning("key_changed", finished=finish, actor=actor, why=why, **told)
        return _json(told)

    async def _order(self, request: web.Request) -> web.Response:
        """What a person says to a driver; the driver says what of it stands in the custody log."""
        actor, asked = await self._actor(request), await _body(request)
        if not isinstance(asked, dict) or not isinstance(arguments := asked.get("arguments"), dict):
            raise Refusal('a driver is told something with {"arguments": {...}}')
        name, word = request.match_info["driver"], request.match_info["word"]
        driver = next((one.driver for one in self._running.equipment.drivers if one.options.name == name), None)
        if not isinstance(driver, TakesOrders):
            what = "takes no orders" if driver is not None else "is not in agent.toml"
            raise Refusal(f"the driver {name} {what}", hint="List them: evidock driver list.")

        async def record(detail: Mapping[str, Json]) -> None:
            told: dict[str, Json] = {"order": {"detail": dict(detail), "driver": name, "word": word}}
            await self._running.desk.write(
                lambda journal: journal.record(Event.DRIVER_ORDERED, told, actor=actor), waits=False
            )
            _log.info("ordered", driver=name, word=word, actor=actor)

        return _json({"told": await driver.order(word, arguments, actor=actor, record=record)})

    async def _actor(self, request: web.Request) -> str:
        """Who asks, as it stands in the journal. `Refusal` for those who may only look."""
        peer = _peer(request)
        if not await asyncio.to_thread(peer.may_act, self._group):
            raise Refusal(
                f"only root and members of the group {self._group} may do that",
                hint=f"Nothing was changed. Ask for membership in the group {self._group}.",
            )
        return await asyncio.to_thread(lambda: peer.actor)

    async def _drill(self, request: web.Request) -> web.StreamResponse:
        """Each step as a JSON line when it is done, the report as the last."""
        actor, asked = await self._actor(request), await _body(request)
        if not isinstance(asked, dict):
            raise Refusal('a drill is asked for with {"length": 1048576, "patience": 120}')
        if (full := self._running.desk.full) is not None:
            raise full
        length, patience = _number(str(asked.get("length", 1 << 20))), _number(str(asked.get("patience", 120)))
        steps = self._running.drill.run(length=length or 0, patience=float(patience or 0), actor=actor)
        first = await anext(steps)  # what is refused is refused with a status
        answer = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await answer.prepare(request)
        with suppress(ConnectionError):
            await answer.write(_line(first))
        async for step in steps:  # to its end, and its entry, even where whoever asked is gone
            with suppress(ConnectionError):
                await answer.write(_line(step))
        with suppress(ConnectionError):
            await answer.write_eof()
        return answer


def _peer(request: web.Request) -> Peer:
    connection = None if request.transport is None else request.transport.get_extra_info("socket")
    if connection is None:
        raise Refusal("nobody knows who asks")
    return peer_of(connection)


async def _body(request: web.Request) -> Any:  # noqa: ANN401 - any JSON; each reader says what it wants
    try:
        return await request.json()
    except ValueError as error:
        raise Refusal("what was sent is not JSON") from error


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 16):  # noqa: PLR2004 - 2^53 has 16 digits
        raise Refusal(f"{text!r} is not a number")
    return int(text)


def _line(told: View) -> bytes:
    return json.dumps(told).encode() + b"\n"


def _json(told: View, status: int = 200) -> web.Response:
    return web.json_response(told, status=status)
