"""An uplink of somebody else, in a package of its own: one class and one entry point, and it keeps the contract."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from agent.registry import UPLINKS, installed
from agent.testing.rig import not_given
from agent.testing.uplink_conformance import UplinkConformance, UplinkRig
from agent.uplink.http import trip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.testing.uplinks import Arrived
    from agent.uplink import Uplink

SHELF = Path(__file__).with_name("shelf.py")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trip, "DOUBT_WAIT", 0.01)


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `pip install` of its author's package would leave."""
    site = tmp_path / "site-packages"
    info = site / "shelf-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "shelf.py").write_text(SHELF.read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[evidock.uplinks]\nshelf = shelf:ShelfUplink\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "shelf", raising=False)


def test_it_is_short() -> None:
    lines = [line for line in SHELF.read_text().splitlines() if line.strip()]
    assert len(lines) < 100


class ShelfRig(UplinkRig):
    """The store, with its faults."""

    request = 1 << 20

    def __init__(self) -> None:
        self.parts: defaultdict[str, bytearray] = defaultdict(bytearray)
        self.whole: defaultdict[str, list[bytes]] = defaultdict(list)
        self.bodies = 0
        self.url = ""
        self.cut_at: int | None = None
        self.loses_answer = self.refuses = self.is_down = False
        self.how: str | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ShelfRig]:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/shelf{rest:.*}", self._serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/shelf"
            yield self
        finally:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        capture = request.match_info["rest"].strip("/")
        if self.is_down:
            return _dropped(request)
        if self.refuses and capture:
            return web.Response(status=403, text="no")
        if request.method == "DELETE":
            self.parts.pop(capture, None)
        return await self._put(request, capture) if request.method == "PUT" else self._standing(capture)

    async def _put(self, request: web.Request, capture: str) -> web.Response:
        if int(request.query["offset"]) != len(self.parts[capture]):
            return web.Response(status=409)
        if not await self._taken(request, capture):
            return _dropped(request)
        held = bytes(self.parts[capture])
        if len(held) == int(request.query["length"]):
            found = hashlib.sha256(held).digest()
            if found.hex() != request.query["sha256"]:
                self.parts.pop(capture)
                return web.Response(status=422)
            if not self.whole[capture]:
                self.whole[capture].append(found)
        if self.loses_answer:
            self.loses_answer = False
            return _dropped(request)
        return self._standing(capture)

    async def _taken(self, request: web.Request, capture: str) -> bool:
        async for block in request.content.iter_chunked(1 << 16):
            taken = block
            if self.cut_at is not None:
                taken, self.cut_at = block[: self.cut_at], self.cut_at - len(block)
            self.parts[capture] += taken
            self.bodies += len(taken)
            if self.cut_at is not None and self.cut_at <= 0:
                self.cut_at = None
                return False
        return True

    def _standing(self, capture: str) -> web.Response:
        headers = {"Upload-Offset": str(len(self.parts[capture]) + (self.how == "wrong-length"))}
        if capture in self.whole:
            digest = bytes(32) if self.how == "wrong-digest" else self.whole[capture][0]
            headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(digest).decode()}:"
        return web.Response(headers=headers)

    def uplink(self) -> Uplink:
        made = installed(UPLINKS)["shelf"].load()
        return made(  # type: ignore[no-any-return]
            made.Options(use="shelf", name="shelf", url=self.url, part_length=self.request, stall=2.0)
        )

    async def arrived(self) -> Arrived:
        return {capture: found for capture, found in self.whole.items() if found}

    async def received(self) -> int:
        return self.bodies

    async def cut(self, after: int) -> None:
        self.cut_at = after

    async def lose_answer(self) -> None:
        self.loses_answer = True

    async def refuse(self) -> None:
        self.refuses = True

    async def lie(self, how: str) -> None:
        if how not in ("wrong-digest", "wrong-length"):
            not_given("lie", how)
        self.how = how

    async def down(self) -> None:
        self.is_down = True

    async def up(self) -> None:
        self.is_down = False


def _dropped(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


class TestShelf(UplinkConformance):
    @asynccontextmanager
    async def rig(self, _: Path) -> AsyncIterator[ShelfRig]:
        async with ShelfRig().open() as rig:
            yield rig
