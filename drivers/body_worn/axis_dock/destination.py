"""Each request of a system controller and its answer: a small part of OpenStack Swift 1.0.

A 2xx is a promise. To an object it is given when `take` returned; to metadata when the shelf has it on the disk; to
`Status: Complete` when the description of the whole recording is held too.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import structlog
from aiohttp import hdrs, web

from agent.capture import printable
from agent.errors import DeviceError, DeviceGone, SpoolDamaged, SpoolError, SpoolFull
from agent.listening import admit, hang_up
from drivers.body_worn.axis_dock.body import Body, WrongEtag
from drivers.body_worn.axis_dock.offers import key_of
from drivers.body_worn.axis_dock.receiving import REMEMBER, OtherBytes, Receiving
from drivers.body_worn.axis_dock.shelf import Thing
from firmware_specs.formats.axis_body_worn import (
    CAPABILITIES,
    COMPLETE,
    CONTAINER,
    OBJECT,
    Kind,
    categories,
    kind_of,
    metadata,
    metadata_headers,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from drivers.body_worn.axis_dock.options import AxisOptions
    from drivers.body_worn.axis_dock.tokens import Tokens

__all__ = ["AUTH", "STORE", "Destination"]

AUTH: Final = "/auth/v1.0"
STORE: Final = "/v1/evidock"

_META_MAX: Final = 16 * 1024
"""Characters of one container's or object's metadata."""
_SUFFIX_MAX: Final = 64
"""Characters that we may add to a key."""
_WAIT: Final = {"Retry-After": "30"}
_LATER: Final = (503, 507)
_LOOKS: Final = (hdrs.METH_GET, hdrs.METH_HEAD)
_ANSWERS: Final = (
    (WrongEtag, 422),
    (OtherBytes, 503),
    (DeviceGone, None),  # nobody is there to be answered
    (SpoolFull, 507),
    (SpoolError, 503),
    (DeviceError, 500),
)
"""What went wrong, and the status that makes a controller do what is right then; see the package's own page."""
_SLOW: Final = 0.5
"""Seconds by which a wrong password is answered later."""


