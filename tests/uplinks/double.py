"""A tus server in memory that does what a test scripts: each fault meets one request, in their order."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, MutableMapping

    from agent.uplink.ietf import IetfUplink
    from agent.uplink.tus import TusUplink
    from tests.uplinks.memory import MemorySending

    Fault = Callable[["Double", web.Request, "Seen"], Awaitable[web.StreamResponse]]
    Serve = Callable[..., Awaitable["Double"]]
    Connect = Callable[..., TusUplink]
    Make = Callable[..., IetfUplink]

PLAIN = ("creation", "creation-with-upload", "expiration", "termination")


@dataclass
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    received: int = 0


@dataclass
class Stored:
    """One upload."""

    length: int
    metadata: str
    held: bytearray = field(default_factory=bytearray)
    before: int = 0
    """Bytes that it claims to hold before those."""

    @property
    def offset(self) -> int:
        return self.before + len(self.held)

    @property
    def complete(self) -> bool:
        return self.offset == self.length


def note(capture: str, sha256: str, log: str) -> bytes:
    text = f"evidock-receipt/v1\ncapture {capture}\nsha256 {sha256}\nlog {log}\n"
    return f"{text}\n— dems.example.org AAAAAA==\n".encode()


class Double:
    """The server; `signs` makes it speak our dialect, `digests` lets HEAD tell a `Repr-Digest`.

    `lies` makes it look at no checksum, whatever it says. `through` makes it verify parts by the digest of everything
    through their end.
    """

    def __init__(  # noqa: PLR0913 - each is one thing in which servers differ
        self,
        *,
        checksums: bool = True,
        through: bool = False,
        lies: bool = False,
        signs: bool = False,
        digests: bool = False,
        extensions: tuple[str, ...] = PLAIN,
        longest: int | None = None,
        relative: bool = True,
        host: str = "127.0.0.1",
    ) -> None:
        self.host = host
        self.checksums = checksums
        self.through = through
        self.lies = lies
        self.signs = signs
        self.digests = digests
        self.extensions = extensions
        self.longest = longest
        self.relative = relative
        self.receipts_late = 0
        self.uploads: dict[str, Stored] = {}
        self.made = 0
        self.deleted: list[str] = []
        self.seen: list[Seen] = []
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._runner: web.AppRunner | None = None
        self._tls: ssl.SSLContext | None = None
        self.port = 0

    async def start(self, tls: ssl.SSLContext | None = None) -> Self:
        app = web.Application(client_max_size=1 << 40)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._tls = tls
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, ssl_context=tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self.port}/files"

    def next(self, method: str, *faults: Fault) -> None:
        """The next requests of this method meet these faults, one each."""
        self._faults[method].extend(faults)

    def count(self, method: str) -> int:
        return sum(seen.method == method for seen in self.seen)

    def received(self) -> int:
        return sum(seen.received for seen in self.seen)

    @property
    def only(self) -> Stored:
        (stored,) = self.uploads.values()
        return stored

    # --- answers

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(request.method, request.path, dict(request.headers))
        self.seen.append(seen)
        if self._faults[request.method]:
            return await self._faults[request.method].popleft()(self, request, seen)
        return await self.work(request, seen)

    async def work(  # noqa: PLR0911 - one answer for each kind of request
        self, request: web.Request, seen: Seen
    ) -> web.StreamResponse:
        """Do what tus says."""
        if request.method == "OPTIONS":
            return self._options()
        if request.path.startswith("/receipts/"):
            return self._receipt(request.path.rpartition("/")[2])
        if request.headers.get("Tus-Resumable") != "1.0.0":
            return said(412, {"Tus-Version": "1.0.0"})
        if request.method == "POST":
            return await self._post(request, seen)
        upload = self.uploads.get(request.path)
        if upload is None:
            return said(404)
        if request.method == "HEAD":
            headers = {"Upload-Length": str(upload.length), "Cache-Control": "no-store"}
            if upload.metadata:
                headers["Upload-Metadata"] = upload.metadata
            if self.digests and "sha-256" in request.headers.get("Want-Repr-Digest", ""):
                digest = base64.b64encode(hashlib.sha256(upload.held).digest()).decode()
                headers["Repr-Digest"] = f"sha-256=:{digest}:"
            return said(200, headers | self._standing(upload))
        if request.method == "PATCH":
            return await self._patch(request, seen, upload)
        del self.uploads[request.path]
        self.deleted.append(request.path)
        return said(204)

    def _options(self) -> web.Response:
        extensions = [*self.extensions, "checksum"] if self.checksums else self.extensions
        headers = {"Tus-Version": "1.0.0", "Tus-Extension": ",".join(extensions)}
        if self.checksums:
            headers["Tus-Checksum-Algorithm"] = "sha256,blake3,sha1" + ",sha256-through" * self.through
        if self.signs:
            headers["Evidock-Receipt"] = "signed"
        if self.longest is not None:
            headers["Tus-Max-Size"] = str(self.longest)
        return said(204, headers)

    async def _post(self, request: web.Request, seen: Seen) -> web.Response:
        metadata = request.headers.get("Upload-Metadata", "")
        length = int(request.headers["Upload-Length"])
        path = next((path for path, one in self.uploads.items() if self.signs and one.metadata == metadata), None)
        if path is None:
            self.made += 1
            path = f"/files/{self.made}"
            self.uploads[path] = Stored(length, metadata)
        upload = self.uploads[path]
        location = path if self.relative else f"http://127.0.0.1:{self.port}{path}"
        headers = {"Location": location}
        if request.can_read_body and not upload.complete:
            refusal = await self._take(request, seen, upload)
            if refusal is not None:
                return refusal
        if request.can_read_body or self.signs or upload.complete:
            headers |= self._standing(upload)
        return said(201, headers)

    async def _patch(self, request: web.Request, seen: Seen, upload: Stored) -> web.Response:
        if int(request.headers["Upload-Offset"]) != upload.offset:
            return said(409)
        if request.headers["Content-Type"] != "application/offset+octet-stream":
            return said(415)
        return await self._take(request, seen, upload) or said(204, self._standing(upload))

    async def _take(self, request: web.Request, seen: Seen, upload: Stored) -> web.Response | None:
        body = await self.read(request, seen)
        if len(body) < int(request.headers["Content-Length"]) and "Upload-Checksum" in request.headers:
            return said(400)  # nobody sees it: what is not there as a whole cannot be verified and is dropped
        if self.checksums and not self.lies and (claimed := request.headers.get("Upload-Checksum")) is not None:
            name, _, value = claimed.partition(" ")
            through = self.through and name == "sha256-through"
            found = hashlib.sha256(upload.held + body) if through else hashlib.new(name, body)
            if found.digest() != base64.b64decode(value):
                return said(460)
        upload.held += body
        return None

    async def read(self, request: web.Request, seen: Seen, most: int | None = None) -> bytes:
        """Read the body, or its first bytes; what came is counted."""
        body = bytearray()
        with contextlib.suppress(ConnectionError):
            while (most is None or len(body) < most) and (block := await request.content.readany()):
                body += block
                seen.received += len(block)
        return bytes(body)

    def _standing(self, upload: Stored) -> dict[str, str]:
        headers = {"Upload-Offset": str(upload.offset)}
        if upload.complete and self.signs:
            if self.receipts_late > 0:
                self.receipts_late -= 1
            else:
                headers["Evidock-Receipt"] = base64.b64encode(self._note(upload)).decode()
        return headers

    def _note(self, upload: Stored) -> bytes:
        return note(named(upload, "capture"), hashlib.sha256(upload.held).hexdigest(), named(upload, "log"))

    def _receipt(self, capture: str) -> web.Response:
        for upload in self.uploads.values():
            if named(upload, "capture") == capture and upload.complete and self.receipts_late <= 0:
                return web.Response(body=self._note(upload))
        self.receipts_late -= 1
        return web.Response(status=404)


def named(upload: Stored, key: str) -> str:
    pairs = dict(pair.split(" ") for pair in upload.metadata.split(","))
    return base64.b64decode(pairs[key]).decode()


def said(status: int, headers: dict[str, str] | None = None, text: str = "") -> web.Response:
    """An answer of a tus server."""
    return web.Response(status=status, headers={"Tus-Resumable": "1.0.0"} | (headers or {}), text=text or None)


# --- what a test looks at


def whole(double: Double, sending: MemorySending) -> bool:
    return bytes(double.only.held) == sending.data


def methods(double: Double) -> list[str]:
    return [seen.method for seen in double.seen]


def events(logs: list[MutableMapping[str, Any]]) -> list[str]:
    return [entry["event"] for entry in logs]


# --- faults


def says(status: int, headers: dict[str, str] | None = None, text: str = "") -> Fault:
    """Read the whole request, do nothing, and answer as a tus server."""

    async def fault(double: Double, request: web.Request, seen: Seen) -> web.StreamResponse:
        await double.read(request, seen)
        return said(status, headers, text)

    return fault


def stranger(status: int, text: str = "", kind: str = "text/plain", headers: dict[str, str] | None = None) -> Fault:
    """Something that is no tus server answers, before it has read anything."""

    async def fault(_: Double, __: web.Request, ___: Seen) -> web.StreamResponse:
        response = web.Response(status=status, text=text, content_type=kind, headers=headers)
        response.force_close()
        return response

    return fault


def cut(after: int = 0, *, keep: bool = False) -> Fault:
    """Read so many bytes of the body, keep them or not, and break the connection."""

    async def fault(double: Double, request: web.Request, seen: Seen) -> web.StreamResponse:
        body = await double.read(request, seen, after) if after else b""
        if keep:
            double.uploads[request.path].held += body[:after]
        _abort(request)
        return web.Response()

    return fault


def drop_answer() -> Fault:
    """Do the work, and break the connection instead of answering."""

    async def fault(double: Double, request: web.Request, seen: Seen) -> web.StreamResponse:
        await double.work(request, seen)
        _abort(request)
        return web.Response()

    return fault


def stall(after: int = 0) -> Fault:
    """Read so many bytes and then nothing any more, until the other side goes away."""

    async def fault(double: Double, request: web.Request, seen: Seen) -> web.StreamResponse:
        if after:
            await double.read(request, seen, after)
        while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
        return web.Response()

    return fault


def lies(**headers: str) -> Fault:
    """Do the work, and change headers of the answer; an empty value takes one away."""

    async def fault(double: Double, request: web.Request, seen: Seen) -> web.StreamResponse:
        response = await double.work(request, seen)
        for name, value in headers.items():
            key = name.replace("_", "-")
            response.headers.popall(key, None)
            if value:
                response.headers[key] = value
        return response

    return fault


def then(act: Callable[[Double, str], None], fault: Fault | None = None) -> Fault:
    """Change something in the server, then go on with the request."""

    async def both(double: Double, request: web.Request, seen: Seen) -> web.StreamResponse:
        act(double, urlsplit(request.path).path)
        return await (fault(double, request, seen) if fault is not None else double.work(request, seen))

    return both


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
