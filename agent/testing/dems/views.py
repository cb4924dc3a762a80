"""What an emulated DEMS tells those who look: its uploads, receipts and complaints; and where a test injects faults.

A real DEMS has none of this at these places, except the receipts.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import web

from agent.capture import rfc3339
from agent.testing.dems.claims import CAPTURE_ID
from agent.testing.dems.receipts import TWISTS

if TYPE_CHECKING:
    from agent.testing.dems.core import Core

__all__ = ["Views"]


class Views:
    """Answers everything that is not tus."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def add_routes(self, app: web.Application) -> None:
        """Put the resources in place; that of the faults only where the options permit it."""
        app.router.add_get("/evidence/index.json", self._index)
        app.router.add_get("/violations.json", self._violations)
        app.router.add_get("/receipts/{capture}", self._receipt)
        app.router.add_post("/released/{capture}", self._released)
        if self._core.options.faults:
            app.router.add_get("/faults", self._faults)
            app.router.add_post("/faults", self._add_faults)
            app.router.add_delete("/faults", self._clear_faults)

    async def _index(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(entry) for entry in self._core.entries()])

    async def _violations(self, _: web.Request) -> web.Response:
        found = self._core.store.violations()
        return web.json_response([{**asdict(one), "at": rfc3339(one.at)} for one in found])

    async def _receipt(self, request: web.Request) -> web.Response:
        core, capture = self._core, request.match_info["capture"]
        note = core.receipt(capture) if CAPTURE_ID.fullmatch(capture) else None
        twist = None if note is None else core.faults.twist()
        if note is None or core.signatory is None or twist == "none":
            return web.Response(status=404, text="There is no receipt for this capture.\n")
        if twist in TWISTS:
            note = core.signatory.twisted(note, twist)
        return web.Response(body=note, content_type="text/plain", charset="utf-8")

    async def _released(self, request: web.Request) -> web.Response:
        capture = request.match_info["capture"]
        if not CAPTURE_ID.fullmatch(capture):
            return web.Response(status=400, text="This is not a capture's id.\n")
        if await self._core.released(capture, await request.read()):
            return web.Response(status=204)
        return web.Response(status=409, text="A release without its receipt was written down as a violation.\n")

    async def _faults(self, _: web.Request) -> web.Response:
        return web.json_response(self._core.faults.texts())

    async def _add_faults(self, request: web.Request) -> web.Response:
        try:
            rules = await request.json()
            self._core.faults.add(*(str(rule) for rule in rules))
        except (ValueError, TypeError) as error:
            return web.Response(status=400, text=f"{error}\n")
        return await self._faults(request)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._core.faults.clear()
        return await self._faults(request)
