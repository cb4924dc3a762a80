"""Long bodies on a quick link: each with a thread that takes them from the page cache through TLS to the socket.

The event loop's TLS copies each byte into two buffers more and wakes for each block, which is half of what a GiB costs
there. What is sent here ends as it does on the event loop: by the same watch, and with the same errors.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import aiohappyeyeballs

from agent.uplink.http.carriage import Carriage, UnmadeError
from agent.uplink.http.line import TCP_NOTSENT_LOWAT, Line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from yarl import URL

    from agent.uplink import Leaving
    from agent.uplink.http.incoming import Head

__all__ = ["LONG", "Straight"]

LONG: Final = 1024 * 1024
"""Bytes of a body for which a thread is worth it."""
ABREAST: Final = 16
"""Bodies that go this way at once: as many as captures are on their way where nothing else is said."""
IDLE: Final = 15.0
"""Seconds for which a connection is kept for the next body, as the event loop's are."""
NEXT_ADDRESS: Final = 0.25
"""Seconds before the next address of a name is tried beside the one before (RFC 8305)."""
UNSENT: Final = 1024 * 1024
"""Bytes that the kernel takes beyond what is on the wire: with less, the thread wakes for each of them."""


class Straight:
    """The connections of one server on which long bodies go, and the threads that send them."""

    def __init__(
        self,
        tls: ssl.SSLContext | None,
        made: Callable[[tuple[Any, ...]], socket.socket],
        *,
        connect_timeout: float,
        stall: float,
        longest: int,
    ) -> None:
        """`tls`: for https; None: the system's authorities, and nothing of who we are.

        `made` makes a socket for an address; `longest`: bytes of an answer that are read.
        """
        self._tls, self._made = tls, made
        self._connect_timeout, self._stall, self._longest = connect_timeout, stall, longest
        self._threads = ThreadPoolExecutor(ABREAST, thread_name_prefix="straight")
        self._idle: list[tuple[float, URL, Line]] = []
        """Since when, to which origin, and what; the one that was used last at the end."""
        self._sweep: asyncio.TimerHandle | None = None
        self._going = set[object]()
        """A token for each body that has a thread, or is about to; one that nobody waits for keeps it until its end."""
        self._able = True
        self._closed = False

    @property
    def free(self) -> bool:
        """Whether one more body may go this way now."""
        return self._able and len(self._going) < ABREAST

    async def ask(
        self, method: str, url: URL, headers: Mapping[str, str], body: Leaving, length: int, *, verifying: float
    ) -> Head:
        """Send one request with `length` bytes and return its answer; `verifying` seconds may pass before it begins.

        Raises `UnmadeError` or `BrokenError`, and what `body` raised.
        """
        request, token = _request(method, url, headers), object()
        self._going.add(token)
        try:
            line = self._kept(url.origin()) or await self._connected(url)
            carriage = Carriage(
                line, body, length, within=self._connect_timeout, stall=self._stall, verifying=verifying
            )
            work = self._begun(carriage, request, method)
        except RuntimeError as error:
            self._able = False  # the event loop, whose threads are there already, sends what comes next
            self._going.discard(token)
            raise UnmadeError(error) from error
        except BaseException:
            self._going.discard(token)
            raise
        work.add_done_callback(lambda _: self._going.discard(token))
        head = await carriage.watched(work)
        if not line.closed:
            self._keep(url.origin(), line)
        return head

    def _begun(self, carriage: Carriage, request: bytes, method: str) -> Future[Head]:
        try:
            return self._threads.submit(carriage.run, request, method, longest=self._longest)
        except RuntimeError:
            carriage.end()  # another thread may find it in the queue
            raise

    async def _connected(self, url: URL) -> Line:
        host = url.raw_host or ""  # a dot at its end keeps search domains away from it, and is no part of the name
        try:
            async with asyncio.timeout(self._connect_timeout):
                found = await asyncio.get_running_loop().getaddrinfo(host, url.port, type=socket.SOCK_STREAM)
                made = await aiohappyeyeballs.start_connection(
                    found, happy_eyeballs_delay=NEXT_ADDRESS, interleave=1, socket_factory=self._made
                )
        except OSError as error:  # covers the time-out
            raise UnmadeError(error) from error
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT)
        made.setblocking(True)  # noqa: FBT003 - the socket's own signature
        if url.scheme == "https" and self._tls is None:  # an http server sent us on to it
            self._tls = ssl.create_default_context()
        return Line(made, self._tls if url.scheme == "https" else None, host.rstrip("."))

    def _kept(self, origin: URL) -> Line | None:
        for at in range(len(self._idle) - 1, -1, -1):
            if self._idle[at][1] == origin:
                line = self._idle.pop(at)[2]
                if line.quiet():
                    return line
                line.close()  # its other end closed it
        return None

    def _keep(self, origin: URL, line: Line) -> None:
        if self._closed:
            line.close()
            return
        self._idle.append((monotonic(), origin, line))
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE, self._swept)

    def _swept(self) -> None:
        self._sweep = None
        while self._idle and monotonic() - self._idle[0][0] >= IDLE:
            self._idle.pop(0)[2].close()
        if self._idle:
            self._sweep = asyncio.get_running_loop().call_later(IDLE, self._swept)

    def close(self) -> None:
        """Close what nobody uses, and let the threads end."""
        self._closed = True
        while self._idle:
            self._idle.pop()[2].close()
        if self._sweep is not None:
            self._sweep.cancel()
        self._threads.shutdown(wait=False)


def _request(method: str, url: URL, headers: Mapping[str, str]) -> bytes:
    """A request's first line and its headers. Raises `ValueError` for one that would be more than a line."""
    lines = [f"{method} {url.raw_path_qs} HTTP/1.1", f"Host: {url.host_port_subcomponent}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a header of a request is one line")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
