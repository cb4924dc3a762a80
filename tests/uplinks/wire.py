"""A TCP relay between an uplink and its server, with one fault for each connection, written as a short string.

`Wire("cut@1048576 stall@65536 ok", port)`: the first connection is reset after so many bytes from the client, the
second takes so many and then nothing more, the third and all further ones are left alone. Words:

    ok             nothing goes wrong
    cut@N          reset both sides after N bytes from the client
    stall@N        take N bytes from the client, then read nothing any more
    mute@N         pass N bytes from the client on, then nothing that the server answers
    limit=N        pass N bytes per second from the client on
    refuse         reset at once

With `scans`, whatever the word says, a connection that carries these bytes is reset, as a virus scanner does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Self

BLOCK = 64 * 1024


class Wire:
    def __init__(self, faults: str, port: int, *, scans: bytes | None = None) -> None:
        self._faults = faults.split()
        self._scans = scans
        self._target = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        self.upstream = 0
        """Bytes from the client that were passed on."""

    async def __aenter__(self) -> Self:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BLOCK)  # else the kernel takes megabytes at once
        self._server = await asyncio.start_server(self._serve, sock=listening, limit=BLOCK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/files"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        fault = self._faults[self.connections] if self.connections < len(self._faults) else "ok"
        self.connections += 1
        try:
            await self._relay(fault, reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _relay(self, fault: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if fault == "refuse":
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target, limit=BLOCK)
        name, _, number = fault.replace("=", "@").partition("@")
        muted = asyncio.Event()
        try:
            back = asyncio.create_task(self._back(far_reader, writer, muted))
            try:
                found = await self._forth(name, int(number or 0), reader, far_writer, muted)
                if name != "cut" and not found:
                    far_writer.write_eof()
                    await back
            finally:
                back.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await back
        except ConnectionError:
            pass
        finally:
            far_writer.transport.abort()

    async def _forth(
        self, name: str, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, muted: asyncio.Event
    ) -> bool:
        """Whether what is scanned for was found."""
        passed, tail = 0, b""
        while True:
            room = number - passed if name in {"cut", "stall"} else BLOCK
            if name == "limit":
                await asyncio.sleep(0.05)
                room = max(1, number // 20)
            if room <= 0:
                if name == "cut":
                    return False
                await asyncio.Event().wait()
            block = await reader.read(min(room, BLOCK))
            if not block:
                return False
            if self._scans is not None:
                tail = tail[-len(self._scans) :] + block
                if self._scans in tail:
                    return True
            passed += len(block)
            self.upstream += len(block)
            if name == "mute" and passed >= number:
                muted.set()
            writer.write(block)
            await writer.drain()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, muted: asyncio.Event) -> None:
        while block := await reader.read(BLOCK):
            if not muted.is_set():
                writer.write(block)
                await writer.drain()
