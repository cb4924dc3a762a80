"""Each request of a tablet and its answer. A 2xx is a promise: what it names is held.

    POST /enotes/v1/entries       envelopes, one a line; 200 with a status for each and a signed receipt
    GET  /enotes/v1/receipts      the receipt for a notebook again, its attachments included
    /enotes/v1/attachments        tus; see `attachments`
    POST /enotes/v1/keys          rotation of the key, renewal of the certificate
    POST /enotes/v1/enrol         at the second port alone, without a certificate: an invitation is used

What a refusal means to a tablet: 400, 413, 415 look at what you send (an upload that cannot be split is kept all the
same); 401, 403 ask station IT; 503, 507 nothing was promised, send again; a connection that is closed without an
answer: send again.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import ClientError, hdrs, web

from agent.errors import DeviceError, DeviceGone, SpoolDamaged, SpoolError, SpoolFull
from agent.listening import hang_up
from drivers.enotes.attachments import PATH
from drivers.enotes.authority import name_in
from drivers.enotes.enrolling import NotAllowed
from drivers.enotes.statements import STATEMENT_MAX
from firmware_specs import SpecError
from firmware_specs.formats.enote import BATCH_MAX, Unreadable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from drivers.enotes.attachments import Attachments
    from drivers.enotes.enrolling import Enrolling
    from drivers.enotes.options import EnotesOptions
    from drivers.enotes.receiving import Receiving
    from drivers.enotes.register import Register, Tablet

__all__ = ["Entrance"]

_NDJSON: Final = "application/x-ndjson"
_LATER: Final = {"Retry-After": "5"}
_ANSWERS: Final = (
    (DeviceGone, 503),
    (SpoolFull, 507),
    (SpoolError, 503),
    (DeviceError, 503),
)
_TAKING: Final = 2
"""Uploads of entries that are taken apart at once; others that are here wait."""
_SLOW: Final = 0.5
"""Seconds by which a wrong code is answered later."""
_BODY: Final = 120.0
"""Seconds in which an upload of entries must be here; a slow line sends smaller ones."""
_NOTEBOOK: Final = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SEEN: Final = 15.0
_SEEN_MAX: Final = 10_000


class Entrance:
    """The applications behind both listeners."""

    def __init__(
        self,
        options: EnotesOptions,
        register: Register,
        receiving: Receiving,
        attachments: Attachments,
        enrolling: Enrolling,
    ) -> None:
        self._options, self._register = options, register
        self._receiving, self._attachments, self._enrolling = receiving, attachments, enrolling
        self._log = structlog.get_logger("driver").bind(driver=options.name)
        self._uploading: set[str] = set()
        # What is taken apart costs several times its bytes; one interpreter takes no more than this at once anyway.
        self._taking = asyncio.Semaphore(_TAKING)
        self.seen: dict[str, float] = {}
        """When each tablet was heard of last, by the monotonic clock."""
        self._waiting: dict[str, int] = {}
        """What each tablet was told last that has to wait."""

    def tablets(self) -> web.Application:
        """Return a new application for tablets that show their certificate."""
        app = web.Application()
        app.router.add_post("/enotes/v1/entries", self._with(self._entries))
        app.router.add_get("/enotes/v1/receipts", self._with(self._receipts))
        app.router.add_post("/enotes/v1/keys", self._with(self._keys))
        app.router.add_route("*", PATH, self._with(self._attachment))
        app.router.add_route("*", f"{PATH}/{{upload:[0-9a-f]{{32}}}}", self._with(self._attachment))
        return app

    def invited(self) -> web.Application:
        """Return a new application for tablets that have an invitation and nothing else."""
        app = web.Application()
        app.router.add_post("/enotes/v1/enrol", self._enrol)
        return app

    def present(self) -> list[str]:
        """Tablets that were heard of just now."""
        now = monotonic()
        self.seen = {name: at for name, at in self.seen.items() if now - at < _SEEN}
        return list(self.seen)

    # -- what every request goes through -------------------------------------------------------------------------------

    def _with(
        self, act: Callable[[web.Request, Tablet], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            name = _name(request)
            if name is None:
                return _said(403, "this certificate is none of a tablet", "Enrol the tablet.")
            if len(self.seen) < _SEEN_MAX:
                self.seen[name[0]] = monotonic()
            try:
                answered = await act(request, await self._register.tablet(*name))
            except SpoolDamaged:
                raise  # the listener closes the connection and ends the driver: nothing is promised any more
            except (DeviceError, SpoolError) as error:
                return self._later(request, name[0], error)
            self._waiting.pop(name[0], None)
            return answered

        return answer

    def _later(self, request: web.Request, name: str, error: DeviceError | SpoolError) -> web.Response:
        """Nothing was promised. It is said once for each tablet and reason, until something is taken of it again."""
        if request.transport is None or isinstance(error.__cause__, ClientError | ConnectionError):
            return hang_up(request)  # nobody is there to be answered
        status = next(status for kind, status in _ANSWERS if isinstance(error, kind))
        if self._waiting.get(name) != status and len(self._waiting) < _SEEN_MAX:
            self._waiting[name] = status
            self._log.warning("tablet_told_to_wait", tablet=name, status=status, error=str(error))
        return _said(status, "nothing was promised; send it again", error.what_to_do, _LATER)

    # -- entries -------------------------------------------------------------------------------------------------------

    async def _entries(self, request: web.Request, tablet: Tablet) -> web.Response:
        if request.content_type != _NDJSON:
            return _said(415, f"Content-Type: {_NDJSON} is asked for")
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            return _said(415, "no Content-Encoding: what is hashed is what is sent")
        if tablet.id in self._uploading or len(self._uploading) >= self._options.batches_at_once:
            return _said(503, "another upload is being taken", "Send it again soon.", _LATER)
        self._uploading.add(tablet.id)
        try:
            body = await _read(request, BATCH_MAX)
            if isinstance(body, web.Response):
                return body
            async with self._taking:
                return await self._upload(tablet, body)
        finally:
            self._uploading.discard(tablet.id)

    async def _upload(self, tablet: Tablet, body: bytes) -> web.Response:
        try:
            return web.json_response(await self._receiving.upload(tablet, body))
        except Unreadable as error:
            await self._receiving.unreadable(tablet, body, str(error))
            told = {"error": str(error), "held": True, "received_sha256": sha256(body).hexdigest()}
            return web.json_response(told, status=400)

    async def _receipts(self, request: web.Request, tablet: Tablet) -> web.Response:
        if tablet.revoked or not tablet.known:
            return _said(403, "this tablet is not enrolled, or was given up as lost", "Ask station IT.")
        notebook, first = request.query.get("notebook", ""), request.query.get("from", "1")
        if not _NOTEBOOK.fullmatch(notebook) or not re.fullmatch(r"\d{1,15}", first):
            return _said(400, "notebook=urn:uuid:... and from=SEQ are asked for")
        return web.json_response(await self._receiving.receipts(notebook, int(first)))

    async def _attachment(self, request: web.Request, tablet: Tablet) -> web.Response:
        method = request.headers.get("X-HTTP-Method-Override", request.method).upper()
        return await self._attachments.answer(request, tablet, method)

    # -- keys ----------------------------------------------------------------------------------------------------------

    async def _keys(self, request: web.Request, tablet: Tablet) -> web.Response:
        return await self._stated(request, partial(self._enrolling.rotate, tablet), 200)

    async def _enrol(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._stated(request, self._enrolling.enrol, 201)
        except DeviceGone:
            return hang_up(request)
        except SpoolDamaged:
            raise
        except (DeviceError, SpoolError) as error:
            return _said(503, str(error), error.what_to_do, _LATER)

    async def _stated(
        self, request: web.Request, act: Callable[[bytes], Awaitable[dict[str, Any]]], status: int
    ) -> web.Response:
        """Do what a tablet says of its keys, where it may say it."""
        body = await _read(request, STATEMENT_MAX)
        if isinstance(body, web.Response):
            return body
        try:
            return web.json_response(await act(body), status=status)
        except SpecError as error:
            return _said(400, str(error))
        except NotAllowed:
            self._log.warning(
                "statement_not_allowed", peer=request.remote, todo="Make a new invitation, if it was yours."
            )
            await asyncio.sleep(_SLOW)
            return _said(403, "no such invitation, or it was used or is over; or a foreign key", "Ask for a new one.")


def _name(request: web.Request) -> tuple[str, bytes] | None:
    """What the certificate of a connection calls its holder, and the certificate's digest; None: it is no tablet's."""
    tls = None if request.transport is None else request.transport.get_extra_info("ssl_object")
    certificate = None if tls is None else tls.getpeercert(binary_form=True)
    if not certificate or (name := name_in(certificate)) is None:
        return None
    return name, sha256(certificate).digest()


async def _read(request: web.Request, most: int) -> bytes | web.Response:
    """All of the body; an answer where it is too long, or too slow. Raises `DeviceGone` where it breaks off."""
    if (request.content_length or 0) <= most:
        try:
            async with asyncio.timeout(_BODY):
                body = await _body(request, most)
        except TimeoutError:
            return _said(408, "it came too slowly", "Send less at once.")
        if body is not None:
            return body
    return _said(413, f"at most {most} bytes at once", "Send less at once.")


async def _body(request: web.Request, most: int) -> bytes | None:
    """All of it; None where it is longer. Raises `DeviceGone` where it breaks off."""
    found = bytearray()
    try:
        while part := await request.content.readany():
            found += part
            if len(found) > most:
                return None
    except (ClientError, ConnectionError) as error:
        raise DeviceGone("the tablet went away", hint="Nothing to do: it sends again.") from error
    return bytes(found)


def _said(status: int, sentence: str, todo: str | None = None, more: dict[str, str] | None = None) -> web.Response:
    told: dict[str, Any] = {"error": sentence}
    if todo is not None:
        told["todo"] = todo
    return web.json_response(told, status=status, headers=more)
