"""The DEMS as a process of its own: killed at any moment and started again, it never takes back what it said."""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
import pytest
from yarl import URL

from agent.custody.receipt import open_receipt
from agent.note import Verifier
from agent.testing.dems import DemsOptions, DemsProcess, serve
from tests.dems.client import Client, checksum_of, sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.dems.client import ClientOf

MIB = 1 << 20
BROKEN = (aiohttp.ClientError, ConnectionError)


async def test_killed_in_the_middle_of_a_part(tmp_path: Path, client_of: ClientOf) -> None:
    async with DemsProcess(tmp_path / "d") as dems:
        tus, one = client_of(dems), sample(os.urandom(3 * MIB))
        url = await tus.create(one)
        first = one.data[:MIB]
        assert (await tus.patch(url, 0, first, **checksum_of(first))).offset == MIB
        sending = asyncio.Event()

        async def rest() -> AsyncIterator[bytes]:
            yield one.data[MIB : 2 * MIB + 500_000]
            sending.set()
            await asyncio.sleep(60)

        patching = asyncio.create_task(tus.patch(url, MIB, rest(), **checksum_of(one.data[MIB:])))
        await sending.wait()
        await asyncio.sleep(0.1)
        before, pid = dems.url, dems.pid
        dems.kill()
        with pytest.raises(BROKEN):
            await patching
        await dems.restart()
        assert dems.url == before
        assert dems.pid != pid
        assert (await tus.head(url)).offset == MIB
        done = await tus.patch(url, MIB, one.data[MIB:], **checksum_of(one.data[MIB:]))
        said = open_receipt(done.note, [Verifier.parse(dems.receipt_vkey)])
        assert (said.capture, said.sha256, said.length) == (one.capture, one.sha256, 3 * MIB)
        [entry] = await dems.index()
        assert dems.stored(entry).read_bytes() == one.data
        assert await dems.receipt(one.capture) == done.note
        assert await dems.violations() == []


async def test_killed_again_and_again(tmp_path: Path, client_of: ClientOf) -> None:
    """What was acknowledged is there after each kill, and in the end the bytes are the right ones."""
    chance = random.Random(7)
    part = 256 * 1024
    one = sample(chance.randbytes(24 * part))
    async with DemsProcess(tmp_path / "d") as dems:
        tus = client_of(dems)
        acknowledged = 0
        url = await tus.create(one)

        async def upload() -> None:
            nonlocal acknowledged
            offset = (await tus.head(url)).offset
            assert offset >= acknowledged
            while offset < len(one.data):
                body = one.data[offset : offset + part]
                answer = await tus.patch(url, offset, body, **checksum_of(body))
                offset = acknowledged = answer.offset

        for _ in range(4):
            uploading = asyncio.create_task(upload())
            await asyncio.sleep(chance.uniform(0.002, 0.04))
            dems.kill()
            with suppress(*BROKEN):
                await uploading
            await dems.restart()
        await upload()
        again = await tus.post(one)
        assert (again.status, again.headers["Location"], again.offset) == (201, url, len(one.data))
        [entry] = await dems.index()
        assert dems.stored(entry).read_bytes() == one.data
        assert again.note == await dems.receipt(one.capture)


async def test_killed_after_the_work_and_before_the_answer(tmp_path: Path, client_of: ClientOf) -> None:
    async with DemsProcess(tmp_path / "d") as dems:
        tus, one = client_of(dems), sample(b"small")
        await dems.add_fault("POST:1:drop-answer")
        with pytest.raises(BROKEN):
            await tus.post(one, data=one.data)
        dems.kill()
        await dems.restart()
        again = await tus.post(one, data=b"other")
        assert again.status == 201
        assert open_receipt(again.note, [Verifier.parse(dems.receipt_vkey)]).sha256 == one.sha256
        assert len(await dems.index()) == 1


async def test_https_with_a_certificate_that_outlives_the_process(tmp_path: Path) -> None:
    async with DemsProcess(tmp_path / "d", tls=True) as dems:
        assert dems.url.startswith("https://127.0.0.1:")
        assert dems.ca_file is not None
        trust = ssl.create_default_context(cafile=dems.ca_file)
        one = sample(b"abc")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            url = await Client(session, dems.url).create(one)
            await dems.restart()
            assert (await Client(session, dems.url).patch(url, 0, b"abc")).note
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.options(dems.url)


async def test_what_it_tells_over_http(tmp_path: Path, client_of: ClientOf) -> None:
    async with DemsProcess(tmp_path / "d") as dems:
        tus, one = client_of(dems), sample(b"abc", device="BWC-1")
        url = (await tus.post(one, data=one.data)).headers["Location"]
        await tus.patch(url, 3, b"d")
        [entry] = await dems.index()
        assert (entry.capture, entry.sha256, entry.length, entry.state) == (one.capture, one.sha256.hex(), 3, "stored")
        [violation] = await dems.violations()
        assert (violation.kind, violation.capture) == ("finished-upload-written", one.capture)
        with pytest.raises(ValueError, match="is not a fault"):
            await dems.add_fault("nonsense")
        await dems.add_fault("HEAD:*:503")
        assert (await tus.head(url)).status == 503
        await dems.clear_faults()
        assert (await tus.head(url)).status == 200
        await dems.restart()  # a complaint is not forgotten either
        assert [one.kind for one in await dems.violations()] == ["finished-upload-written"]


async def test_its_complaints_go_to_a_file_and_never_stop_it(tmp_path: Path, client_of: ClientOf) -> None:
    async with DemsProcess(tmp_path / "d") as dems:
        tus, one = client_of(dems), sample(b"abc")
        url = (await tus.post(one, data=one.data)).headers["Location"]
        for _ in range(500):  # more than a pipe holds
            assert (await tus.patch(url, 3, b"d")).status == 403
        assert len(await dems.violations()) == 500
    assert (tmp_path / "d" / "dems.log").read_text().count("finished-upload-written") == 500


async def test_it_ends_with_the_one_who_started_it(tmp_path: Path) -> None:
    dems = DemsProcess(tmp_path / "d")
    await dems.start()
    process = dems._running.process if dems._running else None
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(30):
        assert await process.wait() == 0
    await dems.stop()


async def test_it_says_why_it_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    dems = DemsProcess(tmp_path / "d", tls=True, certificate=tmp_path / "bad.pem", private_key=tmp_path / "bad.pem")
    with pytest.raises(RuntimeError, match="SSLError"):
        await dems.start()
    assert dems.pid is None


async def test_serve_says_where_it_listens(tmp_path: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    ended = asyncio.Event()
    serving = asyncio.create_task(serve(DemsOptions(tmp_path / "d", receipts=False), say=said.put_nowait, until=ended))
    line = json.loads(await said.get())
    assert (line["ca_file"], line["receipt_vkey"], line["pid"]) == (None, "", os.getpid())
    async with aiohttp.ClientSession() as session, session.options(URL(line["url"])) as answer:
        assert answer.status == 204
    ended.set()
    await serving
