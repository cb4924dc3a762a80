"""Where devices that push their captures knock: one bounded HTTP(S) listener for every family that needs one.

A device family brings an `aiohttp.web.Application` and this room the rest: TLS, who may come in, how much at once, how
long a silence may last, and a stop after which no handler runs any more. What each bound protects from:

    networks, connections    strangers, and more of them than this station can bear: closed before TLS begins
    handshake, idle, stall   who connects and says nothing, or a byte now and then, so that no place is left for others
    header_max, body_max     who says too much: 400 for headers, 413 for bodies, also those that state no length
    client_ca                whoever has no certificate of ours

An answer means to a device that it may forget. So nothing here answers in a handler's place, and a handler that was
ended by the stop has answered nothing: its connection is closed. So it is where a handler let `JournalError` or
`SpoolDamaged` through: then this station may promise nothing any more, and `Bound.serve` raises it.

    async with listening(app, options.listen) as bound:
        await bound.serve()
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.config import Length
from agent.errors import ConfigError, DeviceRefused, JournalError, Problem, SpoolDamaged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

__all__ = ["Bound", "ListenOptions", "check_certificates", "hang_up", "listening"]

_AT_ONCE: Final = 64
"""Connections that are taken from the system at a time."""
_QUEUE: Final = 4096
"""Connections that the system lets wait for us at most; fewer where it is set to fewer."""
_LINGER: Final = 2.0
"""Seconds for which the rest of a body is read that a handler did not want, so that its answer is seen."""
_SAID_MAX: Final = 1000
"""Addresses whose refusal is logged, once each."""
_BREATH: Final = 0.2
"""Seconds of pause after the system had no descriptor left for a connection."""

Network = IPv4Network | IPv6Network


class ListenOptions(BaseModel):
    """The `listen` table of a driver that devices connect to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: IPv4Address | IPv6Address
    """Of this station, in the network of the devices; `::` means all of them."""
    port: Annotated[int, Field(ge=0, le=65535)]
    """0 takes any that is free, for tests."""
    certificate: Path | None = None
    """PEM: ours, and those between it and the authority."""
    key: Path | None = None
    """PEM, without a password, readable for the service alone."""
    plain: bool = False
    """True: without TLS, for devices that cannot speak it, in a network of their own."""
    client_ca: Path | None = None
    """PEM: a device must show a certificate of one of these authorities."""
    networks: tuple[Network, ...] = ()
    """Who may connect; empty means whoever can."""
    connections: Annotated[int, Field(ge=1, le=10_000)] = 256
    """At once; more are closed."""
    header_max: Length = 16 * 1024
    """Bytes of a request line or of one header."""
    body_max: Annotated[Length, Field(ge=1)] = 64 << 30
    """Bytes of one request's body."""
    handshake: Annotated[float, Field(gt=0, le=300)] = 15.0
    """Seconds in which TLS must stand."""
    idle: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Seconds in which the whole head of a connection's next request must be here."""
    stall: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Seconds for which a body that we want to read may come slower than `slowest`, or our answer not be taken."""
    slowest: Length = 128
    """Bytes a second that a body must come with."""
    grace: Annotated[float, Field(ge=0, le=60)] = 5.0
    """Seconds that requests under way have to end by themselves when the listener is stopped."""

    @model_validator(mode="after")
    def _fits_together(self) -> ListenOptions:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key` go together")
        if self.plain == (self.certificate is not None):
            raise ValueError("give `certificate` and `key`, or say `plain = true` where devices cannot speak TLS")
        if self.plain and self.client_ca is not None:
            raise ValueError("`client_ca` needs TLS: give `certificate` and `key`")
        return self


def check_certificates(options: ListenOptions, *, prefix: str = "listen") -> ssl.SSLContext | None:
    """TLS 1.2 and later with the certificates of the options, None for plain. Raises `ConfigError` with what is wrong.

    A driver calls it when it is made, so that a wrong file stops the start and is not found out at night.
    """
    if options.certificate is None or options.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A key with a password must not make the service ask at a terminal that it does not have.
        context.load_cert_chain(options.certificate, options.key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise ConfigError(
            [Problem(f"{prefix}.certificate", f"{options.certificate}, {options.key}: {error}")]
        ) from error
    if options.client_ca is not None:
        try:
            context.load_verify_locations(options.client_ca)
        except (OSError, ValueError) as error:
            raise ConfigError([Problem(f"{prefix}.client_ca", f"{options.client_ca}: {error}")]) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Bound:
    """A listener while it runs."""

    def __init__(self, scheme: str, address: str, port: int) -> None:
        self.address, self.port = address, port
        host = f"[{address}]" if ":" in address else address
        self.url = f"{scheme}://{host}:{port}"
        """Where it is reached, without a slash at the end."""
        self.open = 0
        """Connections right now, those whose TLS does not stand yet included."""
        self.turned_away: Counter[str] = Counter()
        """Connections that were closed for a reason of ours, since the start: `network`, `full`, `handshake`,
        `stalled`."""
        self._fatal: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()

    async def serve(self) -> NoReturn:
        """Wait for ever; raises what a handler let through after which nothing may be promised."""
        await asyncio.shield(self._fatal)
        raise AssertionError("nothing was raised")  # pragma: no cover - the future is only ever given an exception

    def end(self, error: JournalError | SpoolDamaged) -> None:
        """Let `serve` raise this."""
        if not self._fatal.done():
            self._fatal.set_exception(error)
            self._fatal.exception()  # seen, where nobody serves


@asynccontextmanager
async def listening(app: web.Application, options: ListenOptions) -> AsyncIterator[Bound]:
    """Serve `app` for as long as the block lasts; afterwards no handler runs any more, and no connection is open.

    Raises `ConfigError` where the certificates cannot be used, and `DeviceRefused` where the address is not to be had.
    A handler is not cancelled when its device goes away: reading its body raises `ClientConnectionError`.
    """
    context = check_certificates(options)
    door = _Door(options, context)
    app.middlewares.insert(0, door.middleware)
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,  # bytes are evidence as they come
        keepalive_timeout=options.idle,
        lingering_time=_LINGER,
        max_line_size=options.header_max,
        max_field_size=options.header_max,
        shutdown_timeout=1.0,
    )
    with _socket(options) as listener:
        await runner.setup()
        try:
            host, port = listener.getsockname()[:2]
            door.bound = Bound("https" if context else "http", host, port)
            door.open(listener, runner)
            try:
                yield door.bound
            finally:
                door.close(listener)
                listener.close()
                await door.empty(options.grace)
        finally:
            await runner.cleanup()


def hang_up(request: web.BaseRequest) -> web.Response:
    """Close the connection without an answer; return this from the handler."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)  # nobody will see it


