"""What aiohttp says of requests that are none: it quotes them, and a plate, a token or a line of a log may stand there.

So that log is not let through. Who sent something that is no HTTP is told once, and only what kind of fault it was.
"""

from __future__ import annotations

import logging
from typing import Final

import structlog

__all__ = ["server_log"]

_PEERS_MAX: Final = 1000
"""Addresses of which it is remembered that they were told of; from then on nobody new is."""
_NO_HTTP: Final = "aiohttp.http_exceptions"


class _Strangers(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()
        self._log = structlog.get_logger("listening")

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything through but what quotes a stranger."""
        error = record.exc_info[1] if record.exc_info else None
        if not any(kind.__module__ == _NO_HTTP for kind in type(error).__mro__):
            return True
        peer = str(record.args[0]) if isinstance(record.args, tuple) and record.args else "unknown"
        if peer not in self._told and len(self._told) < _PEERS_MAX:
            self._told.add(peer)
            self._log.warning(
                "request_not_understood",
                peer=peer,
                fault=type(error).__name__,
                todo="If a device of yours is at this address: look at what it is told to send, and its firmware.",
            )
        return False


server_log: Final = logging.getLogger("agent.listening")
"""What aiohttp reports of connections of devices. The status service has a log of its own, which says nothing."""
server_log.addFilter(_Strangers())
