"""What SHA-256 and TLS cost by themselves: core-seconds for a GiB that is hashed, and for one that is sent."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from contextlib import suppress
from hashlib import sha256
from time import thread_time
from typing import TYPE_CHECKING, Final

from agent.testing.dems.certificates import make_certificates, server_context

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["hashed", "sent"]

_BLOCK: Final = 256 * 1024
_LENGTH: Final = 512 << 20
_TO_A_GIB: Final = (1 << 30) / _LENGTH


def hashed() -> float:
    """SHA-256 by OpenSSL, from memory."""
    block, digest = os.urandom(_BLOCK), sha256()
    began = thread_time()
    for _ in range(_LENGTH // _BLOCK):
        digest.update(block)
    return (thread_time() - began) * _TO_A_GIB


def sent(folder: Path) -> float:
    """TLS into a local socket, with the cipher that both ends choose; who reads there does not decrypt."""
    made = make_certificates(folder, "localhost")
    serving = server_context(made)
    asking = ssl.create_default_context(cafile=made.ca_file)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = threading.Thread(target=_read, args=(theirs, serving), daemon=True)
        reader.start()
        with asking.wrap_socket(ours, server_hostname="localhost") as line:
            block, began = os.urandom(_BLOCK), thread_time()
            for _ in range(_LENGTH // _BLOCK):
                line.sendall(block)
            spent = thread_time() - began
        reader.join()
    return spent * _TO_A_GIB


def _read(end: socket.socket, context: ssl.SSLContext) -> None:
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    shaking = context.wrap_bio(coming, going, server_side=True)
    while True:
        try:
            shaking.do_handshake()
        except ssl.SSLWantReadError:
            end.sendall(going.read())
            coming.write(end.recv(1 << 16))
        else:
            end.sendall(going.read())
            break
    with suppress(ConnectionResetError):  # the other end leaves without reading what the handshake left for it
        while end.recv(1 << 20):
            pass
