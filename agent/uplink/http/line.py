"""One connection that a thread uses, without an event loop: encrypted by the thread, and shut down by any."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from threading import Lock
from typing import Final

from agent.uplink.http.incoming import Incoming

__all__ = ["BLOCK", "TCP_NOTSENT_LOWAT", "Line"]

TCP_NOTSENT_LOWAT: Final = 25  # linux/tcp.h; not every Python 3.11 was built to name it

BLOCK: Final = 256 * 1024
"""Bytes that are read and encrypted at once: they stay in the caches of a processor meanwhile."""


class Line:
    """A socket, and what was heard on it."""

    def __init__(self, made: socket.socket, tls: ssl.SSLContext | None, host: str) -> None:
        """`tls`: how to encrypt; `host`: whom the other end must prove to be then."""
        self._sock, self._tls, self._host = made, tls, host
        self._closing = Lock()
        self.incoming = Incoming(made)
        self.room = memoryview(bytearray(BLOCK))
        """Where a thread puts bytes before it sends them."""

    def greet(self) -> None:
        """Agree upon keys, where that was not done yet. Raises `OSError`."""
        if self._tls is not None:
            with self._closing:
                self._sock.getpeername()  # what was reset already, Python's TLS would take and leave open
                sock = self._tls.wrap_socket(self._sock, server_hostname=self._host, do_handshake_on_connect=False)
                self._sock, self._tls, self.incoming = sock, None, Incoming(sock)
            sock.do_handshake()
        self._sock.setblocking(False)  # noqa: FBT003 - the socket's own signature

    def send(self, data: bytes | memoryview) -> bool:
        """Return True when the socket has taken all of it; False as soon as an answer begins instead.

        Nothing can be sent any more then. Raises `OSError`.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except ssl.SSLWantReadError:
                self.incoming.told()
            except (BlockingIOError, ssl.SSLWantWriteError):
                if not self.incoming.room():
                    return False
        return True

    def cork(self, *, on: bool) -> None:
        """Let only full segments leave until it is turned off: who receives wakes for them, and not for each record."""
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)

    def quiet(self) -> bool:
        """Whether nothing came that nobody asked for, as the other side's end would be."""
        return self.incoming.quiet()

    @property
    def closed(self) -> bool:
        """Nothing goes over it any more."""
        return self._sock.fileno() < 0

    def shut(self) -> None:
        """End whatever a thread waits for here."""
        with self._closing, suppress(OSError):
            # A TLS socket's own would forget its keys first, and let the next bytes out as they are.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let it go. Never while `shut` may take a descriptor that is another file's by then."""
        with self._closing, suppress(OSError):
            self._sock.close()
