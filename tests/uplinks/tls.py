"""An authority of the tests' own, a server with its certificate, and how a connection that fails is told."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from agent.errors import UplinkDown
from tests.uplinks.memory import MemorySending

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme

    from agent.uplink.tus import TusUplink


def served_with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


def pin_by_openssl(certificate: bytes) -> str:
    """Of a certificate (PEM), as docs/uplinks.md says it."""
    key = subprocess.run(["openssl", "x509", "-pubkey", "-noout"], input=certificate, capture_output=True, check=True)
    raw = ["openssl", "pkey", "-pubin", "-outform", "DER"]
    der = subprocess.run(raw, input=key.stdout, capture_output=True, check=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


@contextmanager
def strict_server(context: ssl.SSLContext) -> Iterator[int]:
    """Shake hands with blocking sockets: asyncio's server closes before the alert has left."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def shake() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    rest = connection.dup()
                    with connection, suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True):
                        pass
                    with rest:  # closed with bytes unread, it would send a reset that overtakes the alert
                        rest.recv(65536)

        thread = threading.Thread(target=shake)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


async def failure(uplink: TusUplink) -> UplinkDown:
    with pytest.raises(UplinkDown) as caught:
        await uplink.send(MemorySending(b"abc"))
    checked = [finding for finding in await uplink.check() if finding.state == "problem"]
    assert [finding.detail.partition("; it shows")[0] for finding in checked] == [str(caught.value)]
    assert [finding.todo for finding in checked] == [caught.value.what_to_do]
    return caught.value
