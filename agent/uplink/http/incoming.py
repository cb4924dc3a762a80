"""What comes back on a connection that a thread uses: answers, read by the standard library's parser."""

from __future__ import annotations

import io
import re
import select
import socket
import ssl
from dataclasses import dataclass
from http.client import HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any, Final, cast

from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Head", "Incoming"]

AHEAD_MAX: Final = 64 * 1024
"""Bytes that are taken of an answer that begins before its request has ended, until the rest of it is wanted."""

_RECORD: Final = 5
"""Bytes of the head of a TLS record: its type, a version, and its length (RFC 8446 section 5.1)."""
_APPLICATION_DATA: Final = 23
_REST: Final = 20
"""Milliseconds after which the rest of a record is looked for again."""
_ANSWER_LEAST: Final = 32
"""Bytes of a record with `HTTP/1.1 204` and two line ends, where keys add least; of a `KeyUpdate` it has 22."""

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

    def room(self) -> bool:
        """Return True when the socket may take more; False as soon as an answer begins instead. Raises as `early`."""
        return self._raw.room()

    def told(self) -> None:
        """Return when something came, which may be what TLS needs before anything more can be sent."""
        self._raw.wait(select.POLLIN)

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
        whole = response.status >= 200 and (response.isclosed() or response.length == 0)  # noqa: PLR2004 - as below
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
    """A socket that does not block, and the first bytes of an answer that came before its request had ended."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._first = b""
        self._ended = False
        """Nothing comes behind those."""
        self._dry = False
        self._poll = select.poll()

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any, /) -> int | None:  # noqa: ANN401 - a writable buffer
        if self._first:
            count = min(len(room), len(self._first))
            room[:count], self._first = self._first[:count], self._first[count:]
            return count
        while not self._dry:
            try:
                return self._sock.recv_into(room)
            except (BlockingIOError, ssl.SSLWantReadError):
                self.wait(select.POLLIN)
            except ssl.SSLWantWriteError:  # TLS itself has to say something
                self.wait(select.POLLOUT)
        return None

    def wait(self, events: int, timeout: float | None = None) -> int:
        """Wait for one of these, or the connection's end, as which a `shutdown` by another thread counts."""
        self._poll.register(self._sock, events)
        return next((found for _, found in self._poll.poll(timeout)), 0)

    def came(self) -> bool:
        """Whether the socket has something to read, or its end."""
        return bool(self.wait(select.POLLIN, 0))

    def room(self) -> bool:
        """See `Incoming.room`."""
        # Listening where nothing is read, the wait would end again and again.
        while self._listens() and not self.wait(select.POLLIN | select.POLLOUT) & select.POLLOUT:
            match self._readable():
                case True:
                    return not self._early(half=True)
                case False:
                    break
                case None if self.wait(select.POLLOUT, _REST):
                    return True
        self.wait(select.POLLOUT)
        return True

    def _readable(self) -> bool | None:
        """Whether what came may be read while half of what we said last is still to be sent; None: not all is here yet.

        TLS cannot say anything else before the other half. So not what it would answer: a handshake, or, which cannot
        be told from the rest but by its length, that the other side wants another key (RFC 8446 section 4.6.3). Nor
        what comes before such a thing: behind what is no answer, such as a ticket, TLS reads on by itself.
        """
        if not isinstance(self._sock, ssl.SSLSocket):
            return True
        seen, at = socket.socket.recv(self._sock, AHEAD_MAX, socket.MSG_PEEK), 0
        while at + _RECORD <= len(seen):
            length = int.from_bytes(seen[at + 3 : at + _RECORD], "big")
            if seen[at] != _APPLICATION_DATA or length < _ANSWER_LEAST:
                return False
            at += _RECORD + length
        return True if at == len(seen) or len(seen) == AHEAD_MAX else None

    def early(self) -> bool:
        """Take what came, and drop interim answers: see `Incoming.early`."""
        return self._early(half=False)

    def _early(self, *, half: bool) -> bool:
        while self._listens() and self.came() and (not half or self._readable()) and (more := self._taken()):
            self._first += more
        while _INTERIM.match(self._first) and (end := self._first.find(b"\r\n\r\n")) >= 0:
            self._first = self._first[end + 4 :]
        if self._ended and not self._first:
            raise ConnectionResetError("the other side ended the connection")
        return len(self._first) >= len(b"HTTP/1.1 200") and not _INTERIM.match(self._first)

    def _listens(self) -> bool:
        return not self._ended and len(self._first) < AHEAD_MAX

    def _taken(self) -> bytes:
        """What can be had without waiting: nothing where it was only for TLS itself, such as a ticket."""
        try:
            more = self._sock.recv(AHEAD_MAX - len(self._first))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError:
            if not self._first:
                raise
            more = b""
        self._ended = not more
        return more

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
