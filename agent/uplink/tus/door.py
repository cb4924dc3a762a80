"""The one place that talks HTTP: one session, one TLS context, a watch over each request, what the server can do."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urldefrag, urljoin

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from agent.capture import printable
from agent.errors import ConfigError, UplinkDown
from agent.uplink.tus.identity import proxy_headers, tls_context, token
from agent.uplink.tus.trouble import bounded, explained, translated
from agent.uplink.tus.wire import VERSION, Abilities, Answer

if TYPE_CHECKING:
    from agent.uplink.tus.body import Body
    from agent.uplink.tus.options import TusOptions

__all__ = ["Door"]

_SPELLING: Final = re.compile(r"[!-~]+")  # what may stand in a request's first line

TCP_NOTSENT_LOWAT: Final = 25  # linux/tcp.h; not every Python 3.11 was built to name it

ABILITIES_AGE: Final = 300.0
"""Seconds after which the server is asked again what it can do."""
BODY_MAX: Final = 64 * 1024
"""Bytes of an answer that are read: a note is much shorter, and of an error its first sentence is enough."""
FIELD_MAX: Final = 128 * 1024
"""Bytes of one header: a receipt with many signatures, or metadata that is echoed."""
UNSENT: Final = 512 * 1024
"""Bytes that the kernel takes beyond what is on the wire: with megabytes, a slow link would look like a stalled one."""


class Door:
    """The way to one server."""

    def __init__(self, options: TusOptions) -> None:
        """Read the certificates once. Raises `ConfigError` where a file cannot be used."""
        self._options = options
        self.url = URL(options.url)
        self.proxy = None if options.proxy is None else URL(options.proxy)
        self.tls = tls_context(options) if self.url.scheme == "https" else None
        self._origins = {_origin(self.url), *(_origin(URL(other)) for other in options.other_origins)}
        self._proxy_headers = proxy_headers(options)
        self._session: aiohttp.ClientSession | None = None
        self._token = token(options)
        self._abilities: Abilities | None = None
        self._abilities_until = 0.0
        self.verifies: bool | None = None
        """Whether a part with a wrong checksum was refused; None as long as nobody tried."""
        self._asking = asyncio.Lock()

    async def ask(
        self,
        method: str,
        url: URL,
        headers: dict[str, str] | None = None,
        body: Body | bytes | None = None,
        *,
        verifying: float = 0.0,
    ) -> Answer:
        """Send one request and return its answer, whatever it is; `verifying` seconds may pass beyond the usual ones.

        What is sent as `bytes` is so short that nobody watches how it goes out.

        Raises `UplinkDown` where no connection came about, `Cut` where one failed, and what the body's source raised.
        """
        sent = {"Tus-Resumable": VERSION} if method != "OPTIONS" else {}
        sent |= headers or {}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        if self.tls is None:
            sent |= self._proxy_headers  # without TLS there is no CONNECT that could carry them
        watched = None if isinstance(body, bytes) else body
        try:
            async with asyncio.timeout(self._options.connect_timeout + self._options.stall + verifying) as limit:
                if watched is not None:
                    watched.watched_by(limit)
                return await self._exchanged(method, url, sent, body, limit)
        except (aiohttp.ClientError, OSError, ssl.SSLError) as error:  # OSError covers the time-outs
            if watched is not None and watched.failure is not None:
                raise watched.failure from error
            raise translated(error, url, proxy=self.proxy) from error
        finally:
            if watched is not None:
                watched.watched_by(None)
                await watched.close()

    async def get(self, url: URL) -> aiohttp.ClientResponse:
        """Begin to read what lies at `url`; the caller closes what is returned. Raises `UplinkDown`."""
        sent = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        if self.tls is None:
            sent |= self._proxy_headers
        try:
            async with asyncio.timeout(self._options.connect_timeout + self._options.stall):
                return await self._opened().get(
                    url, headers=sent, allow_redirects=False, proxy=self.proxy, proxy_headers=self._proxy_headers
                )
        except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
            raise translated(error, url, proxy=self.proxy) from error

    async def _exchanged(
        self, method: str, url: URL, headers: dict[str, str], body: Body | bytes | None, limit: asyncio.Timeout
    ) -> Answer:
        # Leaving the block also ends a body that is still being sent: an early answer is an answer.
        async with self._opened().request(
            method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            proxy=self.proxy,
            proxy_headers=self._proxy_headers,
        ) as response:
            if body is not None and not isinstance(body, bytes):
                body.watched_by(None)
            limit.reschedule(asyncio.get_running_loop().time() + self._options.stall)
            read = b""
            while len(read) < BODY_MAX and (more := await response.content.read(BODY_MAX - len(read))):
                read += more
            names = dict.fromkeys(response.headers)
            joined = CIMultiDict((name, ", ".join(response.headers.getall(name))) for name in names)
            return Answer(method, url, response.status, joined, read)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,  # `in_flight` bounds how many captures are under way; waiting here would look like a stall
                ssl=self.tls if self.tls is not None else True,
                socket_factory=self._socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._options.connect_timeout),
                headers={"User-Agent": "evidock", "Accept-Encoding": "identity"},
                skip_auto_headers={"Content-Type"},  # a creation without bytes has none
                auto_decompress=False,
                max_line_size=FIELD_MAX,
                max_field_size=FIELD_MAX,
            )
        return self._session

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol = address[:3]
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)  # noqa: FBT003 - the socket's own signature
        # The kernel notices a peer that vanished: bytes that nobody acknowledges, or silence that nobody confirms.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._options.stall * 1000))
        made.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(self._options.stall / 2)))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(self._options.stall / 6)))
        return made

    async def abilities(self, *, anew: bool = False) -> Abilities:
        """Return what the server said some minutes ago at most. Raises `UplinkDown` unless it speaks tus 1.0.0."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if anew or self._abilities is None or now >= self._abilities_until:
                try:
                    self._token = await asyncio.to_thread(token, self._options)
                except ConfigError as error:
                    raise UplinkDown(str(error), hint=error.what_to_do) from error
                answer = await self.ask("OPTIONS", self.url)
                told = Abilities.told_by(answer)
                if answer.status not in {200, 204} or not told.versions:
                    raise explained(answer)
                if VERSION not in told.versions:
                    theirs = printable(", ".join(told.versions))
                    raise UplinkDown(
                        f"{self.url.authority} speaks tus {theirs}, and we speak {VERSION}",
                        hint="The DEMS must offer tus 1.0.0; ask its administrator.",
                    )
                self._abilities = replace(told, checksums=frozenset()) if self.verifies is False else told
                self._abilities_until = now + ABILITIES_AGE
            return self._abilities

    def surprised(self) -> None:
        """Ask the server for its abilities before the next step: it may be another one than a minute ago."""
        self._abilities = None

    def resolved(self, location: str, base: URL) -> URL:
        """Return where a `Location` points. Raises `UplinkDown` for an origin that nobody permitted."""
        # As it came: a store may have signed this spelling, and another one with the same meaning would not do.
        try:
            url = URL(urldefrag(urljoin(str(base), location)).url, encoded=True)
            origin = _origin(url)
        except ValueError:
            url, origin = base, None
        if origin is None or not _SPELLING.fullmatch(location):
            raise UplinkDown(f"{base.authority} names a place that is no address: {bounded(location)}")
        if origin not in self._origins or url.user is not None:
            raise UplinkDown(
                f"{base.authority} sends this capture to {bounded(str(url))}, which nobody permitted",
                hint="If that place is right, add its origin to `other_origins`. If only http and https differ, the "
                "proxy before the DEMS must tell it the outer scheme (X-Forwarded-Proto).",
            )
        return url

    def beside(self, path: str) -> URL:
        """Return the address of what lies next to the place where uploads are created."""
        return self.url.with_path(self.url.path.rstrip("/")).join(URL(path))

    async def aclose(self) -> None:
        """Close the session; it is opened again where something is sent after all."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _origin(url: URL) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port (RFC 6454), None for what is no web address."""
    if url.host is None or url.scheme not in {"http", "https"}:
        return None
    return url.scheme, url.host.lower(), url.port
