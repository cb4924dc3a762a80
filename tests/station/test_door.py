"""Whoever is slow, long or many at the status service's door is bounded, and hinders nobody else."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
import trustme

from agent.station import door as door_module
from agent.station import news as news_module
from agent.station import screen as screen_module
from tests.screen.dock import served
from tests.station.asking import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.screen.dock import Dock

UNWAITING = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
HOST = "Host: localhost\r\n"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of who is cut off alone: a busy machine may take longer for anything."""
    monkeypatch.setattr(door_module, "PATIENCE", 0.5)


@pytest.fixture
async def dock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Dock]:
    monkeypatch.setattr(door_module, "CONNECTIONS", 8)
    monkeypatch.setattr(door_module, "FROM_ONE_ADDRESS", 8)
    async with served(tmp_path, 1) as made:
        yield made


async def connected(dock: Dock) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(dock.url.rpartition(":")[2]))


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait until the other side closes; whether it did so without a word."""
    async with asyncio.timeout(10):
        try:
            return await reader.read() == b""
        except ConnectionResetError:
            return True


async def answered(dock: Dock, sent: bytes) -> bytes:
    reader, writer = await connected(dock)
    writer.write(sent)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (f"GET /{'a' * 3000} HTTP/1.1\r\n{HOST}\r\n", b"400"),
        (f"GET / HTTP/1.1\r\n{HOST}X: {'a' * 5000}\r\n\r\n", b"400"),
        (f"GET / HTTP/1.1\r\n{HOST}" + "X: 1\r\n" * 100 + "\r\n", b"400"),
        (f"GET / HTTP/1.1\r\n{HOST}X\0: 1\r\n\r\n", b"400"),
        (f"GET / HTTP/1.1\r\n{HOST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (f"GET / HTTP/1.1\r\n{HOST}Content-Length: -1\r\n\r\n", b"400"),
        ("\x16\x03\x01\x02\0\r\n\r\n", b"400"),
        (f"POST / HTTP/1.1\r\n{HOST}Content-Length: 9999999999\r\n\r\nx", b"405"),
        (f"GET {'/' * 1500} HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n", b"404"),
        (f"TRACE / HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n", b"405"),
        ("GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", b"421"),
    ],
)
async def test_what_is_too_long_or_ill_formed_is_refused_and_the_next_is_answered(
    dock: Dock, sent: str, status: bytes
) -> None:
    answer = await answered(dock, sent.encode("latin-1"))
    assert answer.split()[1] == status
    assert b"Traceback" not in answer
    assert (await ask(dock.url, "/health"))[0] == 200


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("begun", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
async def test_who_does_not_finish_a_head_is_cut_off(dock: Dock, begun: bytes) -> None:
    reader, writer = await connected(dock)
    writer.write(begun)

    async def drip() -> None:
        while begun:
            await asyncio.sleep(0.05)
            writer.write(b"a")

    dripping = asyncio.create_task(drip())
    assert await ended(reader)
    dripping.cancel()
    writer.close()


@pytest.mark.usefixtures("impatient")
async def test_who_does_not_fetch_the_answers_is_cut_off(dock: Dock) -> None:
    with socket.socket(socket.AF_INET, UNWAITING) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(lazy, ("127.0.0.1", int(dock.url.rpartition(":")[2])))
        one = f"GET /openapi.json HTTP/1.1\r\n{HOST}\r\n".encode()

        async def ask_and_ask() -> None:
            while True:
                await loop.sock_sendall(lazy, one * 50)

        async with asyncio.timeout(20):
            with pytest.raises(OSError, match=r"reset|pipe"):
                await ask_and_ask()
    assert (await ask(dock.url, "/health"))[0] == 200


async def test_there_are_only_so_many_connections_and_others_come_in_when_they_are_gone(dock: Dock) -> None:
    many = [await connected(dock) for _ in range(20)]
    assert all([await ended(reader) for reader, _ in many[8:]])
    for _, writer in many:
        writer.close()
    async with asyncio.timeout(10):
        while True:
            try:
                code, _, text = await ask(dock.url, "/metrics")
            except OSError:
                await asyncio.sleep(0.05)
                continue
            break
    assert code == 200
    assert "evidock_status_connections_refused_total 1" in text


async def test_who_does_not_finish_a_handshake_is_cut_off_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "PATIENCE", 0.5)
    monkeypatch.setattr(door_module, "CONNECTIONS", 4)
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "our.pem")
    async with served(tmp_path, 1, status=f'cert_file = "{tmp_path / "our.pem"}"') as dock:
        many = [await connected(dock) for _ in range(6)]
        assert all([await ended(reader) for reader, _ in many])
        for _, writer in many:
            writer.close()
        monkeypatch.setattr(door_module, "PATIENCE", 15.0)
        url = dock.url.replace("http:", "https:")
        async with asyncio.timeout(20):
            assert (await ask(url, "/health", ssl=False))[0] == 200


async def test_one_address_cannot_take_all_places(dock: Dock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "FROM_ONE_ADDRESS", 4)
    many = [await connected(dock) for _ in range(8)]
    assert all([await ended(reader) for reader, _ in many[4:]])
    with socket.socket(socket.AF_INET, UNWAITING) as other:
        other.bind(("127.0.0.2", 0))
        loop = asyncio.get_running_loop()
        await loop.sock_connect(other, ("127.0.0.1", int(dock.url.rpartition(":")[2])))
        await loop.sock_sendall(other, f"GET /health HTTP/1.1\r\n{HOST}\r\n".encode())
        assert (await loop.sock_recv(other, 100)).startswith(b"HTTP/1.1 200")
    for _, writer in many:
        writer.close()


async def test_a_listener_that_does_not_read_is_dropped_and_the_others_hear_on(
    dock: Dock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news_module, "PACE", 0.01)
    monkeypatch.setattr(screen_module, "_FRESH", 0.0)
    monkeypatch.setattr(news_module, "SLOW", 2.0)
    dock.notice("x" * 200_000)
    port = int(dock.url.rpartition(":")[2])
    with socket.socket(socket.AF_INET, UNWAITING) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(lazy, ("127.0.0.1", port))
        await loop.sock_sendall(lazy, f"GET /v1/events HTTP/1.1\r\n{HOST}\r\n".encode())
        reader, writer = await connected(dock)
        writer.write(f"GET /v1/events HTTP/1.1\r\n{HOST}\r\n".encode())

        async def listen() -> int:
            heard = 0
            while await reader.read(1 << 20):
                heard += 1
            return heard

        listening = asyncio.create_task(listen())
        number, dropped = 0, False
        async with asyncio.timeout(60):
            while not dropped:
                number += 1
                dock.told[0] = {
                    "id": "room.soon",
                    "state": "warning",
                    "what": "room",
                    "detail": f"{number}" + "x" * 200_000,
                    "todo": "",
                }
                await asyncio.sleep(0.05)
                _, _, text = await ask(dock.url, "/metrics")
                dropped = "evidock_status_listeners_dropped_total 1.0" in text
        assert "evidock_status_listeners 1.0" in text
        assert not listening.done()
        listening.cancel()
        writer.close()


async def test_there_are_only_so_many_listeners(dock: Dock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news_module, "LISTENERS", 2)
    many = [await connected(dock) for _ in range(3)]
    heads = []
    for reader, writer in many:
        writer.write(f"GET /v1/events HTTP/1.1\r\n{HOST}\r\n".encode())
        heads.append(await reader.readuntil(b"\r\n\r\n"))
    assert [head.split()[1] for head in heads] == [b"200", b"200", b"503"]
    assert b"Retry-After" in heads[2]
    for _, writer in many:
        writer.close()
