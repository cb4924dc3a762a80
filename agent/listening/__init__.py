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

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from agent.errors import DeviceRefused
from agent.listening.admission import admit
from agent.listening.door import Bound, Door, hang_up
from agent.listening.options import ListenOptions, Network, check_certificates
from agent.listening.strangers import server_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Bound", "ListenOptions", "Network", "admit", "check_certificates", "hang_up", "listening"]

_QUEUE: Final = 4096
"""Connections that the system lets wait for us at most; fewer where it is set to fewer."""
_LINGER: Final = 2.0
"""Seconds for which the rest of a body is read that a handler did not want, so that its answer is seen."""


@asynccontextmanager
async def listening(app: web.Application, options: ListenOptions) -> AsyncIterator[Bound]:
    """Serve `app` for as long as the block lasts; afterwards no handler runs any more, and no connection is open.

    Raises `ConfigError` where the certificates cannot be used, and `DeviceRefused` where the address is not to be had.
    A handler is not cancelled when its device goes away: reading its body raises `ClientConnectionError`.
    """
    context = check_certificates(options)
    door = Door(options, context)
    app.middlewares.insert(0, door.middleware)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=server_log,
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
