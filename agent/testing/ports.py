"""Ports of loopback for programs that must be told theirs before they listen.

A port that the system chose is given out anew as soon as it is closed: by the time the program has started, another
process may have it. Those below the system's own range are given to nobody who does not ask for that number.
"""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import suppress
from typing import Final

__all__ = ["free_port"]

_FIRST: Final = 20_000
_COUNT: Final = 12_000
"""Linux begins at 32768 (`net.ipv4.ip_local_port_range`)."""
_numbers = itertools.count(os.getpid() * 997)  # each process begins somewhere else


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return one that nobody uses now, and another each time."""
    for number in itertools.islice(_numbers, _COUNT):
        port = _FIRST + number % _COUNT
        with socket.socket(type=kind) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no port of loopback from {_FIRST} on is free")
