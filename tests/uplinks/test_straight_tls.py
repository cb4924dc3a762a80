"""Long bodies by threads over TLS: what never goes in the clear, and what a connection may do while a body goes out."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from asyncio.subprocess import PIPE, STDOUT
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import trustme
from yarl import URL

from agent.errors import UplinkDown
from agent.uplink.http import Cut, Door, HttpOptions
from agent.uplink.http.incoming import Incoming
from agent.uplink.http.line import Line
from tests.uplinks.bare import YES, Bare, asked, body_of, way_to
from tests.uplinks.memory import MIB, some_bytes
from tests.uplinks.tls import served_with, strict_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.uplink.http.straight import Straight
    from tests.uplinks.double import Serve

DONE = b"SSL_do_handshake -> 1\n"
"""What OpenSSL's server tells of new keys that it has asked for."""


@pytest.fixture(scope="module")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """How the server speaks it, and we."""
    authority = trustme.CA()
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    return served_with(authority.issue_cert("127.0.0.1")), ours


@pytest.fixture
def way(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[Straight]:
    way = way_to(tls[1])
    yield way
    way.close()


async def test_what_an_http_address_sends_on_to_https_goes_there_encrypted(serve: Serve) -> None:
    """As to a store that the DEMS names: the system's authorities count, for an http `url` can name no others."""
    store = await serve(tls=served_with(trustme.CA().issue_cert("127.0.0.1")))
    door = Door(HttpOptions(use="tus", name="dems", url="http://127.0.0.1:9/files", other_origins=[store.url]))
    words = {"Content-Length": str(MIB)}
    async with aclosing(door):
        with pytest.raises(UplinkDown, match="nobody whom we trust signed") as caught:
            await door.carry("PUT", URL(store.url), words, body_of(some_bytes(MIB)), MIB, verifying=0.0)
    assert caught.value.unsent


@pytest.mark.parametrize("ends", [False, True])
async def test_an_answer_that_comes_before_the_bytes_have_gone_ends_them(
    way: Straight, tls: tuple[ssl.SSLContext, ssl.SSLContext], *, ends: bool
) -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    async with Bare(b"", first=(refusal,), reads=False, ends=ends, tls=tls[0]).running() as server, asyncio.timeout(20):
        head = await asked(way, server, some_bytes(64 * MIB))
    assert (head.status, head.body) == (403, b"no")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_what_is_no_final_answer_does_not_end_them(
    way: Straight, tls: tuple[ssl.SSLContext, ssl.SSLContext], version: ssl.TLSVersion
) -> None:
    """Neither an interim answer, nor what TLS itself has to say, while the other side takes nothing for a while."""
    interim = b"HTTP/1.1 104 Upload Resumption Supported\r\n\r\n"
    tls[0].maximum_version = version
    server = Bare(YES, YES, first=(interim[:20], interim[20:]), tls=tls[0])
    async with server.running(), asyncio.timeout(20):
        for _ in range(2):
            assert (await asked(way, server, some_bytes(16 * MIB))).status == 204
    assert (server.received, server.connections) == (32 * MIB, 1)


async def test_a_certificate_of_ours_that_is_refused_is_told_as_by_the_event_loop(
    authority: trustme.CA, ca_file: Path
) -> None:
    """As where the DEMS has another authority since this morning: in TLS 1.3 it says so behind the handshake."""
    context = served_with(authority.issue_cert("127.0.0.1"))
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    words = {"Content-Length": str(64 * MIB)}
    with strict_server(context) as port:
        door = Door(HttpOptions(use="tus", name="dems", url=f"https://127.0.0.1:{port}/files", ca_file=ca_file))
        async with aclosing(door):
            with pytest.raises(Cut, match="refused the TLS connection: certificate required") as caught:
                await door.carry("PUT", door.url, words, body_of(some_bytes(64 * MIB)), 64 * MIB, verifying=0.0)
    assert "client_cert" in caught.value.what_to_do


def test_a_connection_that_is_reset_before_its_first_word_is_closed(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        line = Line(socket.create_connection(listening.getsockname()), tls[1], "127.0.0.1")
        other, _ = listening.accept()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed by a reset
        other.close()
        with pytest.raises(OSError, match="not connected"):
            line.greet()
        assert not line.closed, "else whoever took it closes it some time"
        line.close()


@pytest.mark.parametrize(
    ("version", "word", "late"),
    [("-tls1_3", b"K\n", False), ("-tls1_3", b"K\n", True), ("-tls1_2", b"r\n", False), ("-tls1_2", b"R\n", False)],
)
async def test_new_keys_are_agreed_upon_while_a_body_goes_out(
    authority: trustme.CA,
    ca_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    word: bytes,
    *,
    late: bool,
) -> None:
    """OpenSSL's server asks for them again and again: by `KeyUpdate`, by a handshake, and by one for a certificate.

    Also while nothing fits: TLS can say nothing new before the record of which half went out. `late`: what came is
    looked at then only, so tickets lie before the `KeyUpdate`.
    """
    if late:
        monkeypatch.setattr(Incoming, "early", lambda _: False)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "dems.pem"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["-accept", place, "-cert", str(tmp_path / "dems.pem"), "-CAfile", str(ca_file), "-naccept", "1", version]
    server = await asyncio.create_subprocess_exec(
        "stdbuf", "-o0", "openssl", "s_server", *options, stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    assert server.stdin is not None
    assert server.stdout is not None
    ours = ssl.create_default_context(cafile=ca_file)
    authority.issue_cert("dock-0042.example.org").configure_cert(ours)
    data, way, received, words = some_bytes(8 * MIB), way_to(ours), bytearray(), 0

    async def served(output: asyncio.StreamReader, typed: asyncio.StreamWriter) -> None:
        """Type one word after what was done of the last: of what it reads at once, the server looks at the first."""
        nonlocal words
        while data[-50:] not in received[-100_000:] or received.count(DONE) < words:
            received.extend(await output.read(65536))
            assert not output.at_eof()
            if len(received) > words * 200_000 and received.count(DONE) == words:
                await asyncio.sleep(0.3 if words in {3, 10} else 0.0)
                typed.write(word)
                words += 1
        typed.write(YES)

    try:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            while b"ACCEPT" not in received:
                received.extend(await server.stdout.read(65536))
            group.create_task(served(server.stdout, server.stdin))
            headers = {"Content-Length": str(len(data))}
            url = URL(f"https://{place}/up")
            assert (await way.ask("PUT", url, headers, body_of(data), len(data), verifying=0.0)).status == 204
    finally:
        way.close()
        if server.returncode is None:
            server.kill()
        await server.communicate()
    assert words > 20
