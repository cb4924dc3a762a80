"""Who is inside a listener, and the rules of the house: who comes in, how many at once, and how slow anybody may be."""

from __future__ import annotations

import asyncio
from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final, NoReturn

import structlog
from aiohttp import web

from agent.errors import JournalError, SpoolDamaged

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable, Iterable

    from agent.listening.options import ListenOptions

__all__ = ["Bound", "Door", "hang_up"]

_AT_ONCE: Final = 64
"""Connections that are taken from the system at a time."""
_SAID_MAX: Final = 1000
"""Addresses whose refusal is logged, once each."""
_BREATH: Final = 0.2
"""Seconds of pause after the system had no descriptor left for a connection."""


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


def hang_up(request: web.BaseRequest) -> web.Response:
    """Close the connection without an answer; return this from the handler."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)  # nobody will see it


class Door:
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
        made: _Line | None = None

        def line() -> _Line:
            nonlocal made
            if runner.server is None:  # pragma: no cover - it stands as long as we accept
                raise RuntimeError("this listener was not set up")
            made = _Line(runner.server(), self)
            return made

        try:
            _, made = await loop.connect_accepted_socket(
                line, sock, ssl=tls, ssl_handshake_timeout=self.options.handshake if tls else None
            )
        except OSError:  # TLS's errors and time-outs are among them
            self._turn_away(sock, who, "handshake")
            return
        except BaseException:
            if made is None or not made.stands:
                sock.close()
            else:  # TLS stood already: its transport says goodbye first, and for that it needs the socket
                made.abort()
                await made.gone
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

    def __init__(self, inner: web.RequestHandler, door: Door) -> None:
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

    @property
    def stands(self) -> bool:
        """Whether it was made."""
        return self._transport is not None

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
