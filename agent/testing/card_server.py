"""A camera or recorder on loopback that serves its card by HTTP: a test fills the card, and puts faults into the wire.

A wire is one letter for each file that is fetched; where it ends, everything goes well:

    r   it comes whole                       b   busy (503)
    k   the connection breaks half-way       e   the card cannot be read there (500)
    s   it says a shorter length             n   ranges are not known: everything comes
    h   the head comes, and then nothing
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from agent.testing.audit import Exhibit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

__all__ = ["CardServer", "none"]

_RANGE: Final = re.compile(r"bytes=(\d+)-")
_PORTION: Final = 256 * 1024


class CardServer:
    """The server; `answer` is its maker's. Keys of captures are paths on the card: `root` and the name of the file."""

    def __init__(self, device: str, root: str) -> None:
        self.device, self._root = device, root
        self.files: dict[str, bytes] = {}
        self.wire = ""
        self.shortened: set[str] = set()
        """Names of files that come shorter than they are listed."""
        self.damaged: set[str] = set()
        """Names of files that are listed, and never to be read."""
        self.port = 0
        self._ever: list[Exhibit] = []
        self._runner: web.AppRunner | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        raise NotImplementedError

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
        """A file on its card; its key."""
        if name in self.files:
            self._ever.remove(self._exhibit(name))
        self.files[name] = data
        self._ever.append(self._exhibit(name))
        return f"{self._root}{name}"

    def lose(self, name: str) -> None:
        """It forgot a file by itself: no business of a release."""
        self._ever.remove(self._exhibit(name))
        del self.files[name]

    def ever(self) -> Iterable[Exhibit]:
        """See `agent.testing.audit.Witness`."""
        return self._ever

    def still(self) -> Iterable[Exhibit]:
        """See `agent.testing.audit.Witness`."""
        return [self._exhibit(name) for name in self.files]

    def _exhibit(self, name: str) -> Exhibit:
        return Exhibit(self.device, f"{self._root}{name}", hashlib.sha256(self.files[name]).digest())

    async def plug_in(self) -> None:
        """Start its server, at the port that it had before."""
        if self._runner is not None:
            return
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def unplug(self) -> None:
        """It is switched off: connections end in the middle."""
        runner, self._runner = self._runner, None
        if runner is not None:
            for connection in list(runner.server.connections if runner.server else ()):
                connection.force_close()
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()

    async def give(self, request: web.Request, name: str) -> web.StreamResponse:
        """A file of the card, or how long it is."""
        if name not in self.files:
            return none()
        if name in self.damaged:
            return web.Response(status=500)
        data = self.files[name]
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": str(len(data))})
        if request.method != "GET":
            return web.Response(status=405)
        letter, self.wire = self.wire[:1] or "r", self.wire[1:]
        if letter in "be":
            return web.Response(status={"b": 503, "e": 500}[letter])
        if letter == "s" or name in self.shortened:
            data = data[: len(data) // 2]
        return await self._send(request, data, letter)

    async def _send(self, request: web.Request, data: bytes, letter: str) -> web.StreamResponse:
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


def none() -> web.Response:
    """There is nothing of that name."""
    return web.Response(status=404)
