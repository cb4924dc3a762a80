"""Requests that come twice at once, are cut off, stall, or ask before they send, at the emulated DEMS."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from yarl import URL

from agent.testing.dems import EmulatedDems
from tests.dems.client import Client, checksum_of, sample, under_way

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from tests.dems.client import ClientOf


async def test_only_one_request_writes_to_an_upload(tus: Client, dems: EmulatedDems) -> None:
    one = sample(b"ab")
    url = await tus.create(one)
    gate = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"a"
        await gate.wait()
        yield b"b"

    first = asyncio.create_task(tus.patch(url, 0, slowly()))
    await under_way(dems, one)
    assert (await tus.patch(url, 0, b"ab")).status == 423
    assert (await tus.ask("DELETE", url)).status == 423
    assert (await tus.head(url)).offset == 0  # only what is committed counts
    gate.set()
    assert (await first).offset == 2


async def test_only_one_request_creates_an_upload(
    tus: Client, dems: EmulatedDems, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sample(b"ab")
    begun, gate, take = asyncio.Event(), asyncio.Event(), dems.core.receiver.take
    monkeypatch.setattr(dems.core.receiver, "take", lambda *words, **more: (begun.set(), take(*words, **more))[1])

    async def slowly() -> AsyncIterator[bytes]:
        yield b"a"
        await gate.wait()
        yield b"b"

    first = asyncio.create_task(tus.post(one, data=slowly()))
    async with asyncio.timeout(30):
        await begun.wait()
    assert (await tus.post(one, data=b"ab")).status == 423
    gate.set()
    assert (await first).status == 201
    assert len(await dems.index()) == 1


async def cut(dems: EmulatedDems, url: str, offset: int, sent: bytes, length: int, *headers: str) -> None:
    """Send a PATCH whose body is shorter than it says, and vanish."""
    _, writer = await asyncio.open_connection("127.0.0.1", URL(dems.url).port)
    lines = [
        f"PATCH {url} HTTP/1.1",
        "Host: localhost",
        "Tus-Resumable: 1.0.0",
        f"Upload-Offset: {offset}",
        "Content-Type: application/offset+octet-stream",
        f"Content-Length: {length}",
        *headers,
    ]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + sent)
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    await writer.wait_closed()


async def offset_when_free(tus: Client, url: str) -> int:
    for _ in range(100):
        if (await tus.patch(url, 10**9, b"", Upload_Offset="1000000000")).status != 423:
            break
        await asyncio.sleep(0.02)
    return (await tus.head(url)).offset


async def test_a_cut_body_keeps_its_prefix_unless_it_had_a_checksum(tus: Client, dems: EmulatedDems) -> None:
    data = os.urandom(400_000)
    url = await tus.create(sample(data))
    stated = f"Upload-Checksum: {checksum_of(data)['Upload_Checksum']}"
    await cut(dems, url, 0, data[:250_000], 400_000, stated)
    assert await offset_when_free(tus, url) == 0
    await cut(dems, url, 0, data[:250_000], 400_000)
    assert await offset_when_free(tus, url) == 250_000
    assert (await tus.patch(url, 250_000, data[250_000:])).status == 204
    [entry] = await dems.index()
    assert dems.stored(entry).read_bytes() == data
    assert entry.received == 650_000
    assert await dems.violations() == []


async def test_a_client_that_stops_sending_does_not_hold_the_lock_for_ever(tmp_path: Path, client_of: ClientOf) -> None:
    async with EmulatedDems(tmp_path / "d", patience=0.2) as dems:
        tus = client_of(dems)
        url = await tus.create(sample(b"ab"))

        async def hang() -> AsyncIterator[bytes]:
            yield b"a"
            await asyncio.sleep(5)
            yield b"b"

        answer = await tus.patch(url, 0, hang())
        assert (answer.status, answer.offset) == (408, 1)
        assert (await tus.patch(url, 1, b"b")).status == 204


async def test_a_refused_body_is_never_asked_for(tus: Client, dems: EmulatedDems) -> None:
    url = await tus.create(sample(b"abc"))
    reader, writer = await asyncio.open_connection("127.0.0.1", tus.url.port)
    head = f"PATCH {url} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nContent-Length: 3\r\n"
    head += "Content-Type: application/offset+octet-stream\r\nExpect: 100-continue\r\n"
    writer.write(f"{head}Upload-Offset: 1\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 409")
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", tus.url.port)
    writer.write(f"{head}Upload-Offset: 0\r\n\r\n".encode())
    assert (await reader.readline()) == b"HTTP/1.1 100 Continue\r\n"
    await reader.readline()
    writer.write(b"abc")
    assert (await reader.readline()).startswith(b"HTTP/1.1 204")
    writer.close()
    assert await dems.violations() == []
