"""Stands before an object store and does what networks and stores do: cuts, loses answers, refuses, lies, is down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_HOP = {"transfer-encoding", "connection", "keep-alive", "content-length"}
_BLOCK = 64 * 1024


class S3Proxy:
    """Requests go on as they came, signature and all."""

    def __init__(self, port: int) -> None:
        self._target = f"http://127.0.0.1:{port}"
        self.port = 0
        self.received = 0
        """Bytes of bodies."""
        self.requests: list[str] = []
        self.headers: list[CIMultiDict[str]] = []
        self.cut_after: int | None = None
        self.stays_down = False
        """After a cut."""
        self.answers_lost = 0
        self.refuses: str | None = None
        self.says: str | None = None
        """What is answered, with 200, to who begins an upload in parts, or asks for its list."""
        self.busy: dict[str, str] | None = None
        """Bodies are answered with 503 SlowDown and these headers."""
        self.is_down = False
        self.delay = 0.0
        """Seconds for which each request waits."""
        self.changes = 0
        """So many of the next bodies arrive as other bytes."""
        self.lies: dict[str, str] = {}
        """Headers of answers to HEAD that are replaced."""
        self.rots = False
        """What it gives back is not what it was given."""
        self.ends: Literal["cut", "stall"] | None = None
        """How it ends in the middle of what it gives back."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False, skip_auto_headers={"User-Agent", "Accept", "Accept-Encoding", "Content-Type"}
        )
        app = web.Application(client_max_size=1 << 40)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.rel_url.raw_path_qs}")
        self.headers.append(CIMultiDict(request.headers))
        canary = "canary" in request.path
        bringing = request.method == "PUT" and not canary
        if self.is_down:
            return self._hang_up(request)
        await asyncio.sleep(self.delay)
        if self.refuses is not None and not canary and (bringing or "uploads" in request.query):
            async for _ in request.content.iter_chunked(_BLOCK):
                pass
            return _error(400, self.refuses)
        if self.says is not None and (
            "uploads" in request.query or (request.method, "uploadId" in request.query) == ("GET", True)
        ):
            return web.Response(text=self.says, content_type="application/xml")
        if self.busy is not None and bringing:
            return _error(503, "SlowDown", self.busy)
        return await self._passed_on(request, bringing=bringing)

    async def _passed_on(self, request: web.Request, *, bringing: bool) -> web.StreamResponse:
        try:
            async with self._session.request(
                request.method,
                URL(self._target + request.rel_url.raw_path_qs, encoded=True),
                headers=request.headers,
                data=self._body(request, bringing=bringing) if request.can_read_body else None,
                allow_redirects=False,
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, ConnectionError):
            return self._hang_up(request)
        if bringing and self.answers_lost:
            self.answers_lost -= 1
            return self._hang_up(request)
        if self.rots and request.method == "GET" and "comp" not in request.query:
            content = content[:-1] + bytes([content[-1] ^ 1])
        told = CIMultiDict((k, v) for k, v in answer.headers.items() if k.lower() not in _HOP)
        if request.method == "HEAD":
            told["Content-Length"] = answer.headers.get("Content-Length", "0")
            told.update(self.lies)
        if self.ends is not None and request.method == "GET" and "comp" not in request.query:
            return await self._given_in_part(request, content)
        return web.Response(status=answer.status, headers=told, body=content if request.method != "HEAD" else None)

    async def _body(self, request: web.Request, *, bringing: bool) -> AsyncIterator[bytes]:
        async for block in request.content.iter_chunked(_BLOCK):
            if bringing:
                if self.cut_after is not None and self.cut_after < len(block):
                    self.cut_after, self.is_down = None, self.stays_down
                    raise ConnectionError
                if self.cut_after is not None:
                    self.cut_after -= len(block)
                self.received += len(block)
                if self.changes:
                    self.changes -= 1
                    block = bytes([block[0] ^ 1]) + block[1:]  # noqa: PLW2901 - on its way
            yield block

    async def _given_in_part(self, request: web.Request, content: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(content))})
        await response.prepare(request)
        await response.write(content[: len(content) // 2])
        if self.ends == "stall":
            await asyncio.Event().wait()  # until the test ends
        return self._hang_up(request)

    @staticmethod
    def _hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        raise asyncio.CancelledError


def _error(status: int, code: str, headers: dict[str, str] | None = None) -> web.Response:
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>no</Message></Error>"
    return web.Response(status=status, text=text, content_type="application/xml", headers=headers)