def _socket(options: ListenOptions) -> socket.socket:
    host, six = str(options.address), options.address.version == 6  # noqa: PLR2004
    both = six and options.address.is_unspecified and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if six else socket.AF_INET
    try:
        listener = socket.create_server((host, options.port), family=family, backlog=_QUEUE, dualstack_ipv6=both)
    except OSError as error:
        raise DeviceRefused(
            f"cannot listen at {host} port {options.port}: {error.strerror}",
            hint="Is the address one of this station, and is the port free? ss -ltnp tells who has it.",
        ) from error
    listener.setblocking(False)  # noqa: FBT003 - the standard library's own
    return listener


class _Door:
    """Who is inside, and the rules of the house."""

    def __init__(self, options: ListenOptions, context: ssl.SSLContext | None) -> None:
        self.options, self.context = options, context
        self.bound: Bound
        self.lines: dict[object, _Line] = {}
        """By aiohttp's own protocol of the connection."""
        self._visits: set[asyncio.Task[None]] = set()
        self._said: set[tuple[str, str]] = set()
        self._breath: asyncio.TimerHandle | None = None
        self._log = structlog.get_logger("listening")

    # -- connections ---------------------------------------------------------------------------------------------------

    def open(self, listener: socket.socket, runner: web.AppRunner) -> None:
        """Let in whoever may come in, until `close`."""
        self._breath = None
        asyncio.get_running_loop().add_reader(listener, self._knocked, listener, runner)

    def close(self, listener: socket.socket) -> None:
        """Nobody comes in any more."""
        if self._breath is not None:
            self._breath.cancel()
        asyncio.get_running_loop().remove_reader(listener)

    def _knocked(self, listener: socket.socket, runner: web.AppRunner) -> None:
        # Several at a time: in a burst, one for each turn of the loop would let the queue of the system run over.
        for _ in range(_AT_ONCE):
            if not self._let_in(listener, runner):
                return

    def _let_in(self, listener: socket.socket, runner: web.AppRunner) -> bool:
        """Take one connection; False: nobody knocks any more, or nobody can be let in now."""
        # No coroutine: one that is cancelled between accept and us would lose the connection.
        loop = asyncio.get_running_loop()
        try:
            sock, peer = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # it gave up meanwhile
        except OSError as error:  # no descriptor is left
            self._log.warning("no_connection_accepted", listen=self.bound.url, error=error.strerror)
            loop.remove_reader(listener)
            self._breath = loop.call_later(_BREATH, self.open, listener, runner)
            return False
        sock.setblocking(False)  # noqa: FBT003 - the standard library's own
        who = _plain(peer[0])
        if self.options.networks and not any(who in network for network in self.options.networks):
            self._turn_away(sock, who, "network")
        elif self.bound.open >= self.options.connections:
            self._turn_away(sock, who, "full")
        else:
            self.bound.open += 1
            visit = loop.create_task(self._visit(sock, who, runner))
            self._visits.add(visit)
            visit.add_done_callback(self._left)
        return True

    async def _visit(self, sock: socket.socket, who: IPv4Address | IPv6Address, runner: web.AppRunner) -> None:
        """One connection, until it is closed."""
        loop, tls = asyncio.get_running_loop(), self.context

        def line() -> _Line:
            if runner.server is None:  # pragma: no cover - it stands as long as we accept
                raise RuntimeError("this listener was not set up")
            return _Line(runner.server(), self)

        try:
            _, made = await loop.connect_accepted_socket(
                line, sock, ssl=tls, ssl_handshake_timeout=self.options.handshake if tls else None
            )
        except OSError:  # TLS's errors and time-outs are among them
            self._turn_away(sock, who, "handshake")
            return
        except BaseException:
            sock.close()
            raise
        try:
            await made.gone
        except asyncio.CancelledError:
            made.abort()
            await made.gone
            raise

    def _left(self, visit: asyncio.Task[None]) -> None:
        self._visits.discard(visit)
        self.bound.open -= 1

    def _turn_away(self, sock: socket.socket, who: object, why: str) -> None:
        sock.close()
        self.turned_away(str(who), why)

    def turned_away(self, who: str, why: str) -> None:
        """Count it, and say it once for each address."""
        self.bound.turned_away[why] += 1
        if (who, why) not in self._said and len(self._said) < _SAID_MAX:
            self._said.add((who, why))
            self._log.warning("connection_closed", peer=who, why=why, listen=self.bound.url)

    # -- requests ------------------------------------------------------------------------------------------------------

    @property
    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        """The outermost of the application."""

        @web.middleware
        async def watched(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            most = self.options.body_max
            if (request.content_length or 0) > most:
                raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=request.content_length or 0)
            line, task = self.lines.get(request.protocol), asyncio.current_task()
            if line is None or task is None:  # it went away before its request was looked at
                raise ConnectionResetError
            line.request, line.task = request, task
            try:
                return await handler(request)
            except (JournalError, SpoolDamaged) as error:
                self.bound.end(error)
                return hang_up(request)
            finally:
                line.request = line.task = None

        return watched

    async def empty(self, grace: float) -> None:
        """Let end what has all of its body, end the rest, and close every connection."""
        await asyncio.sleep(0)  # a visit that did not begin could not close its socket
        whole = {line.task for line in self.lines.values() if line.request and line.request.content.is_eof()}
        await _ended({line.task for line in self.lines.values()} - whole)
        if whole:
            await asyncio.wait([task for task in whole if task], timeout=grace)
        await _ended(whole)
        await _ended(self._visits)


