"""The status service's door: so many connections and no more, so much time for each request, and who may come in."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import socket
import ssl
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from aiohttp import web

from agent.errors import ConfigError, Problem, in_words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from aiohttp.web_protocol import RequestHandler

    from agent.config import StatusConfig

__all__ = ["CONNECTIONS", "FROM_ONE_ADDRESS", "PATIENCE", "Answer", "Door", "Token", "hosts", "tls_context"]

CONNECTIONS: Final = 128
"""Connections at once, handshakes included: whoever comes then is turned away, and the agent keeps its descriptors."""

FROM_ONE_ADDRESS: Final = 48
"""Connections at once from one address: one tablet holds two or three."""

PATIENCE: Final = 15.0
"""Seconds that a handshake, a request's head, or an answer may take, and that a connection may be idle."""

LINE_MAX: Final = 2048
"""Bytes of a request's first line: no path here is longer than a few words."""

FIELD_MAX: Final = 4096
"""Bytes of one header field."""

FIELDS_MAX: Final = 64

TOKEN_MIN: Final = 32
TOKEN_MAX: Final = 512

Stream: TypeAlias = "Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]"
"""An answer that goes on: it keeps its own time."""
Answer: TypeAlias = "web.Response | Stream"
Left: TypeAlias = "Callable[[str], None]"

_SILENT: Final = logging.Logger("agent.station.door")  # noqa: LOG001 - of nobody's tree: strangers fill no log
_SILENT.addHandler(logging.NullHandler())
_SILENT.disabled = True


class Token:
    """The one secret that lets in: as a bearer token, or as the password of any user name."""

    def __init__(self, path: Path) -> None:
        try:
            text = path.read_text("ascii").strip()
            mode = path.stat().st_mode
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no plain text"
            raise ConfigError([Problem("status.token_file", f"{path}: {why}")]) from error
        if not (TOKEN_MIN <= len(text) <= TOKEN_MAX and text.isprintable() and " " not in text):
            wanted = f"{path} must hold {TOKEN_MIN} to {TOKEN_MAX} characters without a space"
            raise ConfigError([Problem("status.token_file", wanted)], hint=f"openssl rand -hex 32 > {path}")
        if mode & 0o007:
            raise ConfigError([Problem("status.token_file", f"everybody may read {path}")], hint=f"chmod o= {path}")
        self._digest = _digest(text)

    def admits(self, authorization: str | None) -> bool:
        """Whether this header field holds it."""
        kind, _, value = (authorization or "").partition(" ")
        match kind.lower():
            case "bearer":
                shown = value.strip()
            case "basic":
                with suppress(binascii.Error, ValueError):
                    shown = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")[2]
                    return hmac.compare_digest(_digest(shown), self._digest)
                return False
            case _:
                return False
        return hmac.compare_digest(_digest(shown), self._digest)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def hosts(config: StatusConfig) -> frozenset[str]:
    """Names under which a station without a secret answers: a page of a stranger that was led here has another."""
    literal = f"[{config.address}]" if config.address.version == 6 else str(config.address)  # noqa: PLR2004 - IPv6
    return frozenset({"localhost", literal})


