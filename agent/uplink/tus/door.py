"""The one place that talks HTTP: one session, one TLS context, a watch over each request, what the server can do."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from agent.capture import printable
from agent.errors import ConfigError, Problem, SpoolDamaged, UplinkDown
from agent.uplink.tus.trouble import explained, translated
from agent.uplink.tus.wire import VERSION, Abilities, Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.uplink.tus.options import TusOptions

__all__ = ["Body", "Door"]

TCP_NOTSENT_LOWAT: Final = 25  # linux/tcp.h; not every Python 3.11 was built to name it

ABILITIES_AGE: Final = 300.0
"""Seconds after which the server is asked again what it can do."""
BODY_MAX: Final = 64 * 1024
"""Bytes of an answer that are read: a note is much shorter, and of an error its first sentence is enough."""
FIELD_MAX: Final = 128 * 1024
"""Bytes of one header: a receipt with many signatures, or metadata that is echoed."""
SLOW: Final = 1.0
"""Seconds for one block after which blocks are handed over in small pieces."""
PIECE: Final = 16 * 1024
"""Bytes of such a piece. On a link of 64 kbit/s whole blocks would look like a stall."""
SLOWEST: Final = 64 * 1024
"""Bytes per second that a body is given to arrive, after its last one was handed over, before its answer is missed."""
UNSENT: Final = 512 * 1024
"""Bytes that the kernel takes beyond what is on the wire: with megabytes, a slow link would look like a stalled one."""


class Body:
    """The bytes of one request on their way to the socket, and the watch over it.

    The watch looks at bytes *taken*: a time-out on reading never fires while a server has merely stopped reading, and a
    time-out on the whole would have to know the link's speed.
    """

    def __init__(self, blocks: AsyncIterator[bytes], length: int, stall: float) -> None:
        self._blocks = blocks
        self.length = length
        self._stall = stall
        self._limit: asyncio.Timeout | None = None
        self._block = b""
        self._at = 0
        self._given_at = 0.0
        self._reading = asyncio.Lock()
        self.handed = 0
        """Bytes handed to the socket: the most that this request can have cost."""
        self.failure: BaseException | None = None
        """What went wrong on our side, which aiohttp would report as trouble with the connection."""

    def watched_by(self, limit: asyncio.Timeout | None) -> None:
        """Tell which limit the bytes push back; None once the answer is there."""
        self._limit = limit

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece: that aiohttp asks for it means that the socket has taken the last one."""
        slow = self.handed > 0 and asyncio.get_running_loop().time() - self._given_at > SLOW
        if self._at >= len(self._block):
            self._push_back(None)  # a slow disk is no stalled network
            self._at = 0
            try:
                async with self._reading:
                    self._block = await anext(self._blocks)
            except StopAsyncIteration:
                self._ended()
                raise
            except Exception as error:
                self.failure = error
                raise
        piece = self._block[self._at : self._at + PIECE if slow else None]
        self._at += len(piece)
        self.handed += len(piece)
        self._given_at = asyncio.get_running_loop().time()
        self._push_back(self._given_at + self._stall)
        return piece

    def _ended(self) -> None:
        if self.handed != self.length:
            self.failure = SpoolDamaged(f"the spool gave {self.handed} bytes of a capture where {self.length} lie")
            raise self.failure
        # All of it may still lie in buffers of the kernel and of proxies, and has to go over the slow link from there.
        self._push_back(asyncio.get_running_loop().time() + self._stall + self.length / SLOWEST)

    def _push_back(self, when: float | None) -> None:
        if self._limit is not None:
            self._limit.reschedule(when)

    async def close(self) -> None:
        """Close the source, after whoever reads it has been cancelled."""
        async with self._reading:
            if (aclose := getattr(self._blocks, "aclose", None)) is not None:
                await aclose()


