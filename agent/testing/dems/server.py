"""The tus side of an emulated DEMS: each request is checked as the protocol demands, before a byte of it is believed.

Order of the checks: fault, version (412), the upload (404, 410), its lock (423), offset (409), length (413), media type
(415), checksum (400); only then is a body asked for (`100 Continue`) and read.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from agent.testing.dems import bundles, wire
from agent.testing.dems.bundles import Bundles
from agent.testing.dems.claims import read_claims
from agent.testing.dems.handling import answered, check_place, go_on, go_wrong, locked, no_hurry
from agent.testing.dems.inflow import Body
from agent.testing.dems.uploads import State
from agent.testing.dems.wire import RefusedRequest

if TYPE_CHECKING:
    from agent.testing.dems.claims import Claims
    from agent.testing.dems.core import Core
    from agent.testing.dems.faults import Fault
    from agent.testing.dems.uploads import Door, Upload

__all__ = ["CREATION_PATH", "TusServer"]

CREATION_PATH: Final = "/evidence/"
_METHODS: Final = ("OPTIONS", "POST", "HEAD", "GET", "PATCH", "DELETE")
_DRILL: Final = "application/vnd.evidock.drill"
"""Media type of what a station sends to try itself."""
_DRILL_MAX: Final = 256 << 20


class TusServer:
    """Answers at the creation URL and at the URLs of uploads."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._store = core.store
        self._creating: set[str] = set()
        self._bundles = Bundles(core, self._creating)

    def add_routes(self, app: web.Application) -> None:
        """Put the two resources in place."""
        # Some clients take the last slash off the creation URL that they were given.
        for path in (CREATION_PATH, CREATION_PATH.rstrip("/"), CREATION_PATH + "{token}"):
            app.router.add_route("*", path, self._answer, expect_handler=no_hurry)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        method = request.headers.get("X-HTTP-Method-Override", request.method).upper()
        response = await answered(self._core, request, method, self._serve, RefusedRequest.answer)
        response.headers["Tus-Resumable"] = wire.VERSION
        return response

    async def _serve(self, request: web.Request, method: str, fault: Fault | None) -> web.Response:
        token = request.match_info.get("token")
        if method not in _METHODS or (method != "OPTIONS" and (method == "POST") != (token is None)):
            raise RefusedRequest(405, f"{method} is not answered here.", {"Allow": ", ".join(_METHODS)})
        door = None if token is None else self._store.door(token)
        await go_wrong(self._core, fault, door)
        if method == "OPTIONS":
            return web.Response(status=204, headers=self._abilities())
        if method != "GET" and request.headers.get("Tus-Resumable") != wire.VERSION:
            raise RefusedRequest(412, f"Tus-Resumable must be {wire.VERSION}.", {"Tus-Version": wire.VERSION})
        if method == "POST":
            return await self._create(request, fault)
        if door is None:
            raise RefusedRequest(404, "There is no such upload.", {"Cache-Control": "no-store"})
        await self._core.expire_if_late(door.upload)
        if door.upload.state not in (State.OPEN, State.STORED):
            raise RefusedRequest(410, f"This upload is {door.upload.state}.", {"Cache-Control": "no-store"})
        if method == "HEAD":
            return await self._head(request, door)
        if method == "GET":
            return await self._get(door)
        if method == "PATCH":
            return await self._patch(request, door, fault)
        return await self._delete(door)

    def _abilities(self) -> dict[str, str]:
        options = self._core.options
        extensions = ["creation", "creation-with-upload", "expiration", "termination"]
        headers = {"Tus-Version": wire.VERSION, "Tus-Max-Size": str(options.max_size)}
        if options.checksums:
            extensions.insert(2, "checksum")
            headers["Tus-Checksum-Algorithm"] = ",".join(wire.OFFERED)
            headers[wire.STRETCHES] = str(wire.STRETCH_MIN)
        if options.receipts:
            headers[wire.RECEIPT] = "signed"
            if options.bundles:
                headers[wire.BUNDLE] = f"{bundles.CAPTURES} {bundles.LENGTH}"
        return {**headers, "Tus-Extension": ",".join(extensions)}

    # --- POST ------------------------------------------------------------------------------------------------------

    async def _create(self, request: web.Request, fault: Fault | None) -> web.Response:
        if self._bundles.meant(request):
            await go_on(request)
            return await self._bundles.take(request, fault)
        if "Upload-Defer-Length" in request.headers or "Upload-Concat" in request.headers:
            raise RefusedRequest(400, "Neither deferred lengths nor concatenation are offered.")
        length = wire.number(request.headers.get("Upload-Length"), "Upload-Length")
        if length > self._core.options.max_size:
            raise RefusedRequest(413, f"An upload can have {self._core.options.max_size} bytes at most.")
        metadata = request.headers.get("Upload-Metadata", "")
        if not self._core.options.receipts:
            wire.parse_metadata(metadata)  # kept as it came; what it says is read by nobody
            return await self._create_new(request, self._store.new(length, None, metadata), fault)
        claims = read_claims(metadata, length)
        if claims.capture in self._creating:
            raise RefusedRequest(423, "Another request is creating this upload.")
        self._creating.add(claims.capture)
        try:
            door = await self._known_door(claims, length, metadata)
            if door is not None:
                return await self._created(door)  # a body that came along is ignored: Upload-Offset tells the truth
            return await self._create_new(request, self._store.new(length, claims, metadata), fault)
        finally:
            self._creating.discard(claims.capture)

    async def _known_door(self, claims: Claims, length: int, metadata: str) -> Door | None:
        upload = self._store.known(claims.capture)
        if upload is None or await self._core.expire_if_late(upload):
            return None
        if upload.sha256 != claims.sha256 or upload.length != length:
            sentence = "This capture is known with another sha256 or length."
            await self._core.complain("capture-with-other-claims", claims.capture, sentence)
            raise RefusedRequest(409, sentence)
        return self._store.door_for(upload, claims) or await self._store.add_door(upload, claims, metadata)

    async def _create_new(self, request: web.Request, door: Door, fault: Fault | None) -> web.Response:
        upload = door.upload
        try:
            checksum, stretches = self._check_body(request, upload), self._stretches(request)
        except RefusedRequest:
            self._store.forget(upload)
            raise
        upload.busy = True
        try:
            if request.can_read_body or upload.length == 0:
                await go_on(request)
                body = Body(request, self._core.options.patience, fault)
                await self._core.receiver.take(door, body, checksum, stretches=stretches)
            else:
                await self._store.commit(door, 0)
        finally:
            upload.busy = False
        return await self._created(door)

    async def _created(self, door: Door) -> web.Response:
        headers = {"Location": CREATION_PATH + door.token, **await self._standing(door)}
        return web.Response(status=201, headers=headers)

    # --- HEAD, PATCH, DELETE ---------------------------------------------------------------------------------------

    async def _head(self, request: web.Request, door: Door) -> web.Response:
        headers = await self._standing(door)
        headers |= {"Upload-Length": str(door.upload.length), "Cache-Control": "no-store"}
        if door.metadata:
            headers["Upload-Metadata"] = door.metadata
        if not self._core.options.plain and wire.wants_sha256(request.headers.get("Want-Repr-Digest")):
            headers["Repr-Digest"] = wire.repr_digest(await self._core.receiver.prefix(door.upload))
        return web.Response(status=200, headers=headers)

    async def _get(self, door: Door) -> web.Response:
        """Give a drill back, where the options permit it; evidence is not read over this interface."""
        upload = door.upload
        drill = wire.parse_metadata(door.metadata or "").get("media_type") == _DRILL
        if upload.state is not State.STORED or not drill or not self._core.options.drills or upload.length > _DRILL_MAX:
            raise RefusedRequest(403, "Only a drill that is complete is given back.")
        content = await self._core.read(upload, 0, upload.length)
        return web.Response(status=200, body=content, content_type="application/octet-stream")

    async def _patch(self, request: web.Request, door: Door, fault: Fault | None) -> web.Response:
        upload = door.upload
        if request.headers.get(hdrs.CONTENT_TYPE) != wire.OFFSET_MEDIA_TYPE:
            raise RefusedRequest(415, f"Content-Type must be {wire.OFFSET_MEDIA_TYPE}.")
        offset = wire.number(request.headers.get("Upload-Offset"), "Upload-Offset")
        with locked(upload):
            await check_place(self._core, request, upload, offset)
            checksum = self._check_body(request, upload)
            stretches = self._stretches(request)
            await go_on(request)
            body = Body(request, self._core.options.patience, fault)
            await self._core.receiver.take(door, body, checksum, stretches=stretches)
        return web.Response(status=204, headers=await self._standing(door))

    def _check_body(self, request: web.Request, upload: Upload) -> wire.Checksum | None:
        """Return the checksum that a body has to meet, or refuse what can be refused before it is read."""
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
            raise RefusedRequest(415, "A body must come as it is, without Content-Encoding.")
        if request.can_read_body and request.headers.get(hdrs.CONTENT_TYPE) != wire.OFFSET_MEDIA_TYPE:
            raise RefusedRequest(415, f"Content-Type must be {wire.OFFSET_MEDIA_TYPE}.")
        if upload.offset + (request.content_length or 0) > upload.length:
            raise RefusedRequest(413, "The body is longer than what the upload lacks.")
        if not self._core.options.checksums or "Upload-Checksum" not in request.headers:
            return None
        return wire.parse_checksum(request.headers["Upload-Checksum"])

    def _stretches(self, request: web.Request) -> wire.Stretches | None:
        if not self._core.options.checksums:
            return None
        return wire.parse_stretches(request.headers.get(wire.STRETCHES), request.content_length)

    async def _delete(self, door: Door) -> web.Response:
        if door.upload.state is State.STORED:
            raise RefusedRequest(403, "Evidence that was stored is not deleted.")
        with locked(door.upload):
            await self._store.end(door.upload, State.TERMINATED)
        return web.Response(status=204)

    async def _standing(self, door: Door) -> dict[str, str]:
        """Return what every answer about an upload says: its offset, until when it waits, and its receipt."""
        upload = door.upload
        headers = {"Upload-Offset": str(upload.offset)}
        if upload.state is State.OPEN:
            headers["Upload-Expires"] = wire.http_date(upload.expires_at)
        elif (note := await self._core.receipt_to_answer(door)) is not None:
            headers[wire.RECEIPT] = b64encode(note).decode()
        return headers
