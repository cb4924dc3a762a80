"""A server on a bare socket, which says what a test gives it to say, and requests that go to it by a thread."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from yarl import URL

from agent.uplink.http.door import Door
from agent.uplink.http.straight import Straight
from tests.uplinks.memory import MemoryLeaving, MemorySending

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from agent.uplink.http.incoming import Head

CHOOSES = Door.goes_straight  # as it is, before `by_the_loop`
YES = b"HTTP/1.1 204 No Content\r\nUpload-Offset: 7\r\n\r\n"


def way_to(tls: ssl.SSLContext | None = None, *, sockets: list[socket.socket] | None = None) -> Straight:
    """One whose stall no test lives to see; `sockets`: where those that it makes are put."""

    def made(address: tuple[Any, ...]) -> socket.socket:
        found = socket.socket(*address[:3])
        found.setblocking(False)  # noqa: FBT003 - the socket's own signature
        if sockets is not None:
            sockets.append(found)
        return found

    return Straight(tls, made, connect_timeout=2.0, stall=1000.0, longest=1000)


def body_of(data: bytes) -> MemoryLeaving:
    return MemoryLeaving(MemorySending(data), 0, len(data))


class Bare:
    """Takes requests on a bare socket; after the bytes of each it says the next of its answers."""

    def __init__(
        self,
        *answers: bytes,
        reads: bool = True,
        ends: bool = False,
        first: tuple[bytes, ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`first`: what it says before it reads the body of a request, bit by bit, when nothing fits any more."""
        self.answers, self.reads, self.ends = list(answers), reads, ends
        self.first, self.tls = first, tls
        self.connections = 0
        self._serving: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}
        self.heads: list[bytes] = []
        self.received = 0
        self.port = 0
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Bare]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=65536, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            async with server:
                yield self
        finally:
            for task, writer in self._serving.items():
                task.cancel()
                writer.transport.abort()  # TLS would wait for the other side's last word
            await asyncio.gather(*self._serving, return_exceptions=True)

    @property
    def url(self) -> URL:
        scheme = "http" if self.tls is None else "https"
        return URL(f"{scheme}://127.0.0.1:{self.port}/up/a%2Fb%20c?d=e%26")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if (task := asyncio.current_task()) is not None:
            self._serving[task] = writer
        try:
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                self.began.set()
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                for bit in self.first:
                    await asyncio.sleep(0.2)
                    writer.write(bit)
                if self.reads:
                    self.received += len(await reader.readexactly(length))
                writer.write(self.answers.pop(0))
                await writer.drain()
                if self.ends:
                    break
                if not self.reads:
                    await asyncio.sleep(60)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()
            self.ended.set()


async def asked(way: Straight, server: Bare, data: bytes = b"1234567") -> Head:
    headers = {"Content-Length": str(len(data))}
    return await way.ask("PATCH", server.url, headers, body_of(data), len(data), verifying=0.0)
