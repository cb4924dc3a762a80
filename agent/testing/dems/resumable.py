"""The IETF side of an emulated DEMS: Resumable Uploads for HTTP (draft -12, interop version 9) with RFC 9530 digests.

Store, receipts and faults are those of its tus side; a capture that was begun over one can be asked for over the other.
The target resource takes whole representations (`Upload-Complete: ?1`) and creates upload resources; those append. An
interim response 104 tells the place of an upload before its bytes are read, to whoever says the same interop version.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from agent.testing.dems import wire
from agent.testing.dems.claims import read_claims
from agent.testing.dems.handling import abort, answered, check_place, go_on, go_wrong, locked, no_hurry
from agent.testing.dems.inflow import Body
from agent.testing.dems.uploads import State
from agent.testing.dems.wire import RefusedRequest

if TYPE_CHECKING:
    from agent.testing.dems.core import Core
    from agent.testing.dems.faults import Fault
    from agent.testing.dems.uploads import Door, Upload

__all__ = ["CAPTURES_PATH", "INTEROP", "ResumableServer"]

CAPTURES_PATH: Final = "/captures/"
INTEROP: Final = "9"
PARTIAL: Final = "application/partial-upload"
_PROBLEMS: Final = "https://iana.org/assignments/http-problem-types#"
_METHODS: Final = ("OPTIONS", "POST", "PUT", "HEAD", "GET", "PATCH", "DELETE")
_HAND_OVER: Final = 10.0
"""Seconds that an older request is given to end once a newer one ended its connection."""


class ResumableServer:
    """Answers at the target resource and at upload resources."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._store = core.store
        self._creating: set[str] = set()
        self._writing: dict[str, web.Request] = {}

    def add_routes(self, app: web.Application) -> None:
        """Put the two resources in place."""
        for path in (CAPTURES_PATH, CAPTURES_PATH.rstrip("/"), CAPTURES_PATH + "{token}"):
            app.router.add_route("*", path, self._answer, expect_handler=no_hurry)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        response = await answered(self._core, request, request.method, self._serve, self._refused)
        response.headers.setdefault("Upload-Limit", self._limits(None))
        return response

    async def _serve(self, request: web.Request, method: str, fault: Fault | None) -> web.Response:
        token = request.match_info.get("token")
        if method not in _METHODS or (method != "OPTIONS" and (method in {"POST", "PUT"}) != (token is None)):
            raise RefusedRequest(405, f"{method} is not answered here.", {"Allow": ", ".join(_METHODS)})
        door = None if token is None else self._store.door(token)
        await go_wrong(self._core, fault, door)
        if method == "OPTIONS":
            return web.Response(status=204, headers=self._offer())
        if token is None:
            return await self._create(request, fault)
        if door is None:
            raise RefusedRequest(404, "There is no such upload.", {"Cache-Control": "no-store"})
        await self._core.expire_if_late(door.upload)
        if door.upload.state not in (State.OPEN, State.STORED):
            raise RefusedRequest(410, f"This upload is {door.upload.state}.", {"Cache-Control": "no-store"})
        if method in {"HEAD", "GET"}:
            return await self._head(request, door)
        if method == "PATCH":
            return await self._patch(request, door, fault)
        return await self._delete(door)

    def _offer(self) -> dict[str, str]:
        headers = {"Upload-Limit": self._limits(None), "Allow": ", ".join(_METHODS)}
        if self._core.options.checksums:
            headers["Want-Content-Digest"] = "sha-256=10"
            headers[wire.STRETCHES] = str(wire.STRETCH_MIN)
        if self._core.options.receipts:
            headers[wire.RECEIPT] = "signed"
        return headers

    def _limits(self, upload: Upload | None) -> str:
        options = self._core.options
        told = {
            "max-size": options.max_size,
            "max-append-size": options.max_append_size,
            "min-append-size": options.min_append_size,
            "max-age": None
            if upload is None or upload.state is not State.OPEN
            else max(0, int(upload.expires_at - self._store.clock())),
        }
        return ", ".join(f"{key}={value}" for key, value in told.items() if value is not None)

    def _refused(self, refused: RefusedRequest) -> web.Response:
        """Word a refusal as the draft and RFC 9457 have it, with the digest problems of the HTTPAPI draft."""
        headers = dict(refused.headers)
        status = refused.status
        problem: dict[str, str | int] = {}
        if status == wire.CHECKSUM_MISMATCH:
            whole = headers.get(wire.RECEIPT) == wire.RECEIPT_REFUSED
            status, problem = (422 if whole else 400), {"type": f"{_PROBLEMS}digest-mismatched-values"}
            headers["Upload-Complete"] = "?1" if whole else "?0"
        elif status == 409 and "Provided" in headers and "Upload-Offset" in headers:  # noqa: PLR2004 - Conflict
            problem = {
                "type": f"{_PROBLEMS}mismatching-upload-offset",
                "expected-offset": int(headers["Upload-Offset"]),
                "provided-offset": int(headers.pop("Provided")),
            }
        elif headers.pop("Inconsistent", None):
            problem = {"type": f"{_PROBLEMS}inconsistent-upload-length"}
        headers.setdefault("Upload-Complete", "?0")
        text = json.dumps({**problem, "title": str(refused), "status": status})
        return web.Response(status=status, text=text, content_type="application/problem+json", headers=headers)

    # --- the target ------------------------------------------------------------------------------------------------

    async def _create(self, request: web.Request, fault: Fault | None) -> web.Response:
        last = _boolean(request, "Upload-Complete")
        last = True if last is None else last  # a request that knows nothing of the draft is a whole upload
        length = _length(request, last=last)
        options = self._core.options
        if length > options.max_size:
            raise RefusedRequest(413, f"An upload can have {options.max_size} bytes at most.")
        self._check_longest(request)
        self._check_shortest(request, last=last)
        metadata = request.headers.get("Upload-Metadata", "")
        stated = wire.parse_digest_field(request.headers.get("Repr-Digest"))
        if not options.receipts:
            wire.parse_metadata(metadata)  # kept as it came; what it says is read by nobody
            door = self._store.new(length, None, metadata)
            door.upload.sha256 = stated
            return await self._create_new(request, door, fault, last=last)
        claims = read_claims(metadata, length)
        if stated not in {None, claims.sha256}:
            raise RefusedRequest(400, "Repr-Digest and Upload-Metadata name different digests.")
        if claims.capture in self._creating:
            raise RefusedRequest(423, "Another request is creating this upload.")
        self._creating.add(claims.capture)
        try:
            upload = self._store.known(claims.capture)
            if upload is not None and not await self._core.expire_if_late(upload):
                if upload.sha256 != claims.sha256 or upload.length != length:
                    sentence = "This capture is known with another sha256 or length."
                    await self._core.complain("capture-with-other-claims", claims.capture, sentence)
                    raise RefusedRequest(409, sentence)
                known = self._store.door_for(upload, claims) or await self._store.add_door(upload, claims, metadata)
                return await self._standing(request, known, 201)  # a body is ignored: Upload-Offset tells the truth
            return await self._create_new(request, self._store.new(length, claims, metadata), fault, last=last)
        finally:
            self._creating.discard(claims.capture)

    async def _create_new(self, request: web.Request, door: Door, fault: Fault | None, *, last: bool) -> web.Response:
        upload = door.upload
        try:
            digest = self._check_body(request, upload)
        except RefusedRequest:
            self._store.forget(upload)
            raise
        upload.busy = True
        try:
            if not request.can_read_body and not last:
                await self._store.commit(door, 0)
            else:
                await self._store.commit(door, 0)  # its place may be told before its bytes are read
                await _hint(request, door, self._limits(upload))
                await go_on(request)
                body = Body(request, self._core.options.patience, fault)
                await self._core.receiver.take(door, body, digest, last=last)
        finally:
            upload.busy = False
        return await self._standing(request, door, 201)

    # --- upload resources ------------------------------------------------------------------------------------------

    async def _head(self, request: web.Request, door: Door) -> web.Response:
        if "Upload-Offset" in request.headers or "Upload-Complete" in request.headers:
            raise RefusedRequest(400, "A question for the offset states none.")
        await self._handed_over(door.upload)
        response = await self._standing(request, door, 204)
        response.headers["Upload-Length"] = str(door.upload.length)
        response.headers["Cache-Control"] = "no-store"
        if door.metadata:
            response.headers["Upload-Metadata"] = door.metadata
        return response

    async def _patch(self, request: web.Request, door: Door, fault: Fault | None) -> web.Response:
        upload = door.upload
        if request.headers.get(hdrs.CONTENT_TYPE) != PARTIAL:
            raise RefusedRequest(415, f"Content-Type must be {PARTIAL}.")
        offset = wire.number(request.headers.get("Upload-Offset"), "Upload-Offset")
        last = _boolean(request, "Upload-Complete")
        if last is None:
            raise RefusedRequest(400, "Upload-Complete is missing.")
        await self._handed_over(upload)
        if upload.state is State.STORED and offset == upload.length and last and not request.can_read_body:
            return await self._standing(request, door, 200)  # the answer was lost: here it is again
        with locked(upload):
            try:
                await check_place(self._core, request, upload, offset)
            except RefusedRequest as refused:
                refused.headers["Provided"] = str(offset)
                raise
            if _stated_length(request) not in {None, upload.length}:
                raise RefusedRequest(400, "Upload-Length is not the one of before.", {"Inconsistent": "1"})
            self._check_longest(request)
            if offset + (request.content_length or 0) > upload.length:
                await self._store.end(upload, State.TERMINATED)  # section 4.4.2: beyond its length it is invalid
                raise RefusedRequest(400, "The body is longer than what the upload lacks: it is given up.")
            self._check_shortest(request, last=last)
            if last and request.content_length is not None and offset + request.content_length < upload.length:
                raise RefusedRequest(400, "Upload-Complete is said before all is there.", {"Inconsistent": "1"})
            digest = self._check_body(request, upload)
            stretches = None
            if self._core.options.checksums:
                stretches = wire.parse_stretches(request.headers.get(wire.STRETCHES), request.content_length)
            self._writing[upload.id] = request
            try:
                await go_on(request)
                body = Body(request, self._core.options.patience, fault)
                await self._core.receiver.take(door, body, digest, stretches=stretches, last=last)
            finally:
                self._writing.pop(upload.id, None)
        return await self._standing(request, door, 200 if last else 204)

    async def _delete(self, door: Door) -> web.Response:
        if door.upload.state is State.STORED:
            raise RefusedRequest(403, "Evidence that was stored is not deleted.", {"Upload-Complete": "?1"})
        await self._handed_over(door.upload)
        with locked(door.upload):
            await self._store.end(door.upload, State.TERMINATED)
        return web.Response(status=204)

    async def _handed_over(self, upload: Upload) -> None:
        """End an older request that still writes (section 4.6): what it brought so far is kept, and then counts."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _HAND_OVER
        while upload.busy and loop.time() < until:
            older = self._writing.get(upload.id)
            if older is not None:
                abort(older)
            await asyncio.sleep(0.01)

    # --- both ------------------------------------------------------------------------------------------------------

    def _check_longest(self, request: web.Request) -> None:
        most = self._core.options.max_append_size
        if most is not None and (request.content_length or 0) > most:
            raise RefusedRequest(413, f"One request can have {most} bytes at most.")

    def _check_shortest(self, request: web.Request, *, last: bool) -> None:
        least, length = self._core.options.min_append_size, request.content_length
        creates = request.match_info.get("token") is None
        if least and length is not None and length < least and not last and (length or not creates):
            raise RefusedRequest(400, f"One request that is not the last has {least} bytes at least.")

    def _check_body(self, request: web.Request, upload: Upload) -> wire.Checksum | None:
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
            raise RefusedRequest(415, "A body must come as it is, without Content-Encoding.")
        if upload.offset + (request.content_length or 0) > upload.length:
            raise RefusedRequest(400, "The body is longer than what the upload lacks.", {"Inconsistent": "1"})
        if not self._core.options.checksums:
            return None
        digest = wire.parse_digest_field(request.headers.get("Content-Digest"))
        return None if digest is None else wire.Checksum("sha256", digest)

    async def _standing(self, request: web.Request, door: Door, status: int) -> web.Response:
        """Say where an upload stands: its offset, its limits, its receipt, and its digest where that was wanted."""
        upload = door.upload
        stored = upload.state is State.STORED
        headers = {
            "Upload-Offset": str(upload.offset),
            "Upload-Complete": "?1" if stored else "?0",
            "Upload-Limit": self._limits(upload) or "min-size=0",
        }
        if status == 201:  # noqa: PLR2004 - Created
            headers["Location"] = CAPTURES_PATH + door.token
        wanted = wire.wants_sha256(request.headers.get("Want-Repr-Digest")) and request.match_info.get("token")
        if wanted and not self._core.options.plain and (stored or request.method in {"HEAD", "GET"}):
            headers["Repr-Digest"] = wire.repr_digest(await self._core.receiver.prefix(upload))
        if stored and (note := await self._core.receipt_to_answer(door)) is not None:
            headers[wire.RECEIPT] = b64encode(note).decode()
        return web.Response(status=status, headers=headers)


async def _hint(request: web.Request, door: Door, limits: str) -> None:
    """Tell the place of an upload in an interim response, to whoever speaks the same iteration of the draft."""
    if request.headers.get("Upload-Draft-Interop-Version") == INTEROP and request.transport is not None:
        lines = [
            "HTTP/1.1 104 Upload Resumption Supported",
            f"Upload-Draft-Interop-Version: {INTEROP}",
            f"Location: {CAPTURES_PATH}{door.token}",
            f"Upload-Limit: {limits or 'min-size=0'}",
        ]
        request.transport.write("\r\n".join([*lines, "", ""]).encode())


def _boolean(request: web.Request, name: str) -> bool | None:
    """Return a Structured Field Boolean; what is none counts as absent (RFC 9651 section 1.1)."""
    return {"?0": False, "?1": True}.get(request.headers.get(name, "").partition(";")[0].strip())


def _stated_length(request: web.Request) -> int | None:
    text = request.headers.get("Upload-Length")
    return None if text is None else wire.number(text, "Upload-Length")


def _length(request: web.Request, *, last: bool) -> int:
    """Return the length of the whole, which this DEMS wants to know from the start: a receipt names it."""
    stated, body = _stated_length(request), request.content_length
    if last and body is None and not request.can_read_body:
        body = 0
    if stated is None and last:
        stated = body
    if stated is None:
        raise RefusedRequest(411, "This DEMS takes captures whose length is known: Upload-Length is missing.")
    if last and body is not None and body != stated:
        raise RefusedRequest(400, "Upload-Length and Content-Length tell different lengths.", {"Inconsistent": "1"})
    return stated
