"""The status service: the dock's screen, JSON, events, metrics, health. It looks, and can do nothing."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Final, Self

import structlog
from aiohttp import web

from agent.errors import AgentError
from agent.station.door import Door, Token, hosts, tls_context
from agent.station.leads import PLACE, Asked, leads, picture
from agent.station.metrics import metrics
from agent.station.news import News
from agent.station.pages import POLICY, pages
from agent.station.screen import Screen

if TYPE_CHECKING:
    from agent.config import StatusConfig
    from agent.station.door import Answer
    from agent.station.live import Live
    from agent.station.running import Running
    from agent.station.views import View

__all__ = ["EVENTS", "HEADERS", "StatusService", "check_status"]

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Server": "Evidock",
}

EVENTS: Final = "/v1/events"

_log = structlog.get_logger("station")
_ANSWERS_WITHIN: Final = 5.0
_METHODS: Final = ("GET", "HEAD")
_UNAUTHORISED: Final = {"WWW-Authenticate": 'Basic realm="evidock", charset="UTF-8"'}


def check_status(config: StatusConfig) -> None:
    """Raise `ConfigError` where a file that the table names cannot be used."""
    pages(config.language_folder)
    tls_context(config)
    if config.token_file is not None:
        Token(config.token_file)


class StatusService:
    """Serves for as long as the block lasts. Its paths are a table: what does not stand in it is not there."""

    def __init__(self, running: Running, live: Live, config: StatusConfig) -> None:
        self._running = running
        self._screen = Screen(running, live, config.roster_file)
        self._pages = pages(config.language_folder)
        document = self._pages["/openapi.json"]
        self._pages["/openapi.json"] = document._replace(content=_asking(document.content, config))
        self._token = None if config.token_file is None else Token(config.token_file)
        # Without a secret the name in the request is all that tells a page of ours from one of a stranger.
        open_to_all = self._token is None and config.client_ca_file is None
        self._hosts = hosts(config) if open_to_all else None
        self._news = News(self._screen.picture, HEADERS)
        self._door = Door(config, self._answer)
        self._stack = AsyncExitStack()
        self._looks = {
            "/v1/status": self._status,
            "/v1/bays": self._bays,
            PLACE: self._leads,
            "/metrics": self._metrics,
            "/health": self._health,
            "/ready": self._ready,
        }

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._door)
            telling = asyncio.create_task(self._news.run())
            stack.push_async_callback(_ended, telling)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # -- one request --------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> Answer:
        path = request.rel_url.raw_path
        response = self._refusal(request, path)
        if response is None:
            if path == EVENTS:
                return self._news.stream
            response = await self._found(request, path)
        response.headers.extend({name: text for name, text in HEADERS.items() if name not in response.headers})
        return response

    def _refusal(self, request: web.BaseRequest, path: str) -> web.Response | None:
        """Why not, in the order in which it matters: who asks, what, and how."""
        if self._hosts is not None and _host(request.headers.get("Host", "")) not in self._hosts:
            return _problem(421, "this station has another name")
        if self._token is not None and not self._token.admits(request.headers.get("Authorization")):
            return _problem(401, "the token is asked for: as a bearer token, or as password", _UNAUTHORISED)
        if path not in self._pages and path not in self._looks and path != EVENTS and Asked.of(path) is None:
            return _problem(404, "there is nothing here; /openapi.json lists what there is")
        if request.method not in _METHODS:
            return _problem(405, "this service can only be looked at", {"Allow": ", ".join(_METHODS)})
        if path == EVENTS and self._news.full:
            return _problem(503, "there are too many listeners", {"Retry-After": "10"})
        return None

    async def _found(self, request: web.BaseRequest, path: str) -> web.Response:
        if (page := self._pages.get(path)) is not None:
            return web.Response(body=page.content, content_type=page.media_type, charset="utf-8")
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN):
                if (asked := Asked.of(path)) is not None:
                    return self._picture(asked)
                return await self._looks[path](request)
        except (AgentError, TimeoutError) as error:
            return _problem(503, str(error) or f"the agent did not answer within {_ANSWERS_WITHIN:.0f} s")
        except Exception:  # noqa: BLE001 - whatever a driver does when it is asked, it is the asker's trouble alone
            _log.error("status_failed", path=path, exc_info=True)
            return _problem(500, "a fault of the agent; its journal of the system tells more")

    # -- what there is ------------------------------------------------------------------------------------------------

    async def _status(self, _: web.BaseRequest) -> web.Response:
        return _json(await self._screen.status())

    async def _bays(self, _: web.BaseRequest) -> web.Response:
        return _json(await self._screen.bays())

    async def _leads(self, _: web.BaseRequest) -> web.Response:
        return _json({"leads": leads(self._running.equipment.drivers)})

    def _picture(self, asked: Asked) -> web.Response:
        found = picture(self._running.equipment.drivers, asked)
        if found is None:
            return _problem(404, "there is no such picture any more")
        return web.Response(body=found[0], content_type=found[1])

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        counts = {
            "taken_bytes": self._running.ingest.read.total(),
            "listeners": self._news.listeners,
            "listeners_dropped": self._news.dropped,
            "connections_refused": self._door.turned_away,
        }
        text, kind = metrics(await self._screen.picture(), counts, request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": kind})

    async def _health(self, _: web.BaseRequest) -> web.Response:
        """Does it live? The event loop turns, for this is an answer; and so does the journal."""
        await self._running.desk.read(lambda _: None)
        return _json({"ok": True})

    async def _ready(self, _: web.BaseRequest) -> web.Response:
        """Can it take? The journal answers, and the spool has room."""
        await self._running.desk.read(lambda _: None)
        if (full := self._running.desk.full) is not None:
            return _problem(503, f"nothing is taken: {full}")
        room = await self._running.spool.run(self._running.spool.room)
        if not room.usable:
            return _problem(503, "the spool has no room above the watermark: nothing is taken")
        return _json({"ok": True})


def _asking(document: bytes, config: StatusConfig) -> bytes:
    """The OpenAPI document with what this station asks of whoever looks."""
    told = json.loads(document)
    certificate: View = {} if config.client_ca_file is None else {"certificate": []}
    ways: list[View] = [{}] if config.token_file is None else [{"bearer": []}, {"basic": []}]
    told["security"] = [{**way, **certificate} for way in ways]
    return json.dumps(told).encode()


def _host(field: str) -> str:
    """The name in a Host field, without its port."""
    name, colon, port = field.rpartition(":")
    return (name if colon and port.isdigit() else field).lower()


def _json(told: View) -> web.Response:
    return web.json_response(told)


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """RFC 9457."""
    text = json.dumps({"status": status, "detail": detail})
    return web.Response(status=status, text=text, content_type="application/problem+json", headers=headers)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