def tls_context(config: StatusConfig) -> ssl.SSLContext | None:
    """Who we are, and whom we let in. Raises `ConfigError` where a file cannot be used."""
    if config.cert_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # The password callback keeps OpenSSL from asking at a terminal for an encrypted key.
        context.load_cert_chain(config.cert_file, config.key_file, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        named = ", ".join(str(path) for path in (config.cert_file, config.key_file) if path is not None)
        raise ConfigError([Problem("status.cert_file", f"{named}: {in_words(error)}")]) from error
    if config.client_ca_file is not None:
        try:
            context.load_verify_locations(config.client_ca_file)
        except (OSError, ssl.SSLError) as error:
            told = f"{config.client_ca_file}: {in_words(error)}"
            raise ConfigError([Problem("status.client_ca_file", told)]) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _printed(config: StatusConfig) -> list[tuple[int, int, int]]:
    """What tells whether the files of `tls_context` are others than before."""
    found = []
    for path in filter(None, (config.cert_file, config.key_file, config.client_ca_file)):
        with suppress(OSError):
            there = path.stat()
            found.append((there.st_ino, there.st_size, there.st_mtime_ns))
    return found


class Door:
    """Listens for as long as the block lasts. `answer` has PATIENCE for an answer, or gives a stream instead."""

    def __init__(self, config: StatusConfig, answer: Callable[[web.BaseRequest], Awaitable[Answer]]) -> None:
        self._config, self._files, self._tls = config, _printed(config), tls_context(config)
        self._answer = answer
        self._listening: socket.socket | None = None
        self._server: _Server | None = None
        self._from: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self.turned_away = 0
        """Connections that were closed because there were too many."""

    async def __aenter__(self) -> Self:
        config = self._config
        family = socket.AF_INET6 if config.address.version == 6 else socket.AF_INET  # noqa: PLR2004 - IPv6
        listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((str(config.address), config.port))
            listening.listen(64)
        except OSError as error:
            listening.close()
            where = f"{config.address} port {config.port}"
            raise ConfigError([Problem("status.port", f"{where}: {error.strerror}")]) from error
        self._listening = listening
        self._server = _Server(self._one, self._leave)
        self._begin(self._accept(listening))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(0.2)

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._from.total()

    def _begin(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError:  # gone before it was accepted, or no descriptor is left: others may be luckier
                await asyncio.sleep(0.1)
                continue
            peer = str(address[0])
            if self.connections >= CONNECTIONS or self._from[peer] >= FROM_ONE_ADDRESS:
                self.turned_away += 1
                connection.close()
                continue
            self._from[peer] += 1
            self._begin(self._connect(connection, peer))

    async def _connect(self, connection: socket.socket, peer: str) -> None:
        loop = asyncio.get_running_loop()
        self._look_at_files()
        patience = None if self._tls is None else PATIENCE
        handler: RequestHandler | None = None
        try:
            if self._server is not None:
                handler = self._server()
                self._server.peers[handler] = peer
                made = handler
                await loop.connect_accepted_socket(
                    lambda: made, connection, ssl=self._tls, ssl_handshake_timeout=patience
                )
        except (OSError, ssl.SSLError, asyncio.CancelledError):  # a time-out is an OSError
            connection.close()
            if handler is not None and self._server is not None and self._server.peers.pop(handler, None) is not None:
                self._leave(peer)

    def _look_at_files(self) -> None:
        """Show a renewed certificate from the next connection on; one that cannot be used leaves the old one there."""
        if self._tls is not None and (files := _printed(self._config)) != self._files:
            self._files = files  # of several the last one is written later: then they are looked at again
            with suppress(ConfigError):
                self._tls = tls_context(self._config)

    def _leave(self, peer: str) -> None:
        self._from[peer] -= 1
        if self._from[peer] <= 0:
            del self._from[peer]

    async def _one(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer, and have the answer fetched, in time; whoever does not read it loses the connection."""
        try:
            async with asyncio.timeout(PATIENCE):
                response = await self._answer(request)
                if isinstance(response, web.StreamResponse):
                    await response.prepare(request)
                    await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("nobody fetches the answer") from None
        return response if isinstance(response, web.StreamResponse) else await response(request)


class _Server(web.Server):
    """Tells when a connection is over."""

    def __init__(self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], left: Left) -> None:
        super().__init__(
            answer,
            handler_cancellation=True,
            keepalive_timeout=PATIENCE,
            max_line_size=LINE_MAX,
            max_field_size=FIELD_MAX,
            max_headers=FIELDS_MAX,
            lingering_time=0.0,  # nobody has a body to send here
            access_log=None,
            logger=_SILENT,
        )
        self._left = left
        self.peers: dict[RequestHandler, str] = {}

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if (peer := self.peers.pop(handler, None)) is not None:
            self._left(peer)
