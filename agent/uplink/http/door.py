"""The one place that talks HTTP: one session, one TLS context, and a watch over each request."""

from __future__ import annotations

import asyncio
import fcntl
import re
import socket
import ssl
import struct
import termios
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urldefrag, urljoin

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from agent.errors import ConfigError, UplinkDown
from agent.uplink.http.answer import Answer
from agent.uplink.http.carriage import BrokenError, UnmadeError
from agent.uplink.http.identity import proxy_headers, tls_context, token, trusting
from agent.uplink.http.line import TCP_NOTSENT_LOWAT
from agent.uplink.http.straight import LONG, Straight
from agent.uplink.http.trouble import Cut, bounded, broken, explained, translated, unmade

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey

    from agent.uplink import Leaving
    from agent.uplink.http.body import Body
    from agent.uplink.http.options import HttpOptions

__all__ = ["Door"]

_SPELLING: Final = re.compile(r"[!-~]+")  # what may stand in a request's first line

BODY_MAX: Final = 64 * 1024
"""Bytes of an answer that are read: a note is much shorter, and of an error its first sentence is enough."""
FIELD_MAX: Final = 128 * 1024
"""Bytes of one header: a receipt with many signatures, or metadata that is echoed."""
_ALWAYS: Final = {"User-Agent": "evidock", "Accept-Encoding": "identity"}
UNSENT: Final = 128 * 1024
"""Bytes that the kernel takes beyond what is on the wire. It wakes who sends when half of them went, so with more a
slow link that many captures share would look like a stalled one. On a quick one long bodies go by `Straight`."""
_LEFT_BEHIND: Final = struct.pack("ii", 1, 0)  # linux/socket.h: struct linger, on and for no second


