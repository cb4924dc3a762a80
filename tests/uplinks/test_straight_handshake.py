"""A new handshake that the other side asks for while it takes nothing, on a connection that a thread uses."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from OpenSSL import SSL

from agent.testing.dems.certificates import make_certificates
from agent.uplink.http.incoming import Incoming

if TYPE_CHECKING:
    from pathlib import Path

SMALL = 8 * 1024


def filled(ours: ssl.SSLSocket) -> None:
    """Let the kernel take what it takes for an end that reads nothing."""
    still = 0
    while still < 5:  # what is on its way is acknowledged a little later, and leaves room
        try:
            socket.socket.send(ours, bytes(SMALL), socket.MSG_DONTWAIT)
            still = 0
        except BlockingIOError:
            still += 1
            threading.Event().wait(0.05)


def test_where_there_is_no_room_for_its_first_bytes_it_waits_for_the_body(tmp_path: Path) -> None:
    """As a server asks that wants our certificate after it has read the headers: TLS 1.2, RFC 5246 section 7.4.1.1."""
    made = make_certificates(tmp_path, "127.0.0.1")
    theirs = SSL.Context(SSL.TLS_SERVER_METHOD)
    theirs.set_max_proto_version(SSL.TLS1_2_VERSION)
    theirs.use_certificate_chain_file(str(made.chain))
    theirs.use_privatekey_file(str(made.private_key))
    with socket.socket() as listening, socket.socket() as near:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        near.connect(listening.getsockname())
        far, _ = listening.accept()
        server = SSL.Connection(theirs, far)
        greeting = threading.Thread(target=lambda: (server.set_accept_state(), server.do_handshake()))
        greeting.start()
        context = ssl.create_default_context(cafile=str(made.ca_file))
        with far, context.wrap_socket(near, server_hostname="127.0.0.1") as ours:
            greeting.join()
            ours.setblocking(False)  # noqa: FBT003 - its own name for it
            incoming = Incoming(ours)
            filled(ours)
            far.setblocking(False)  # noqa: FBT003 - as above
            server.renegotiate()
            with suppress(SSL.WantReadError):
                server.do_handshake()
            assert incoming.early() is False
