"""Attachments over tus 1.0.0 (core and creation): announced by digest, resumed by offset, held before the last answer.

    POST    announce: `Upload-Length`, `Upload-Metadata` (sha256, blake3, notebook, seq, name, type); 201, `Location`
    HEAD    where the upload stands, by the agent's own stage file
    PATCH   the next bytes; the answer to the last of them comes when the attachment is held, or says why it is not

An attachment is what it was announced as: tablet, notebook, entry and SHA-256 are its identity, so announcing it again
gives the same place. Bytes that are not of that digest are set aside by the agent, with the reason, and never dropped.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import ClientError, web

from agent.capture import LENGTH_MAX, printable, rfc3339
from agent.driver import BLOCK_LENGTH
from agent.errors import BadCapture, DeviceGone
from drivers.enotes.arriving import Arriving
from drivers.enotes.offers import attachment_capture, device_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator

    from agent.driver import Intake
    from drivers.enotes.options import EnotesOptions
    from drivers.enotes.register import Tablet
    from drivers.enotes.shelf import Shelf

__all__ = ["PATH", "TUS", "Attachments"]

PATH: Final = "/enotes/v1/attachments"
TUS: Final = {"Tus-Resumable": "1.0.0"}
_LATER: Final = {"Retry-After": "10"}
_AGAIN: Final = {"Retry-After": "30"}
_OFFSET: Final = "application/offset+octet-stream"
_NUMBER: Final = re.compile(r"\d{1,16}")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_NOTEBOOK: Final = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_METADATA_MAX: Final = 4096
_NAMES: Final = ("tablet", "notebook", "seq", "sha256", "length", "blake3", "name", "media_type", "held_at")


class _No(Exception):
    """What a tablet asks for cannot be; with the answer that says so."""

    def __init__(self, status: int, sentence: str, more: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.more = status, sentence, more or {}


class Attachments:
    """Every attachment of one listener."""

    def __init__(self, options: EnotesOptions, shelf: Shelf, intake: Intake) -> None:
        self._options, self._shelf, self._intake = options, shelf, intake
        self._arriving: dict[str, Arriving] = {}
        self._log = structlog.get_logger("driver").bind(driver=options.name)

    @property
    def under_way(self) -> int:
        """How many arrive right now."""
        return sum(one.running for one in self._arriving.values())

    async def close(self) -> None:
        """Nothing arrives any more."""
        for one in list(self._arriving.values()):
            await one.end()
        self._arriving.clear()

    async def answer(self, request: web.Request, tablet: Tablet, method: str) -> web.Response:
        """Answer one request; what `take` raises passes through."""
        if method == "OPTIONS":
            return self._can()
        try:
            return await self._act(request, tablet, method)
        except _No as no:
            return web.Response(status=no.status, text=f"{no.sentence}\n", headers=TUS | no.more)

    async def _act(self, request: web.Request, tablet: Tablet, method: str) -> web.Response:
        if request.headers.get("Tus-Resumable") != TUS["Tus-Resumable"]:
            raise _No(412, "Tus-Resumable: 1.0.0 is spoken here", {"Tus-Version": "1.0.0"})
        name = request.match_info.get("upload")
        if name is None and method == "POST":
            return await self._announce(request, tablet)
        row = None if name is None else await self._row(name)
        if name is None or row is None or row["tablet"] != tablet.id:
            raise _No(404, "nothing was announced there by this tablet")
        if method not in ("HEAD", "PATCH"):
            raise _No(405, "what was announced cannot be taken back", {"Allow": "HEAD, PATCH, OPTIONS"})
        return await (self._stands(name, row) if method == "HEAD" else self._append(request, name, row))

    def _can(self) -> web.Response:
        told = {"Tus-Version": "1.0.0", "Tus-Extension": "creation", "Tus-Max-Size": str(self._options.attachment_max)}
        return web.Response(status=204, headers=TUS | told)

    # -- POST ----------------------------------------------------------------------------------------------------------

    async def _announce(self, request: web.Request, tablet: Tablet) -> web.Response:
        length = request.headers.get("Upload-Length", "")
        said = _metadata(request.headers.get("Upload-Metadata", ""))
        if not _NUMBER.fullmatch(length):
            raise _No(400, "Upload-Length is asked for")
        if int(length) > min(self._options.attachment_max, LENGTH_MAX - 1):
            raise _No(413, "it is too long", {"Tus-Max-Size": str(self._options.attachment_max)})
        if said is None:
            raise _No(400, "Upload-Length and Upload-Metadata (sha256, blake3, notebook, seq) are asked for")
        name = sha256(
            "\n".join((tablet.id, said["notebook"], said["seq"], said["sha256"], length)).encode()
        ).hexdigest()[:32]
        await self._shelf.run(lambda db: self._put(db, name, tablet, said, int(length)))
        return web.Response(status=201, headers=TUS | {"Location": f"{PATH}/{name}"})

    def _put(self, db: sqlite3.Connection, name: str, tablet: Tablet, said: dict[str, str], length: int) -> None:
        key = (said["notebook"], int(said["seq"]), said["sha256"])
        sql = "SELECT wanted_at, length FROM attachment WHERE notebook = ? AND seq = ? AND sha256 = ?"
        row = db.execute(sql, key).fetchone()
        if row is None or row[0] is None:  # no entry names it, or not yet
            if tablet.revoked or not tablet.known:
                raise _No(403, "no entry that is believed names it")
            sql = "SELECT count(*) FROM attachment WHERE tablet = ? AND held_at IS NULL AND upload IS NOT NULL"
            if row is None and db.execute(sql, (tablet.id,)).fetchone()[0] >= self._options.attachments_waiting:
                raise _No(507, "too many attachments of this tablet are announced and not whole")
        elif row[1] != length:
            raise _No(409, "its entry states another length")
        # Announced again, it is offered again: where the agent has it, that is said at once.
        db.execute(
            "INSERT INTO attachment (notebook, seq, sha256, length, blake3, name, media_type, tablet, upload)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET tablet = excluded.tablet, length = excluded.length, upload = excluded.upload, held_at = NULL",
            (*key, length, said.get("blake3"), said.get("name"), said.get("type"), tablet.id, name),
        )

    async def _row(self, name: str) -> dict[str, Any] | None:
        sql = f"SELECT {', '.join(_NAMES)} FROM attachment WHERE upload = ?"  # noqa: S608 - constants
        row = await self._shelf.look(lambda db: db.execute(sql, (name,)).fetchone())
        return None if row is None else dict(zip(_NAMES, row, strict=True))

    # -- HEAD and PATCH ------------------------------------------------------------------------------------------------

    async def _stands(self, name: str, row: dict[str, Any]) -> web.Response:
        if row["held_at"] is not None:
            return _stand(row["length"], row["length"])
        one = self._one(name, row)
        if one is None:
            raise _No(503, "too many attachments arrive at once", _LATER)
        held = await self._standing(name, row, one)
        return _stand(row["length"] if held else one.offset, row["length"])

    async def _standing(self, name: str, row: dict[str, Any], one: Arriving) -> bool:
        """Whether it is held; else `one.offset` says what is wanted next."""
        device = device_of(row["tablet"], self._options.name)
        await self._intake.sight(device)
        try:
            held = await one.stand() is not None
        finally:
            if not one.running:
                self._arriving.pop(name, None)
        if held:
            await self._held(name)
        return held

    async def _append(self, request: web.Request, name: str, row: dict[str, Any]) -> web.Response:
        if request.content_type != _OFFSET:
            raise _No(415, f"Content-Type: {_OFFSET} is asked for")
        told = request.headers.get("Upload-Offset", "")
        if not _NUMBER.fullmatch(told):
            raise _No(400, "Upload-Offset is asked for")
        if row["held_at"] is not None:
            return _whole(row["length"], int(told))
        one = self._one(name, row)
        if one is None:
            raise _No(503, "too many attachments arrive at once", _LATER)
        one.hand_over()
        async with one.lock:
            if await self._standing(name, row, one):
                return _whole(row["length"], int(told))
            if int(told) != one.offset:
                raise _No(409, f"the next byte is wanted from {one.offset} on", {"Upload-Offset": str(one.offset)})
            one.body = request.content
            try:
                return await self._body(request, name, one)
            finally:
                one.body = None

    async def _body(self, request: web.Request, name: str, one: Arriving) -> web.Response:
        try:
            async for block in _blocks(request):
                if one.offset + len(block) > one.length:
                    raise _No(413, "it is longer than it was announced")
                await one.feed(block)
            if one.offset < one.length:
                return _moved(one.offset)
            await one.finish()
        except BadCapture as error:
            self._log.warning(
                "attachment_set_aside", key=printable(one.capture.key), error=str(error), todo=error.what_to_do
            )
            raise _No(460, "the bytes are not those of its digest; they were set aside here", _AGAIN) from error
        await self._held(name)
        return _moved(one.length)

    def _one(self, name: str, row: dict[str, Any]) -> Arriving | None:
        """The one upload of this name; None where too many are under way."""
        if (one := self._arriving.get(name)) is not None:
            return one
        if len(self._arriving) >= self._options.attachments_at_once:
            return None
        capture = attachment_capture(device_of(row["tablet"], self._options.name), row)
        digest = bytes.fromhex(row["sha256"])
        one = Arriving(capture, digest, self._intake, on_end=lambda: self._arriving.pop(name, None))
        self._arriving[name] = one
        return one

    async def _held(self, name: str) -> None:
        now = rfc3339(datetime.now(UTC))
        sql = "UPDATE attachment SET held_at = ? WHERE upload = ? AND held_at IS NULL"
        await self._shelf.run(lambda db: db.execute(sql, (now, name)))


async def _blocks(request: web.Request) -> AsyncIterator[bytes]:
    """The body in blocks that are worth a step. Where it breaks off, what came is given before `DeviceGone`."""
    gathered: list[bytes] = []
    length = 0
    while True:
        gone: Exception | None = None
        try:
            part = await request.content.readany()
        except web.HTTPException:
            raise
        except (ClientError, ConnectionError, TimeoutError) as error:
            part, gone = b"", error
        if part:
            gathered.append(part)
            length += len(part)
        if gathered and (not part or length >= BLOCK_LENGTH):
            yield b"".join(gathered)
            gathered, length = [], 0
        if gone is not None:
            raise DeviceGone("the tablet went away", hint="Nothing to do: it goes on by itself.") from gone
        if not part:
            return


def _metadata(text: str) -> dict[str, str] | None:
    """What was announced; None where it is not what is asked for. Keys that are not known are passed by."""
    if len(text) > _METADATA_MAX:
        return None
    said: dict[str, str] = {}
    for pair in text.split(","):
        key, _, value = pair.strip().partition(" ")
        try:
            said[key] = base64.b64decode(value.strip(), validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            return None
    name = said.get("name", said.get("filename"))
    told = {"name": name[:255] if name else None, "type": said.get("type", said.get("filetype"))}
    good = (
        _HEX.fullmatch(said.get("sha256", ""))
        and _HEX.fullmatch(said.get("blake3", "0" * 64))
        and _NOTEBOOK.fullmatch(said.get("notebook", ""))
        and _NUMBER.fullmatch(said.get("seq", ""))
        and 0 < int(said["seq"]) < LENGTH_MAX
    )
    if not good:
        return None
    seq = str(int(said["seq"]))
    found: dict[str, str] = {name: said[name] for name in ("sha256", "blake3", "notebook") if name in said}
    return {**found, "seq": seq, **{name: text for name, text in told.items() if text}}


def _stand(offset: int, length: int) -> web.Response:
    told = {"Upload-Offset": str(offset), "Upload-Length": str(length), "Cache-Control": "no-store"}
    return web.Response(status=200, headers=TUS | told)


def _moved(offset: int) -> web.Response:
    return web.Response(status=204, headers=TUS | {"Upload-Offset": str(offset)})


def _whole(length: int, told: int) -> web.Response:
    """The answer to who goes on with what is held."""
    if told != length:
        raise _No(409, "it is held, and whole", {"Upload-Offset": str(length)})
    return _moved(length)