class Door:
    """The way to one server. What a protocol adds to each request, and how its answers are known, a subclass says."""

    protocol: ClassVar[str] = "HTTP"
    """Its name, for sentences that a person reads."""
    longest: ClassVar[int] = BODY_MAX
    """Bytes of an answer that are read."""

    def __init__(self, options: HttpOptions) -> None:
        """Read the certificates once. Raises `ConfigError` where a file cannot be used."""
        self._options = options
        self.url = URL(options.url)
        self.proxy = None if options.proxy is None else URL(options.proxy)
        self._refused = deque[ssl.SSLCertVerificationError](maxlen=64)
        within = self.proxy is not None and self.proxy.scheme == "https"
        refused = self._refused if within else None
        self.tls = tls_context(options, refused) if self.url.scheme == "https" else None
        self.proxy_tls = trusting(options) if within else None
        """For a proxy that speaks TLS itself: who we are, and which keys are pinned, is between us and the DEMS."""
        self._origins = {_origin(self.url), *(_origin(URL(other)) for other in options.other_origins)}
        self._proxy_headers = proxy_headers(options)
        self._session: aiohttp.ClientSession | None = None
        self._token = token(options)
        self._straight: Straight | None = None
        self.bodies = 0
        """Requests with a body that are on their way now."""

    def worded(self, method: str) -> dict[str, str]:  # noqa: ARG002 - for those that distinguish
        """Return the headers that the protocol wants in each request of this method."""
        return {}

    def spoken(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 - plain HTTP has no sign
        """Whether an answer with these headers bears the protocol's sign, so that no proxy can have given it."""
        return True

    @property
    def verifying(self) -> bool:
        """Whether the server, as far as is known now, refuses a request whose bytes are not what was stated of them."""
        return False

    async def signs(self) -> bool:
        """Whether the server signs receipts, so that one is worth waiting for. Raises `UplinkDown`."""
        return False

    def explained(self, answer: Answer) -> UplinkDown:
        """Return why this answer is not the one that the protocol prescribes."""
        return explained(answer, self.protocol)

    def surprised(self) -> None:
        """Forget what was believed of the server: it may be another one than a minute ago."""

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
        sent = self._sent(method, url, headers)
        watched = None if isinstance(body, bytes) else body
        self.bodies += watched is not None
        try:
            async with asyncio.timeout(self._options.connect_timeout + self._options.stall + verifying) as limit:
                if watched is not None:
                    watched.watched_by(limit)
                return await self._exchanged(method, url, sent, body, limit)
        except (aiohttp.ClientError, OSError, ssl.SSLError) as error:  # OSError covers the time-outs
            if watched is not None and watched.failure is not None:
                raise watched.failure from error
            down = self._translated(error, url)
            if watched is not None and isinstance(down, Cut):
                down.handed = watched.handed
            raise down from error
        finally:
            self.bodies -= watched is not None
            if watched is not None:
                watched.watched_by(None)
                await watched.close()

    def goes_straight(self, length: int, *, quick: bool) -> bool:
        """Whether a body of so many bytes is best sent by `carry`; `quick`: the link is."""
        return quick and length >= LONG and self.proxy is None and (self._straight is None or self._straight.free)

    async def carry(
        self, method: str, url: URL, headers: dict[str, str], body: Leaving, length: int, *, verifying: float
    ) -> Answer:
        """Send one request with a long body by a thread of its own, and return its answer. Raises as `ask` does."""
        sent = {**_ALWAYS, **self._sent(method, url, headers)}
        if self._straight is None:
            options = self._options
            self._straight = Straight(
                self.tls,
                self._socket,
                connect_timeout=options.connect_timeout,
                stall=options.stall,
                longest=self.longest,
            )
        self.bodies += 1
        try:
            head = await self._straight.ask(method, url, sent, body, length, verifying=verifying)
        except UnmadeError as error:
            raise unmade(error.why, url) from error
        except BrokenError as error:
            raise broken(error.why, url, handed=error.handed) from error
        finally:
            self.bodies -= 1
        return Answer(method, url, head.status, head.headers, head.body, self.spoken(head.headers))

    async def get(self, url: URL) -> aiohttp.ClientResponse:
        """Begin to read what lies at `url`; the caller closes what is returned. Raises `UplinkDown`."""
        sent = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        sent |= self._for_proxy(url)
        try:
            async with asyncio.timeout(self._options.connect_timeout + self._options.stall):
                return await self._opened().get(
                    url, headers=sent, allow_redirects=False, proxy=self.proxy, proxy_headers=self._proxy_headers
                )
        except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
            raise self._translated(error, url) from error

    def _sent(self, method: str, url: URL, headers: dict[str, str] | None) -> dict[str, str]:
        sent = self.worded(method) | (headers or {})
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        return sent | self._for_proxy(url)

    def _translated(self, error: Exception, url: URL) -> UplinkDown:
        own = isinstance(error, aiohttp.ClientProxyConnectionError)  # nothing of the DEMS was seen
        if self.proxy_tls is None or own or not self._refused:
            return translated(error, url, proxy=self.proxy)
        # Within the TLS of a proxy some Python 3.11 lose why a handshake failed, and say that the connection broke.
        down = translated(self._refused.pop(), url, proxy=self.proxy)
        down.unsent = True
        return down

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
            self._refused.clear()
            if body is not None and not isinstance(body, bytes):
                body.watched_by(None)
            limit.reschedule(asyncio.get_running_loop().time() + self._options.stall)
            read = b""
            while len(read) < self.longest and (more := await response.content.read(self.longest - len(read))):
                read += more
            names = dict.fromkeys(response.headers)
            joined = CIMultiDict((name, ", ".join(response.headers.getall(name))) for name in names)
            return Answer(method, url, response.status, joined, read, self.spoken(joined))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = _Connector(
                self.proxy,
                self.proxy_tls,
                limit=0,  # `in_flight` bounds how many captures are under way; waiting here would look like a stall
                ssl=self.tls if self.tls is not None else True,
                socket_factory=self._socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._options.connect_timeout),
                headers=_ALWAYS,
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

    def _for_proxy(self, url: URL) -> dict[str, str]:
        """What stands in the request itself for the proxy to see: without TLS there is no CONNECT that could carry it.

        It depends on where this request goes, and not on the DEMS: what goes through a tunnel, the other end reads.
        """
        return self._proxy_headers if url.scheme == "http" else {}

    async def renew_token(self) -> None:
        """Read the bearer token again: it may have been renewed. Raises `UplinkDown` where its file cannot be used."""
        try:
            self._token = await asyncio.to_thread(token, self._options)
        except ConfigError as error:
            raise UplinkDown(str(error), hint=error.what_to_do) from error

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
                f"{base.authority} sends this capture to {bounded(str(url).partition('?')[0])}, which nobody permitted",
                hint="If that place is right, add its origin to `other_origins`. If only http and https differ, the "
                "proxy before the DEMS must tell it the outer scheme (X-Forwarded-Proto).",
            )
        return url

    def beside(self, path: str) -> URL:
        """Return the address of what lies next to the place where uploads are created."""
        return self.url.with_path(self.url.path.rstrip("/")).join(URL(path))

    async def aclose(self) -> None:
        """Close the session; it is opened again where something is sent after all."""
        straight, self._straight = self._straight, None
        if straight is not None:
            straight.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class _Connector(aiohttp.TCPConnector):
    """With a TLS context of its own for a proxy that speaks TLS itself, and an end at once for what is given up."""

    def __init__(self, proxy: URL | None, context: ssl.SSLContext | None, **words: Any) -> None:  # noqa: ANN401 - as above
        super().__init__(**words)
        self._proxy, self._proxy_tls = proxy, context

    # The client's public words know one context, which it would take for both.
    def _get_ssl_context(self, req: aiohttp.ClientRequest) -> ssl.SSLContext | None:
        if self._proxy_tls is not None and req.url == self._proxy:
            return self._proxy_tls
        return super()._get_ssl_context(req)

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        """Of a request that is given up nothing more goes: it would share a slow link with what takes its place.

        And its server, which hears of the end at once, lets go of the upload.
        """
        transport = protocol.transport
        if (should_close or protocol.should_close) and transport is not None and _on_its_way(transport):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LEFT_BEHIND)
            transport.abort()
        super()._release(key, protocol, should_close=should_close)


def _on_its_way(transport: asyncio.Transport) -> bool:
    """Whether bytes were handed over for it that the other end has not confirmed."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    (queued,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
    return queued > 0 or transport.get_write_buffer_size() > 0


def _origin(url: URL) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port (RFC 6454), None for what is no web address."""
    if url.host is None or url.scheme not in {"http", "https"}:
        return None
    return url.scheme, url.host.lower(), url.port
