"""Interim answers (RFC 9110 section 15.2; 104 of the draft, section 5) on a bare socket: they are never an answer.

Our uplink creates carefully and needs none of them. A server may send them all the same, before, between and after the
bytes of a body, also where it breaks off then, or never comes to an end.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Strength
from agent.errors import UplinkDown
from agent.uplink.ietf import IetfUplink
from tests.uplinks.memory import MIB, MemorySending, some_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.usefixtures("both_ways")

OFFER = "Upload-Limit: max-size=1234567890\r\n"
RESUMABLE = "HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Draft-Interop-Version: 9\r\n"
PLACE = RESUMABLE + "Location: /another/place\r\n\r\n"
PROGRESS = RESUMABLE + "Upload-Offset: 999999999\r\nUpload-Complete: ?1\r\n\r\n"
OTHERS = "HTTP/1.1 102 Processing\r\n\r\n" + "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"


class Bare:
    """One upload at `/up`, kept in memory; what is said between the lines is the test's."""

    length = 3 * MIB + 7

    def __init__(self, before: str = "", amid: str = "", *, bytewise: bool = False) -> None:
        self.before, self.amid, self.bytewise = before, amid, bytewise
        self.kept = bytearray()
        self.received = 0
        self.asked: list[str] = []
        self.breaks_off = 0
        """Requests with bytes whose last words are interim."""
        self.babbles = False
        """Says that it goes on, for ever, and keeps nothing."""
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Bare]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    def uplink(self, **options: Any) -> IetfUplink:  # noqa: ANN401 - the options' own types
        words = {"part_length": MIB, "stall": 1.0, "receipt_wait": 0.1, **options}
        url = f"http://127.0.0.1:{self.port}/new"
        return IetfUplink(IetfUplink.Options(use="ietf", name="dems", url=url, **words))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the end of the test too, which asyncio would log
        finally:
            writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        method = head.partition(" ")[0]
        self.asked.append(method)
        await self._say(writer, self.before)
        length = int(fields.get("Content-Length", 0))
        half = await reader.readexactly(length // 2)
        await self._say(writer, self.amid)
        body = half + await reader.readexactly(length - length // 2)
        self.received += len(body)
        if method == "PATCH" and int(fields["Upload-Offset"]) == len(self.kept) and not self.babbles:
            self.kept += body
        if method == "PATCH" and (self.breaks_off or self.babbles):
            self.breaks_off -= 1
            await self._say(writer, PROGRESS)
            while self.babbles:
                await self._say(writer, OTHERS)
                await asyncio.sleep(0.01)
            return False
        done = method == "PATCH" and fields["Upload-Complete"] == "?1"
        status = {"POST": "201 Created", "HEAD": "204 No Content"}.get(method, "204 No Content")
        words = f"HTTP/1.1 {status}\r\n{OFFER}"
        if method != "OPTIONS":
            whole = "?1" if done or (method == "HEAD" and len(self.kept) == self.length) else "?0"
            words += f"Location: /up\r\nUpload-Complete: {whole}\r\nUpload-Offset: {len(self.kept)}\r\n"
        await self._say(writer, self.before + words + ("Content-Length: 0\r\n\r\n" if method == "POST" else "\r\n"))
        return True

    async def _say(self, writer: asyncio.StreamWriter, words: str) -> None:
        raw = words.encode()
        for piece in [raw[at : at + 1] for at in range(len(raw))] if self.bytewise else [raw]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("before", "amid"),
    [(PLACE, ""), ("", PROGRESS), (OTHERS + PLACE, PROGRESS * 3), (PROGRESS * 50, OTHERS)],
    ids=["place", "progress", "all", "many"],
)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_they_change_nothing(before: str, amid: str, *, bytewise: bool) -> None:
    """Not the place that a 104 names, nor the offset: the last answer of a request is the one that counts."""
    sending = MemorySending(some_bytes(Bare.length))
    async with Bare(before, amid, bytewise=bytewise).running() as server, aclosing(server.uplink()) as uplink:
        receipt = await uplink.send(sending)
    assert (receipt.strength, receipt.length) == (Strength.LENGTH, Bare.length)
    assert bytes(server.kept) == sending.data
    assert server.received == Bare.length, "nothing twice"
    assert sending.state is not None
    assert sending.state.endswith("/up"), "the URL of the final answer"


async def test_a_connection_that_ends_with_one_was_no_answer() -> None:
    """The server kept the bytes and told nobody: it is asked, and nothing is sent twice."""
    sending = MemorySending(some_bytes(Bare.length))
    async with Bare().running() as server:
        server.breaks_off = 1
        async with aclosing(server.uplink()) as uplink:
            receipt = await uplink.send(sending)
    assert receipt.length == Bare.length
    assert bytes(server.kept) == sending.data
    assert server.received == Bare.length
    assert "HEAD" in server.asked


async def test_a_server_that_goes_on_for_ever_is_given_up() -> None:
    """Signs of life that never become an answer do not hold a lane."""
    async with Bare().running() as server:
        server.babbles = True
        async with aclosing(server.uplink(stall=0.3, connect_timeout=0.3)) as uplink, asyncio.timeout(60):
            with pytest.raises(UplinkDown, match="gave no answer for too long"):
                await uplink.send(MemorySending(some_bytes(Bare.length)))
