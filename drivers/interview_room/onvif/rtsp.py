"""RTSP 1.0 as far as a replay needs it: requests, answers and interleaved frames, all bounded; HTTP Digest.

RFC 2326 for messages and section 10.12 for frames; RFC 7616 for Digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from agent.errors import DeviceGone, DeviceRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Frame", "Login", "Message", "read", "written"]

_LINE_MAX: Final = 8192
_HEADERS_MAX: Final = 100
_BODY_MAX: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Frame:
    """One interleaved frame."""

    channel: int
    data: bytes


@dataclass(slots=True)
class Message:
    """A request or an answer: its first line tells. Header names are in small letters."""

    first: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def status(self) -> int:
        """Of an answer; 0 for a request."""
        words = self.first.split(" ", 2)
        return int(words[1]) if self.first.startswith("RTSP/1.0 ") and words[1:] and words[1].isdigit() else 0

    @property
    def method(self) -> str:
        """Of a request."""
        return self.first.split(" ", 1)[0]


async def read(reader: asyncio.StreamReader) -> Message | Frame:
    """The next message or frame. `DeviceGone` at the end, `DeviceRefused` for what is neither."""
    try:
        first = await reader.readexactly(1)
        if first == b"$":
            head = await reader.readexactly(3)
            return Frame(head[0], await reader.readexactly(int.from_bytes(head[1:], "big")))
        line = (first + await reader.readuntil(b"\n")).decode("latin-1").strip()
        message = Message(line)
        while line := (await reader.readuntil(b"\n")).decode("latin-1").strip():
            name, colon, value = line.partition(":")
            if not colon or not _NAME.fullmatch(name) or len(message.headers) >= _HEADERS_MAX:
                raise DeviceRefused("the recorder does not speak RTSP")
            message.headers[name.lower()] = value.strip()
        length = message.headers.get("content-length", "0")
        if not length.isdigit() or len(length) > 9 or int(length) > _BODY_MAX:  # noqa: PLR2004 - digits
            raise DeviceRefused("the recorder answers RTSP with a length that cannot be true")
        message.body = await reader.readexactly(int(length))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise DeviceGone("the recorder closed the connection") from error
    except (asyncio.LimitOverrunError, ValueError) as error:
        raise DeviceRefused("the recorder does not speak RTSP") from error
    return message


def written(first: str, headers: Mapping[str, object], body: bytes = b"") -> bytes:
    """A message as bytes. What would break a line is left out."""
    lines = [first, *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(re.sub(r"[\r\n]", "", line) for line in [*lines, "", ""]).encode("latin-1", "replace") + body


@dataclass(slots=True)
class Login:
    """Answers challenges; `sure` is asked for each request once a challenge was seen."""

    user: str
    password: str
    _words: dict[str, str] = field(default_factory=dict)
    _basic: bool = False
    _count: int = 0

    def challenged(self, challenge: str) -> bool:
        """Take note of what the recorder asks for; False where it cannot be answered, or was and is asked again."""
        kind, _, rest = challenge.partition(" ")
        words = dict(re.findall(r'(\w+)="?([^",]*)"?', rest))
        again = words.get("nonce") == self._words.get("nonce") and bool(self._words)
        if kind.lower() == "digest" and words.get("algorithm", "MD5").upper() in ("MD5", "SHA-256"):
            self._words = words
            return not again or words.get("stale", "").lower() == "true"
        return False  # Basic would show the password to whoever listens

    def sure(self, method: str, uri: str) -> str | None:
        """The header for a request; None before a challenge."""
        if not self._words:
            return None
        words, self._count = self._words, self._count + 1
        algorithm = words.get("algorithm", "MD5")
        name = "sha256" if algorithm.upper() == "SHA-256" else "md5"

        def mixed(text: str) -> str:
            return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()

        one, two = mixed(f"{self.user}:{words.get('realm', '')}:{self.password}"), mixed(f"{method}:{uri}")
        told = {"username": self.user, "realm": words.get("realm", ""), "nonce": words.get("nonce", ""), "uri": uri}
        if "auth" in words.get("qop", "").split(","):
            mine, count = secrets.token_hex(8), f"{self._count:08x}"
            response = mixed(f"{one}:{told['nonce']}:{count}:{mine}:auth:{two}")
            extra = f', qop=auth, nc={count}, cnonce="{mine}"'
        else:
            response, extra = mixed(f"{one}:{told['nonce']}:{two}"), ""
        quoted = ", ".join(f'{key}="{value}"' for key, value in told.items())
        opaque = f', opaque="{words["opaque"]}"' if "opaque" in words else ""
        return f'Digest {quoted}, response="{response}", algorithm={algorithm}{extra}{opaque}'


def host_of(url: str) -> tuple[str, int]:
    """(host, port) of an `rtsp://` address. `DeviceRefused` for what is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 554
    except ValueError:
        host, port, parts = None, 0, None
    if not host or parts is None or parts.scheme != "rtsp":
        raise DeviceRefused("the recorder names an address for the replay that is none")
    return host, port