class Door:
    """The way to one server."""

    def __init__(self, options: TusOptions) -> None:
        """Read the certificates once. Raises `ConfigError` where a file cannot be used."""
        self._options = options
        self.url = URL(options.url)
        self.proxy = None if options.proxy is None else URL(options.proxy)
        self.tls = _context(options) if self.url.scheme == "https" else None
        self._origins = {self.url.origin(), *(URL(origin) for origin in options.other_origins)}
        self._proxy_headers = _proxy_headers(options)
        self._session: aiohttp.ClientSession | None = None
        self._token = self._read_token()
        self._abilities: Abilities | None = None
        self._abilities_until = 0.0
        self._asking = asyncio.Lock()

    async def ask(
        self, method: str, url: URL, headers: dict[str, str] | None = None, body: Body | None = None
    ) -> Answer:
        """Send one request and return its answer, whatever it is.

        Raises `UplinkDown` where no connection came about, `Cut` where one failed, and what the body's source raised.
        """
        sent = {"Tus-Resumable": VERSION} if method != "OPTIONS" else {}
        sent |= headers or {}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        if self.tls is None:
            sent |= self._proxy_headers  # without TLS there is no CONNECT that could carry them
        try:
            async with asyncio.timeout(self._options.connect_timeout + self._options.stall) as limit:
                if body is not None:
                    body.watched_by(limit)
                return await self._exchanged(method, url, sent, body)
        except (aiohttp.ClientError, OSError, ssl.SSLError) as error:  # OSError covers the time-outs
            if body is not None and body.failure is not None:
                raise body.failure from error
            raise translated(error, url, proxy=self.proxy) from error
        finally:
            if body is not None:
                body.watched_by(None)
                await body.close()

    async def _exchanged(self, method: str, url: URL, headers: dict[str, str], body: Body | None) -> Answer:
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
            if body is not None:
                body.watched_by(None)
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
                    self._token = await asyncio.to_thread(self._read_token)
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
                self._abilities = told
                self._abilities_until = now + ABILITIES_AGE
            return self._abilities

    def surprised(self) -> None:
        """Ask the server for its abilities before the next step: it may be another one than a minute ago."""
        self._abilities = None

    def resolved(self, location: str, base: URL) -> URL:
        """Return where a `Location` points. Raises `UplinkDown` for an origin that nobody permitted."""
        try:
            url = base.join(URL(location, encoded=True)).with_fragment(None)
            permitted = url.origin() in self._origins and url.user is None
        except ValueError as error:
            raise UplinkDown(
                f"{base.authority} names a place that is no address: {printable(location[:200])}"
            ) from error
        if not permitted:
            raise UplinkDown(
                f"{base.authority} sends this capture to {printable(str(url)[:200])}, which nobody permitted",
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

    def _read_token(self) -> str | None:
        path = self._options.token_file
        return None if path is None else _read(path, f"uplink[{self._options.name}].token_file")


def _context(options: TusOptions) -> ssl.SSLContext:
    where = f"uplink[{options.name}]"
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([Problem(f"{where}.ca_file", f"{options.ca_file}: {error}")]) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.client_cert is not None:
        try:
            # The password callback keeps OpenSSL from asking at a terminal for an encrypted key.
            context.load_cert_chain(options.client_cert, options.client_key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            named = (
                options.client_cert if options.client_key is None else f"{options.client_cert}, {options.client_key}"
            )
            raise ConfigError([Problem(f"{where}.client_cert", f"{named}: {error}")]) from error
    return context


def _proxy_headers(options: TusOptions) -> dict[str, str]:
    if options.proxy_login_file is None:
        return {}
    where = f"uplink[{options.name}].proxy_login_file"
    login = _read(options.proxy_login_file, where)
    if ":" not in login:
        raise ConfigError([Problem(where, "the file must hold `user:password`")])
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def _read(path: Path, where: str) -> str:
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(where, f"{path}: {error}")]) from error
    if not text or not text.isprintable():
        raise ConfigError([Problem(where, f"{path} holds no single line of text")])
    return text