class _Line(asyncio.Protocol):
    """One connection: all goes on to aiohttp's own protocol, and what comes too slowly or too much is noticed."""

    def __init__(self, inner: web.RequestHandler, door: _Door) -> None:
        self._inner, self._door = inner, door
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._arrived = 0
        self._wanted = False
        self._unsent = 0
        self.request: web.Request | None = None
        """What is being answered."""
        self.task: asyncio.Task[object] | None = None
        """Who answers it."""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def abort(self) -> None:
        """Close it without a word."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport  # type: ignore[assignment]  # a stream's is one
        self._door.lines[self._inner] = self
        self._inner.connection_made(transport)
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._timer is not None:
            self._timer.cancel()
        self._door.lines.pop(self._inner, None)
        self._inner.connection_lost(exc)
        if not self.gone.done():
            self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._arrived += len(data)
        self._inner.data_received(data)
        request, most = self.request, self._door.options.body_max
        if request is not None and request.content.total_bytes > most:
            request.content.set_exception(
                web.HTTPRequestEntityTooLarge(max_size=most, actual_size=request.content.total_bytes)
            )

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        self._inner.eof_received()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._inner.resume_writing()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._door.options.stall, self._look)

    def _look(self) -> None:
        """Close it where, since the last look, too little came of a body that we wanted, or nothing of ours went."""
        options, transport, request = self._door.options, self._transport, self.request
        if transport is None or transport.is_closing():
            return
        wanted = request is not None and not request.content.is_eof() and transport.is_reading()
        unsent = transport.get_write_buffer_size()
        # Only who kept us waiting from look to look is slow: where we did not read, the disk or the hand was.
        slow = wanted and self._wanted and self._arrived < options.slowest * options.stall
        if slow or (unsent and unsent == self._unsent):
            peer = transport.get_extra_info("peername") or ("?",)
            self._door.turned_away(str(_plain(peer[0])), "stalled")
            transport.abort()
            return
        self._wanted, self._arrived, self._unsent = wanted, 0, unsent
        self._look_later()


def _plain(address: str) -> IPv4Address | IPv6Address:
    """The peer's address; one of IPv4 that came in through an IPv6 socket as what it is."""
    found = ip_address(address.partition("%")[0])
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


async def _ended(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    ended = [task for task in tasks if task is not None]
    for task in ended:
        task.cancel()
    await asyncio.gather(*ended, return_exceptions=True)
