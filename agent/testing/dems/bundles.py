"""Several small captures in one request: judged one by one, forced together, committed at once, each with a receipt.

If the process dies before the commit, files lie there that no row names, and the next start removes them; after it the
sender asks again, and is given the receipts that lie there.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from blake3 import blake3

from agent import durable
from agent.testing.dems import wire
from agent.testing.dems.claims import read_claims
from agent.testing.dems.inflow import Body, Ending
from agent.testing.dems.uploads import State
from agent.testing.dems.wire import RefusedRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.testing.dems.claims import Claims
    from agent.testing.dems.core import Core
    from agent.testing.dems.faults import Fault
    from agent.testing.dems.uploads import Door

__all__ = ["CAPTURES", "LENGTH", "Bundles"]

CAPTURES: Final = 256
"""Captures of one request."""
LENGTH: Final = 8 << 20
"""Bytes of all of them; the line that names them may have as many again."""


@dataclass(slots=True)
class _One:
    """One capture of a request."""

    length: int
    metadata: str
    data: memoryview
    claims: Claims | None = None
    door: Door | None = None
    new: bool = False
    refused: RefusedRequest | None = None


class Bundles:
    """Takes such requests. `creating`: captures whose upload another request is creating at this moment."""

    def __init__(self, core: Core, creating: set[str]) -> None:
        self._core, self._store, self._creating = core, core.store, creating

    def meant(self, request: web.Request) -> bool:
        """Whether this is one."""
        offered = self._core.options.receipts and self._core.options.bundles
        return offered and request.headers.get("Content-Type") == wire.BUNDLE_MEDIA_TYPE

    async def take(self, request: web.Request, fault: Fault | None) -> web.Response:
        """Take a request in. Returns when everything of it that is right is durable and has its receipt."""
        many = _parsed(await self._whole(request, fault))
        mine: set[str] = set()
        try:
            for one in many:
                await self._look(one, mine)
            new = [one for one in many if one.new]
            if new:
                await self._keep(new)
            told = [await self._told(one) for one in many]
        finally:
            self._creating -= mine
        return web.json_response({"captures": told})

    async def _whole(self, request: web.Request, fault: Fault | None) -> bytes:
        """The body, of which nothing counts unless all of it came."""
        length = request.content_length
        if length is None:
            raise RefusedRequest(411, "A bundle says how long it is.")
        if length > 2 * LENGTH:
            raise RefusedRequest(413, f"The captures of a bundle have {LENGTH} bytes at most.")
        body, blocks = Body(request, self._core.options.patience, fault), list[bytes]()
        while isinstance(block := await body.block(), bytes):
            blocks.append(block)
        if block is Ending.STALLED:
            raise RefusedRequest(408, "No byte of the body came for too long.")
        if block is not Ending.WHOLE or body.count != length:
            raise ConnectionAbortedError
        return b"".join(blocks)

    async def _look(self, one: _One, mine: set[str]) -> None:
        """Find out what is to become of a capture: whose claims are wrong is refused, and the others are not."""
        try:
            one.claims = claims = read_claims(one.metadata, one.length)
            if claims.capture in self._creating:
                raise RefusedRequest(423, "Another request is creating this upload.")  # noqa: TRY301 - answered below
            self._creating.add(claims.capture)
            mine.add(claims.capture)
            one.door = await self._known(one, claims)
        except RefusedRequest as refused:
            one.refused = refused
            return
        if one.door is None:
            one.door, one.new = self._store.named(one.length, claims, one.metadata), True

    async def _known(self, one: _One, claims: Claims) -> Door | None:
        """The door to what is stored of this capture; None for a new one. Refuses what a bundle cannot bring."""
        upload = self._store.known(claims.capture)
        if upload is None or await self._core.expire_if_late(upload):
            return None
        if upload.sha256 != claims.sha256 or upload.length != one.length:
            sentence = "This capture is known with another sha256 or length."
            await self._core.complain("capture-with-other-claims", claims.capture, sentence)
            raise RefusedRequest(409, sentence)
        if upload.state is not State.STORED:
            raise RefusedRequest(423, "This capture has an upload of its own, which is not complete.")
        return self._store.door_for(upload, claims) or await self._store.add_door(upload, claims, one.metadata)

    async def _keep(self, new: Sequence[_One]) -> None:
        """Bring what is new to the disk, and commit what was found there to be right."""
        doors = [one.door for one in new if one.door is not None]
        try:
            await asyncio.get_running_loop().run_in_executor(self._core.workers, self._written, new)
        except OSError as error:
            for door in doors:
                self._store.forget(door.upload)
            if error.errno in durable.NO_ROOM and not isinstance(error, durable.ForceFailed):
                raise RefusedRequest(507, "There is no room for these bytes.") from error
            raise RefusedRequest(500, "The disk failed; nothing of this was kept.") from error
        right = [one.door for one in new if one.refused is None and one.door is not None]
        if right:
            await self._store.commit_stored(right)

    def _written(self, new: Sequence[_One]) -> None:
        """Write all, force all, read all back, and sign what is as claimed: in this order, on a worker thread."""
        open_files: list[tuple[_One, int]] = []
        try:
            for one in new:
                if one.door is not None:
                    one.door.upload.received = one.length
                    fd = self._store.create(one.door.upload)
                    open_files.append((one, fd))
                    durable.write_all(fd, one.data, 0)
                    durable.drop_cache(fd)  # of dirty pages: it starts their way to the disk, all files' together
            self._store.force([fd for _, fd in open_files])
            for one, fd in open_files:
                self._judged(one, os.pread(fd, one.length + 1, 0))
        finally:
            for _, fd in open_files:
                os.close(fd)

    def _judged(self, one: _One, stored: bytes) -> None:
        claims, door = one.claims, one.door
        if claims is None or door is None:
            return
        found = [sha256(stored).digest(), *([] if claims.blake3 is None else [blake3(stored).digest()])]
        if found == [claims.sha256, *([] if claims.blake3 is None else [claims.blake3])] and len(stored) == one.length:
            door.note = self._core.receiver.signed(door, found)
            return
        self._store.forget(door.upload)
        one.refused = RefusedRequest(wire.CHECKSUM_MISMATCH, f"Its bytes have sha256 {found[0].hex()}: not kept.")

    async def _told(self, one: _One) -> dict[str, Any]:
        if one.refused is None and one.door is not None:
            try:
                note = await self._core.receipt_to_answer(one.door)
            except RefusedRequest as refused:
                one.refused = refused
            else:
                return {"status": 201, **({} if note is None else {"receipt": note.decode()})}
        refused_ = one.refused or RefusedRequest(500, "Nothing became of it.")
        return {"status": refused_.status, "says": str(refused_)}


def _parsed(body: bytes) -> list[_One]:
    """The captures of a body, or a refusal of all of it."""
    line, newline, _ = body.partition(b"\n")
    view = memoryview(body)[len(line) + 1 :]
    try:
        told = json.loads(line)["captures"] if newline else None
        items = [(item["length"], item["metadata"]) for item in told] if isinstance(told, list) else []
    except (ValueError, TypeError, KeyError, RecursionError):
        items = []
    if not 0 < len(items) <= CAPTURES:
        raise RefusedRequest(400, f"A bundle begins with a line of JSON that names 1 to {CAPTURES} captures.")
    found, at = [], 0
    for length, metadata in items:
        if type(length) is not int or type(metadata) is not str or not 0 <= length <= LENGTH:
            raise RefusedRequest(400, "A capture of a bundle has a length and metadata.")
        found.append(_One(length, metadata, view[at : at + length]))
        at += length
    if at != len(view):
        raise RefusedRequest(400, f"The captures of this bundle have {at} bytes, and {len(view)} came.")
    if at > LENGTH:
        raise RefusedRequest(413, f"The captures of a bundle have {LENGTH} bytes at most.")
    return found
