"""A TLS 1.2 server before a DEMS that speaks plain HTTP: every so many bytes it asks its client for a new handshake.

Python's own `ssl` cannot ask for one; pyOpenSSL hands OpenSSL's SSL_renegotiate(3) through. Of TLS 1.3 it was left out.
"""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from OpenSSL import SSL

if TYPE_CHECKING:
    from agent.testing.dems.certificates import Certificates

BLOCK = 16 * 1024


class Renegotiating:
    """On loopback, each connection in a thread of its own."""

    def __init__(self, certificates: Certificates, behind: int, every: int) -> None:
        self._behind, self._every = behind, every
        self.handshakes = 0
        """How many there were beyond the first of each connection."""
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.set_max_proto_version(SSL.TLS1_2_VERSION)
        self._context.use_certificate_chain_file(str(certificates.chain))
        self._context.use_privatekey_file(str(certificates.private_key))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._serving: list[threading.Thread] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._serving:  # whoever was served has gone; how many handshakes there were is told at the end
            thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._serving.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
                self._serving[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._behind)) as server:
            client.settimeout(None)
            connection = SSL.Connection(self._context, client)
            connection.set_accept_state()
            with suppress(SSL.Error, OSError):
                connection.do_handshake()
                client.setblocking(False)  # noqa: FBT003 - its own name for it
                self._relay(connection, client, server)
            self.handshakes += max(0, connection.total_renegotiations())

    def _relay(self, connection: SSL.Connection, client: socket.socket, server: socket.socket) -> None:
        since = 0
        while True:
            readable = [client] if connection.pending() else select.select([client, server], [], [], 60)[0]
            if not readable:
                return
            if client in readable:
                with suppress(SSL.WantReadError):
                    server.sendall(data := connection.recv(BLOCK))
                    since += len(data)
                if since >= self._every:
                    since = 0
                    connection.renegotiate()
                    with suppress(SSL.WantReadError):
                        connection.do_handshake()
            if server in readable:
                if not (data := server.recv(BLOCK)):
                    connection.shutdown()
                    return
                self._send(connection, client, data)

    def _send(self, connection: SSL.Connection, client: socket.socket, data: bytes) -> None:
        while data:
            try:
                data = data[connection.send(data) :]
            except SSL.WantReadError:
                select.select([client], [], [], 60)
            except SSL.WantWriteError:
                select.select([], [client], [], 60)
