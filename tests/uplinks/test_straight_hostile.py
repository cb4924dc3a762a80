"""Long bodies by threads, to servers of every mood, given up at any moment: nothing is left, and no yes is false."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from yarl import URL

from agent.uplink.http.carriage import BrokenError, UnmadeError
from tests.uplinks.bare import body_of, way_to
from tests.uplinks.memory import MIB, some_bytes
from tests.uplinks.tls import served_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.uplink.http.straight import Straight

REQUESTS = 80
DATA = some_bytes(4 * MIB)
FILES = Path("/proc/self/fd")


class Moody:
    """Serves one connection, each request of it in another mood."""

    def __init__(self, tls: ssl.SSLContext | None, chance: random.Random) -> None:
        self.tls, self.chance = tls, chance

    def serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError):
            connection.settimeout(20)
            if self.chance.random() < 0.1:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                connection.close()
            elif self.tls is not None:
                connection.getpeername()  # as in `Line.greet`
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection.makefile("rb") as heard:
                while self.answered(connection, heard):
                    pass
        connection.close()

    def answered(self, connection: socket.socket, heard: object) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (line := heard.readline()):  # type: ignore[attr-defined]
                return False
            head += line
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
        mood = self.chance.choice(["no", "no, and reads on", "ends", "no in between", "interim", "late", *["yes"] * 4])
        if mood == "no":
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
            time.sleep(self.chance.random() * 0.05)
            return False
        if mood == "no, and reads on":
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return len(heard.read(length)) == length  # type: ignore[attr-defined]
        if mood in {"ends", "no in between"}:
            heard.read(self.chance.randrange(length))  # type: ignore[attr-defined]
            if mood != "ends":
                connection.sendall(b"HTTP/1.1 503 Later\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return False
        if mood == "interim":
            connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        elif mood == "late":
            time.sleep(0.05)
        received = len(heard.read(length))  # type: ignore[attr-defined]
        connection.sendall(b"HTTP/1.1 204 No Content\r\nReceived: %d\r\n\r\n" % received)
        return True


@contextmanager
def moody(tls: ssl.SSLContext | None) -> Iterator[int]:
    """Its port; each connection has a thread, which ends with it."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        serving: list[threading.Thread] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    one = Moody(tls, random.Random(len(serving)))
                    serving.append(threading.Thread(target=one.serve, args=(connection,)))
                    serving[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for thread in serving:
            thread.join()


async def one_of_many(way: Straight, url: URL, chance: random.Random) -> int | None:
    """The status that it was answered with, if it was; given up after a moment, sometimes."""
    length = chance.choice([MIB, 2 * MIB, 4 * MIB])
    words = {"Content-Length": str(length)}
    asking = asyncio.create_task(way.ask("PUT", url, words, body_of(DATA[:length]), length, verifying=0.0))
    if chance.random() < 0.4:
        await asyncio.wait({asking}, timeout=chance.random() * 0.05)
        asking.cancel()
    try:
        head = await asking
    except (UnmadeError, BrokenError, asyncio.CancelledError):
        return None
    assert head.status != 204 or head.headers["Received"] == str(length)
    return head.status


def open_files() -> int:
    return len(list(FILES.iterdir()))


@pytest.mark.parametrize("encrypted", [False, True])
async def test_nothing_is_left_over_and_no_yes_is_false(*, encrypted: bool) -> None:
    authority, ours, theirs = trustme.CA(), None, None
    if encrypted:
        theirs, ours = served_with(authority.issue_cert("127.0.0.1")), ssl.create_default_context()
        authority.configure_trust(ours)
    await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 1)
    before = open_files()
    with moody(theirs) as port:
        way, chance, places = way_to(ours), random.Random(7), asyncio.Semaphore(8)
        url = URL(f"{'https' if encrypted else 'http'}://127.0.0.1:{port}/up")

        async def placed() -> int | None:
            async with places:
                return await one_of_many(way, url, chance)

        async with asyncio.timeout(120):
            told = await asyncio.gather(*(placed() for _ in range(REQUESTS)))
            while way._going:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        way.close()
    assert {204, 403, 503, None} == set(told)
    assert open_files() <= before, "what others had left to the collector may be closed meanwhile"