class Destination:
    """The application behind the listener."""

    def __init__(self, options: AxisOptions, tokens: Tokens, receiving: Receiving) -> None:
        self._options, self._tokens, self._receiving = options, tokens, receiving
        self._shelf = receiving.shelf
        self._log = structlog.get_logger("driver").bind(driver=options.name)
        self._read = {
            "Capabilities.json": CAPABILITIES,
            "Categories.json": categories(options.categories),
        }
        self._uploads = 0

    def application(self) -> web.Application:
        """Return a new application; each start of the listener needs one."""
        app = web.Application()
        admit(app, self._answer, self._refusal)
        return app

    # -- what every request goes through -------------------------------------------------------------------------------

    async def _refusal(self, request: web.Request) -> web.Response | None:
        if request.path == AUTH:
            return None
        if not self._tokens.good(request.headers.get("X-Auth-Token", "")):
            return _said(401, "Unauthorized")
        if request.method == hdrs.METH_PUT and self._uploads >= self._options.uploads:
            return _said(503, "Too many uploads at once", _WAIT)
        return None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            if request.path == AUTH:
                return await self._authenticate(request)
            return await self._store(request)
        except SpoolDamaged:
            raise  # the listener closes the connection and ends the driver, as with JournalError: nothing is promised
        except (DeviceError, SpoolError) as error:
            status = next(status for kind, status in _ANSWERS if isinstance(error, kind))
            told = {"path": printable(request.path), "status": status, "error": str(error), "todo": error.what_to_do}
            self._log.warning("not_taken", **told)
            if status is None:
                return hang_up(request)
            return _said(status, "Not stored", _WAIT if status in _LATER else None)

    async def _authenticate(self, request: web.Request) -> web.Response:
        if request.method != hdrs.METH_GET:
            return _said(400, "Bad Request")
        token = self._tokens.give(request.headers.get("X-Auth-User", ""), request.headers.get("X-Auth-Key", ""))
        if token is None:
            self._log.warning("wrong_password", peer=request.remote, todo="Import the connection file again.")
            await asyncio.sleep(_SLOW)
            return _said(401, "Unauthorized")
        storage = f"{request.scheme}://{request.host}{STORE}"
        return web.Response(headers={"X-Auth-Token": token, "X-Storage-Token": token, "X-Storage-Url": storage})

    async def _store(self, request: web.Request) -> web.StreamResponse:
        names = _names(request.rel_url.raw_path)
        if names is None:
            return _said(400, "Bad Request")
        container, name = names
        if container is None:  # the account itself: some Swift clients ask whether it is there
            return web.Response(status=204) if request.method == hdrs.METH_HEAD else _said(403, "Operation forbidden")
        level = CONTAINER if name is None else OBJECT
        ours, theirs = metadata(request.headers.items())[:: 1 if level == CONTAINER else -1]
        meta = {**theirs, **ours}  # either prefix on either level: the vendor's own tests do so
        if sum(len(key) + len(value) for key, value in meta.items()) > _META_MAX:
            return _said(400, "Too much metadata")
        method = "look" if request.method in _LOOKS else request.method
        act = {
            ("look", CONTAINER): lambda: self._look(request, container, None),
            ("look", OBJECT): lambda: self._look(request, container, name),
            ("PUT", CONTAINER): lambda: self._put_container(container, meta),
            ("POST", CONTAINER): lambda: self._post_container(container, meta),
            ("PUT", OBJECT): lambda: self._put_object(request, container, name or "", meta),
            ("POST", OBJECT): lambda: self._post_object(container, name or "", meta),
        }.get((method, level))
        return _said(400, "Bad Request") if act is None else await act()

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _look(self, request: web.Request, container: str, name: str | None) -> web.Response:
        head = request.method == hdrs.METH_HEAD
        if container == "System" and name in self._read:
            body = self._read[name]
            etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
            return web.Response(body=body, content_type="application/json", headers={"Etag": etag})
        if not head:
            return _said(403, "Operation forbidden")  # evidence is given to the DEMS and to nobody else
        known = await self._shelf.container(container)
        if known is None:
            return _said(404, "Not Found")
        if name is None:
            return web.Response(headers=metadata_headers(CONTAINER, known.meta))
        thing = await self._shelf.newest(container, name)
        if thing is None or not (thing.held or thing.length is None):
            return _said(404, "Not Found")
        told = metadata_headers(OBJECT, thing.meta)
        if thing.length is not None and thing.md5 is not None:
            told |= {"Content-Length": str(thing.length), "Etag": thing.md5}
            told |= {"X-Timestamp": f"{thing.heard_at:.5f}", "Accept-Ranges": "none"}
        return web.Response(headers=told, content_type="application/octet-stream")

    # -- containers ----------------------------------------------------------------------------------------------------

    async def _put_container(self, name: str, meta: dict[str, str]) -> web.Response:
        async with self._receiving.alone(name):
            known = await self._shelf.container(name)
            if known is None:
                await self._receiving.begin(name, _merged({}, meta))
                # Two of these are there from the beginning, as what can be read of `System` is.
                return web.Response(status=202 if name == "System" else 201)
            await self._receiving.say(known, _merged(known.meta, meta))
        return web.Response(status=202)

    async def _post_container(self, name: str, meta: dict[str, str]) -> web.Response:
        async with self._receiving.alone(name):
            known = await self._shelf.container(name)
            if known is None:
                return _said(404, "Not Found")
            complete = meta.get("Status", "").lower() == COMPLETE
            await self._receiving.say(known, _merged(known.meta, meta), complete=complete)
        return web.Response(status=204)

    # -- objects -------------------------------------------------------------------------------------------------------

    async def _put_object(self, request: web.Request, name: str, thing: str, meta: dict[str, str]) -> web.Response:
        known = await self._shelf.container(name)
        if known is None:
            return _said(404, "Not Found")
        body = Body(request, remember=REMEMBER if kind_of(thing)[0] is Kind.TRAIL else 0)
        async with self._counted():
            await self._receiving.receive(known, Thing(name, thing, meta=_merged({}, meta)), body)
        return web.Response(status=201, headers={"Etag": body.md5})

    async def _post_object(self, name: str, thing: str, meta: dict[str, str]) -> web.Response:
        async with self._receiving.alone(name):
            known, found = await self._shelf.container(name), await self._shelf.newest(name, thing)
            if known is None or found is None:
                return _said(404, "Not Found")
            found.meta = _merged({}, meta)  # a POST replaces all that was said of an object before
            await self._receiving.rename(known, found)
        return web.Response(status=202)

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1


def _names(raw_path: str) -> tuple[str | None, str | None] | None:
    """(container, object) of a path below the store; None where that is no name that could be kept."""
    if raw_path.rstrip("/") == STORE:
        return None, None
    if not raw_path.startswith(STORE + "/"):
        return None
    first, _, rest = raw_path[len(STORE) + 1 :].partition("/")
    try:
        container, name = (unquote_to_bytes(part).decode() for part in (first, rest))
    except UnicodeDecodeError:
        return None
    if not container or key_of(container, name or None, suffix="." * _SUFFIX_MAX) is None:
        return None
    return container, name or None


def _merged(before: dict[str, str], said: dict[str, str]) -> dict[str, str]:
    """What is said now replaces what was said before; an empty value takes it away."""
    return {key: value for key, value in {**before, **said}.items() if value}


def _said(status: int, sentence: str, headers: dict[str, Any] | None = None) -> web.Response:
    return web.Response(status=status, text=sentence + "\n", headers=headers)
