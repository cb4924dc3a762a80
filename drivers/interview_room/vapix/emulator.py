"""An Axis camera's edge storage as VAPIX describes it, with HTTP Digest, and with what goes wrong on real ones.

By hand: `python -m drivers.interview_room.vapix.emulator PORT` serves one film of noise to `root`, `pass`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote_plus
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["CameraEmulator", "Stored"]

_XML = "<?xml version='1.0' encoding='utf-8'?>\n"


@dataclass(slots=True)
class Stored:
    """One recording on the camera's card."""

    id: str
    film: bytes
    began_at: datetime
    ended_at: datetime | None
    status: str = "completed"
    disk: str = "SD_DISK"


@dataclass(slots=True)
class CameraEmulator:
    """It answers in HTTP/1.0, as documented: without a length, the connection's end is the film's.

    `faults` is consumed by exports, one letter each: `.` well, `c` the film is cut and the connection closed properly,
    `r` the connection is reset, `s` it stands still, `e` an error document with 200, `l` a length that is not true,
    `5` a 503.
    """

    user: str = "root"
    password: str = "pass"  # noqa: S105 - of the emulator
    stored: list[Stored] = field(default_factory=list)
    faults: str = ""
    ranges: bool = False
    """It can export from a later byte on, as no documented camera can."""
    ahead: timedelta = timedelta()
    """Its clock is ahead of ours."""
    date: str | None = None
    """The `Date` of each answer, where it does not follow the clock."""
    asked: list[str] = field(default_factory=list)
    key_frames: timedelta = timedelta(seconds=2)
    most: int = 10_000
    """Recordings in one answer of the list, however many were asked for."""
    counts_page: bool = False
    """It says how many stand in this answer, and not how many there are; beyond its end it answers with an error."""
    _server: asyncio.Server | None = None
    _nonce: str = field(default_factory=lambda: secrets.token_hex(8))
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    port: int = 0
    away: bool = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Serve, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self.vanish()
        await asyncio.sleep(0)

    def vanish(self) -> None:
        """Pull its plug, or let it restart: every connection is reset, and new ones are until it is back."""
        self.away = True
        for writer in list(self._open):
            writer.transport.abort()

    def come_back(self) -> None:
        """It is there again."""
        self.away = False

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    # -- HTTP ---------------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            await self._answer(head, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        line, *rest = head.split("\r\n")
        method, target, _ = line.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest if one)}
        if method != "GET":
            self._say(writer, 405, b"")
        elif not self._knows(headers.get("authorization", ""), target):
            challenge = f'Digest realm="AXIS_00408C", nonce="{self._nonce}", algorithm=MD5, qop="auth"'
            self._say(writer, 401, b"", **{"WWW-Authenticate": challenge})
        else:
            path, _, query = target.partition("?")
            wanted = dict(_unquoted(one) for one in query.split("&") if one)
            self.asked.append(target)
            if path.endswith("/record/list.cgi"):
                self._say(writer, 200, self._list(wanted), kind="text/xml")
            elif path.endswith("/export/properties.cgi"):
                self._say(writer, 200, self._properties(wanted), kind="text/xml")
            elif path.endswith("/export/exportrecording.cgi"):
                await self._export(writer, wanted, headers.get("range", ""))
            else:
                self._say(writer, 404, b"")
        await writer.drain()

    def _knows(self, said: str, target: str) -> bool:
        words = dict(re.findall(r'(\w+)="?([^",]+)"?', said))
        one = _md5(f"{self.user}:AXIS_00408C:{self.password}")
        two = _md5(f"GET:{target}")
        mixed = f"{one}:{self._nonce}:{words.get('nc')}:{words.get('cnonce')}:{words.get('qop')}:{two}"
        return said.startswith("Digest ") and words.get("response") == _md5(mixed)

    def _say(
        self, writer: asyncio.StreamWriter, status: int, body: bytes, *, kind: str = "text/plain", **more: str
    ) -> None:
        date = self.date or (datetime.now(UTC) + self.ahead).strftime("%a, %d %b %Y %H:%M:%S GMT")
        lines = [f"HTTP/1.0 {status} -", f"Date: {date}", f"Content-Type: {kind}"]
        lines += [f"{name}: {value}" for name, value in more.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    # -- the API ------------------------------------------------------------------------------------------------------

    def _list(self, wanted: dict[str, str]) -> bytes:
        every = [one for one in self.stored if wanted.get("diskid", one.disk) == one.disk]
        first = int(wanted.get("startatresultnumber", "1")) - 1
        if self.counts_page and first >= len(every) > 0:
            return _error(20)
        page = every[first : first + min(self.most, int(wanted.get("maxnumberofresults", "100")))]
        rows = "".join(
            f"<recording diskid={quoteattr(one.disk)} recordingid={quoteattr(one.id)} starttime={_z(one.began_at)} "
            f'stoptime={_z(one.ended_at)} recordingtype="continuous" recordingstatus="{one.status}" source="1" '
            'locked="No"><video mimetype="video/x-h264" width="1920" height="1080"/></recording>'
            for one in page
        )
        count = len(page) if self.counts_page else len(every)
        root = f'<recordings totalnumberofrecordings="{len(self.stored)}" numberofrecordings="{count}">'
        return f"{_XML}<root>{root}{rows}</recordings></root>".encode()

    def _find(self, wanted: dict[str, str]) -> Stored | None:
        return next((one for one in self.stored if one.id == wanted.get("recordingid")), None)

    def _properties(self, wanted: dict[str, str]) -> bytes:
        one = self._find(wanted)
        if one is None:
            return _error(110)
        begins = datetime.fromisoformat(wanted["starttime"]) if "starttime" in wanted else one.began_at
        steps = (begins - one.began_at) // self.key_frames
        begins = one.began_at + steps * self.key_frames
        ends = datetime.fromisoformat(wanted["stoptime"]) if "stoptime" in wanted else one.ended_at
        size = f'ExportFormat="matroska" EstimatedFileSize="{len(one.film) // 1024}"'
        told = f"RecordingId={quoteattr(one.id)} {size} Starttime={_z(begins)} Stoptime={_z(ends)}"
        inner = f"<PropertiesSuccess><ExportProperties {told}/></PropertiesSuccess>"
        return f"{_XML}<ExportRecordingResponse>{inner}</ExportRecordingResponse>".encode()

    async def _export(self, writer: asyncio.StreamWriter, wanted: dict[str, str], asked: str) -> None:
        one, fault, self.faults = self._find(wanted), self.faults[:1], self.faults[1:]
        if one is None or fault == "e":
            self._say(writer, 200, _error(110 if one is None else 10), kind="text/xml")
            return
        if fault == "5":
            self._say(writer, 503, b"")
            return
        film, more, status = one.film, {}, 200
        if self.ranges and (found := re.fullmatch(r"bytes=(\d+)-", asked)):
            begin = int(found[1])
            status, film = 206, film[begin:]
            more["Content-Range"] = f"bytes {begin}-{len(one.film) - 1}/{len(one.film)}"
        if fault == "l":
            more["Content-Length"] = str(len(film) + 1000)
        whole = film if fault in ("", ".", "l") else film[: len(film) * 2 // 3]
        self._say(writer, status, whole, kind="video/x-matroska", **more)
        await writer.drain()
        if fault == "s":
            await asyncio.sleep(3600)
        elif fault == "r":
            writer.transport.abort()


def _unquoted(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name, unquote_plus(value)


def _z(moment: datetime | None) -> str:
    return '""' if moment is None else f'"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"'


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _error(code: int) -> bytes:
    inner = f"<ErrorCode>{code}</ErrorCode><ErrorDescription>as a test asked</ErrorDescription>"
    return f"{_XML}<ExportRecordingResponse><GeneralError>{inner}</GeneralError></ExportRecordingResponse>".encode()


async def main(port: int) -> None:
    """Serve one recording until interrupted."""
    began = datetime.now(UTC) - timedelta(hours=1)
    stored = Stored("20241211_091153_025B_00408C", secrets.token_bytes(1 << 20), began, began + timedelta(minutes=5))
    async with CameraEmulator(stored=[stored], port=port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():  # noqa: PLR2004
        sys.exit("usage: python -m drivers.interview_room.vapix.emulator PORT")
    asyncio.run(main(int(sys.argv[1])))
