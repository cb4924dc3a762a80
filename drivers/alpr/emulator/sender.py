"""A camera that pushes, on a plain socket, so that everything on the wire can go wrong.

A wire is one letter for each request, over all of them; where it ends, everything goes well:

    r   whole, with its length          k   whole, in chunks            d   whole, and at once once more
    c   cut in the middle, and the connection with it                   l   a length that never comes, and silence
    x   whole, after `100 Continue`     h   in many small pieces

What an answer means differs by maker: `never_resend` gives up at any answer, and at a closed connection too;
`delete_on_any_answer` takes whatever is answered for success, and sends again only where nothing was.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl

    from drivers.alpr.emulator.messages import Sent

__all__ = ["Sender"]

LETTERS: Final = frozenset("rkdclxh")
_WELL: Final = range(200, 300)
_CHALLENGED: Final = 401


@dataclass(slots=True)
class Sender:
    """One camera."""

    host: str
    port: int
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    login: tuple[str, str, str] | None = None
    """(`basic` or `digest`, user, password)."""
    tls: ssl.SSLContext | None = None
    wire: str = ""
    never_resend: bool = False
    delete_on_any_answer: bool = False
    resend_after: float = 0.05
    """Seconds until something is sent again."""
    patience: float = 5.0
    """Seconds in which an answer must come."""
    said: list[int] = field(default_factory=list)
    """The status of each answer; 0 where there was none."""
    text: str = ""
    """The body of the last answer."""
    why: str = ""
    """Why no answer came, the last time that none did."""
    _challenge: str = ""

    def __post_init__(self) -> None:
        if unknown := set(self.wire) - LETTERS:
            raise ValueError(f"{''.join(sorted(unknown))} is nothing that a wire does")

    async def send(self, message: Sent) -> bool:
        """Bring one message as this camera does; whether it was answered with success."""
        while True:
            status = await self.once(message)
            if status in _WELL:
                return True
            if self.never_resend or (self.delete_on_any_answer and status):
                return False
            await asyncio.sleep(self.resend_after)

    async def once(self, message: Sent) -> int:
        """One request; its status, or 0 where no answer came."""
        letter, self.wire = (self.wire[:1] or "r"), self.wire[1:]
        status = await self._asked(message, letter)
        if status == _CHALLENGED and self._challenge and letter not in "cl":
            status = await self._asked(message, letter)
        if letter == "d":
            self.said.append(status)
            status = await self._asked(message, "r")
        self.said.append(status)
        return status

    async def _asked(self, message: Sent, letter: str) -> int:
        writer = None
        try:
            async with asyncio.timeout(self.patience):
                reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
                return await self._spoken(reader, writer, message, letter)
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            self.why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            return 0
        finally:
            if writer is not None:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _spoken(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: Sent, letter: str
    ) -> int:
        body = message.body
        head = [f"POST {self.path} HTTP/1.1", f"Host: {self.host}:{self.port}", "Connection: close"]
        head += [f"Content-Type: {message.content_type}", *(f"{name}: {value}" for name, value in self.headers.items())]
        head += [f"Authorization: {shown}"] if (shown := self._shown()) else []
        head.append(
            "Transfer-Encoding: chunked" if letter == "k" else f"Content-Length: {len(body) + 99 * (letter == 'l')}"
        )
        if letter == "x":
            head.append("Expect: 100-continue")
        writer.write("\r\n".join([*head, "", ""]).encode())
        if letter == "x":
            first = await reader.readuntil(b"\r\n\r\n")
            if b" 100 " not in first.split(b"\r\n", 1)[0]:
                return await self._status(reader, first)
        if letter == "k":
            for at in range(0, len(body), 7001):
                piece = body[at : at + 7001]
                writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            writer.write(b"0\r\n\r\n")
        elif letter == "h":
            for at in range(0, len(body), max(1, len(body) // 20)):
                writer.write(body[at : at + max(1, len(body) // 20)])
                await writer.drain()
                await asyncio.sleep(0.001)
        else:
            writer.write(body[: len(body) // 2] if letter == "c" else body)
        await writer.drain()
        if letter == "c":
            return 0
        return await self._status(reader, await reader.readuntil(b"\r\n\r\n"))

    async def _status(self, reader: asyncio.StreamReader, head: bytes) -> int:
        lines = head.decode("latin-1").split("\r\n")
        for line in lines[1:]:
            name, _, value = line.partition(":")
            wanted = name.lower() == "www-authenticate" and self.login is not None and "SHA-256" not in value
            if wanted and self.login and value.strip().lower().startswith(self.login[0]):
                self._challenge = value.strip()
        self.text = (await reader.read()).decode("utf-8", "replace")
        return int(lines[0].split(" ")[1])

    def _shown(self) -> str:
        if self.login is None or not self._challenge:
            return ""
        kind, user, password = self.login
        if kind == "basic":
            return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

        def digest(*words: str) -> str:
            return hashlib.md5(":".join(words).encode(), usedforsecurity=False).hexdigest()

        said = dict(re.findall(r'(\w+)="([^"]*)"', self._challenge))
        who, what = digest(user, said["realm"], password), digest("POST", self.path)
        answer = digest(who, said["nonce"], "00000001", "abcdef", "auth", what)
        return (
            f'Digest username="{user}", realm="{said["realm"]}", nonce="{said["nonce"]}", uri="{self.path}", '
            f'algorithm=MD5, qop=auth, nc=00000001, cnonce="abcdef", response="{answer}"'
        )
