"""A BlackVue recorder: the HTTP server of either firmware, over a card that a test fills.

Faults in its wire are those of `agent.testing.card_server`.
"""

from __future__ import annotations

import base64

from aiohttp import web

from agent.testing.card_server import CardServer, none

__all__ = ["BlackVue"]


class BlackVue(CardServer):
    """A recorder on loopback. `new`: as from firmware 1.009 on. `room`: bytes of its card, a ring."""

    def __init__(self, *, new: bool = False, room: int | None = None, heads: bool = True, device: str = "car") -> None:
        super().__init__(device, "BlackVue/Record/")
        self.new, self.room, self.heads = new, room, heads
        self.asked: list[tuple[str, str]] = []
        """(method, path) of every request."""

    def record(self, name: str, data: bytes) -> str:
        """A film or a sidecar; the oldest go where there is no room. Its key."""
        key = super().record(name, data)
        while self.room is not None and sum(map(len, self.files.values())) > self.room:
            self.lose(min(self.files))
        return key

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """See `CardServer`."""
        path = request.path
        self.asked.append((request.method, path))
        if path in ("/accessible", "/vodList", "/blackvue_vod.cgi"):
            return self._list(path)
        if path == "/vodMetadata" and self.new:
            return await self._metadata(request)
        folder = "/" if self.new else "/Record/"
        if self.new and not path.endswith(".mp4"):
            return web.Response(status=415, text="mp4 only")
        if not path.startswith(folder):
            return none()
        if request.method == "HEAD" and not self.heads:
            return web.Response(status=405)
        return await self.give(request, path.removeprefix(folder))

    def _list(self, path: str) -> web.Response:
        films = [name for name in self.files if name.endswith(".mp4")]
        if path == "/blackvue_vod.cgi":
            lines = "".join(f"n:/Record/{name},s:1000000\r\n" for name in films)
            return web.Response(status=415, text="mp4 only") if self.new else web.Response(text=f"v:1.00\r\n{lines}")
        if not self.new:
            return none()
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
