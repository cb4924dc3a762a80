"""What comes back on a connection that a thread uses: answers, read by the standard library's parser."""

from __future__ import annotations

import io
import re
import select
import ssl
from dataclasses import dataclass
from http.client import HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any, Final, cast

from multidict import CIMultiDict

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

__all__ = ["Head", "Incoming"]

AHEAD_MAX: Final = 64 * 1024
"""Bytes that are taken of an answer that begins before its request has ended, until the rest of it is wanted."""

_INTERIM: Final = re.compile(rb"HTTP/1\.\d 1(?!01)\d\d ?")
"""How an answer begins after which another one comes; Switching Protocols (101) is the last one."""


@dataclass(frozen=True, slots=True)
class Head:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    """Those of one name are joined; found in any case of letters."""
    body: bytes = b""
    """At most its beginning."""


class Incoming:
    """The answers on one connection, one after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self._raw = _Raw(sock)
        self._file = io.BufferedReader(self._raw)
        self._more = False
        """Behind the last answer there was something that nobody had asked for."""

    def quiet(self) -> bool:
        """Whether nothing came that nobody asked for, as the other side's end would be."""
        return not self._more and not self._raw.came()

    def early(self) -> bool:
        """Whether the answer begins already; what only tells how far a request came is not it.

        Raises `OSError`, too where the other side ended the connection.
        """
        return self._raw.early()

    def answer(self, method: str, longest: int) -> tuple[Head, bool]:
        """Read the next answer, and at most `longest` bytes of its body; and whether another one may follow it here.

        Raises `OSError`, and `HTTPException` for what is none.
        """
        response = self._final(method)
        read = b""
        while len(read) < longest and (more := response.read(longest - len(read))):
            read += more
        if response.length and len(read) < longest:
            raise IncompleteRead(read, response.length)
        whole = response.isclosed() or response.length == 0
        self._more = self._raw.holds(self._file)
        names = dict.fromkeys(name.lower() for name in response.headers)
        joined = CIMultiDict((name, ", ".join(response.headers.get_all(name, []))) for name in names)
        return Head(response.status, joined, read), whole and not response.will_close

    def _final(self, method: str) -> HTTPResponse:
        """Read past interim answers."""
        while True:
            response = HTTPResponse(cast("Any", self), method=method)
            response.begin()
            if response.status >= 200 or response.status == 101:  # noqa: PLR2004 - Switching Protocols is the last one
                return response

    def makefile(self, _: str, /) -> _Whole:
        """What the parser reads one answer from."""
        return _Whole(self._file)


class _Raw(io.RawIOBase):
    """A blocking socket, and the first bytes of an answer that came before its request had ended."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._first = b""
        self._dry = False
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any, /) -> int | None:  # noqa: ANN401 - a writable buffer
        if self._first:
            count = min(len(room), len(self._first))
            room[:count], self._first = self._first[:count], self._first[count:]
            return count
        return None if self._dry else self._sock.recv_into(room)

    def came(self) -> bool:
        """Whether the socket has something to read, or its end."""
        return bool(self._poll.poll(0))

    def early(self) -> bool:
        """Take what came, and drop interim answers: see `Incoming.early`."""
        while len(self._first) < AHEAD_MAX and self.came():
            if not (more := self._taken()):
                break
            self._first += more
        while _INTERIM.match(self._first) and (end := self._first.find(b"\r\n\r\n")) >= 0:
            self._first = self._first[end + 4 :]
        return len(self._first) >= len(b"HTTP/1.1 200") and not _INTERIM.match(self._first)

    def _taken(self) -> bytes:
        """What can be had without waiting: nothing where it was only for TLS itself, such as a ticket."""
        self._sock.setblocking(False)  # noqa: FBT003 - the socket's own signature
        try:
            if more := self._sock.recv(AHEAD_MAX - len(self._first)):
                return more
        except (BlockingIOError, ssl.SSLWantReadError):
            return b""
        except OSError:
            if not self._first:
                raise
        finally:
            self._sock.setblocking(True)  # noqa: FBT003 - as above
        if self._first:
            return b""  # whoever reads on will find the end
        raise ConnectionResetError("the other side ended the connection")

    def holds(self, file: io.BufferedReader[_Raw]) -> bool:
        """Whether bytes were taken from the socket that nobody read yet; `file` reads from here."""
        self._dry = True
        try:
            return bool(file.peek(1)) or bool(isinstance(self._sock, ssl.SSLSocket) and self._sock.pending())
        finally:
            self._dry = False


class _Whole(io.BufferedIOBase):
    """What one answer is read from. Half a line is none, and the answer's end is not that of the connection."""

    def __init__(self, file: io.BufferedReader[_Raw]) -> None:
        self._file = file

    def readline(self, size: int | None = -1, /) -> bytes:
        line = self._file.readline(-1 if size is None else size)
        if not line.endswith(b"\n") and len(line) != size:
            raise ConnectionResetError("the connection ended within an answer" if line else "no answer came")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        return self._file.read(size)
