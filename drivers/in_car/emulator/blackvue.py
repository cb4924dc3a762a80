"""A BlackVue recorder: the HTTP server of either firmware, over a card that a test fills, with faults in its wire.

A wire is one letter for each file that is fetched; where it ends, everything goes well:

    r   it comes whole                       b   busy (503)
    k   the connection breaks half-way       e   the card cannot be read there (500)
    s   it says a shorter length             n   ranges are not known: everything comes
    h   the head comes, and then nothing
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from agent.testing.audit import Exhibit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

__all__ = ["BlackVue"]

_RANGE: Final = re.compile(r"bytes=(\d+)-")
_PORTION: Final = 256 * 1024


class BlackVue:
    """A recorder on loopback. `new`: as from firmware 1.009 on. `room`: bytes of its card, a ring."""

    def __init__(self, *, new: bool = False, room: int | None = None, heads: bool = True, device: str = "car") -> None:
        self.new, self.room, self.heads, self.device = new, room, heads, device
        self.files: dict[str, bytes] = {}
        self.wire = ""
        self.shortened: set[str] = set()
        self.damaged: set[str] = set()
        """Listed, and never to be read."""
        self.asked: list[tuple[str, str]] = []
        """(method, path) of every request."""
        self.port = 0
        self._ever: list[Exhibit] = []
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.plug_in()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.unplug()

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def record(self, name: str, data: bytes) -> str:
        """A film or a sidecar; the oldest go where there is no room. Its key."""
        if name in self.files:
            self._ever.remove(self._exhibit(name))
        self.files[name] = data
        self._ever.append(self._exhibit(name))
        while self.room is not None and sum(map(len, self.files.values())) > self.room:
            oldest = min(self.files)
            self._ever.remove(self._exhibit(oldest))  # it forgot it by itself: no business of a release
            del self.files[oldest]
        return f"BlackVue/Record/{name}"

    def ever(self) -> Iterable[Exhibit]:
        """See `agent.testing.audit.Witness`."""
        return self._ever

    def still(self) -> Iterable[Exhibit]:
        """See `agent.testing.audit.Witness`."""
        return [self._exhibit(name) for name in self.files]

    def _exhibit(self, name: str) -> Exhibit:
        return Exhibit(self.device, f"BlackVue/Record/{name}", hashlib.sha256(self.files[name]).digest())

    async def plug_in(self) -> None:
        """Start its server, at the port that it had before."""
        if self._runner is not None:
            return
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # noqa: SLF001

    async def unplug(self) -> None:
        """The ignition goes off: connections end in the middle."""
        runner, self._runner = self._runner, None
        if runner is not None:
            for connection in list(runner.server.connections if runner.server else ()):
                connection.force_close()
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append((request.method, path))
        if path in ("/accessible", "/vodList", "/blackvue_vod.cgi"):
            return self._list(path)
        if path == "/vodMetadata" and self.new:
            return await self._metadata(request)
        folder = "/" if self.new else "/Record/"
        if self.new and not path.endswith(".mp4"):
            return web.Response(status=415, text="mp4 only")
        return await self._file(request, path.removeprefix(folder)) if path.startswith(folder) else _none()

    def _list(self, path: str) -> web.Response:
        films = [name for name in self.files if name.endswith(".mp4")]
        if path == "/blackvue_vod.cgi":
            lines = "".join(f"n:/Record/{name},s:1000000\r\n" for name in films)
            return web.Response(status=415, text="mp4 only") if self.new else web.Response(text=f"v:1.00\r\n{lines}")
        if not self.new:
            return _none()
        told = {"filelist": [{"filename": name} for name in films]}
        return web.json_response(told if path == "/vodList" else {"accessible": "OK", "message": "Access possible."})

    async def _metadata(self, request: web.Request) -> web.Response:
        said = await request.json()
        stem, kind = str(said["file"]).removesuffix(".mp4"), said["types"][0]
        name = f"{stem}.thm" if kind == "thumbnail" else f"{stem[:-1]}.gps"
        if name not in self.files:
            return web.json_response({"resultcode": "BC_ERR_NOT_FOUND"})
        found = base64.encodebytes(self.files[name]).decode()
        return web.json_response({"resultcode": "BC_ERR_OK", "metadata": {kind: found}})

    async def _file(self, request: web.Request, name: str) -> web.StreamResponse:
        if name not in self.files:
            return _none()
        data = self.files[name]
        if request.method == "HEAD":
            if name in self.damaged or not self.heads:
                return web.Response(status=500 if name in self.damaged else 405)
            return web.Response(headers={"Content-Length": str(len(data))})
        if request.method != "GET":
            return web.Response(status=405)
        letter, self.wire = self.wire[:1] or "r", self.wire[1:]
        if letter in "be":
            return web.Response(status={"b": 503, "e": 500}[letter])
        if letter == "s" or name in self.shortened:
            data = data[: len(data) // 2]
        return await self._give(request, data, letter)

    async def _give(self, request: web.Request, data: bytes, letter: str) -> web.StreamResponse:
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        begin = int(asked[1]) if asked and letter != "n" else 0
        if begin and begin >= len(data):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
        answer = web.StreamResponse(status=206 if begin else 200)
        answer.content_length = len(data) - begin
        if begin:
            answer.headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        await answer.prepare(request)
        end = begin + (len(data) - begin) // 2 if letter == "k" else begin if letter == "h" else len(data)
        for at in range(begin, end, _PORTION):
            await answer.write(data[at : min(end, at + _PORTION)])
        if letter == "h":
            await asyncio.sleep(3600)
        if letter == "k":
            if request.transport is not None:
                request.transport.abort()
            return answer
        await answer.write_eof()
        return answer


def _none() -> web.Response:
    return web.Response(status=404)
