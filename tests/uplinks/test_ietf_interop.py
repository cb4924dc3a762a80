"""Resumable uploads and programs of other authors: a client, a server and its suite, and the draft's own examples.

Neither a server nor a client of the draft's current iteration is on PyPI, npm or in Debian. What is there:

- tus-js-client (npm) speaks iteration -05, whose requests our DEMS understands;
- tus-java-server (MIT) implements -12, and has a suite for servers. Both are tried where they were fetched and built by
  hand: EVIDOCK_RUFH_SUITE names its `scripts/rufh_conformity_test.py`, EVIDOCK_RUFH_SERVER a class path with its
  classes, those of Tomcat 10 and `tests/interop/ResumableServer.java`. An exchange with it was recorded (`recorded/`),
  and is replayed always.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from yarl import URL

from agent.capture import Strength
from agent.errors import UplinkDown
from agent.testing.dems import EmulatedDems
from agent.uplink.ietf import IetfUplink
from tests.uplinks.memory import MIB, MemorySending, some_bytes
from tests.uplinks.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.interop
PEERS = Path(__file__).parents[1] / "interop"
RECORDED = json.loads((Path(__file__).parent / "recorded" / "tus_java_server.json").read_text())
SUITE, SERVER = os.environ.get("EVIDOCK_RUFH_SUITE"), os.environ.get("EVIDOCK_RUFH_SERVER")


def uplink_to(url: str, **options: object) -> IetfUplink:
    return IetfUplink(IetfUplink.Options(use="ietf", name="dems", url=url, **options))


# --- a client of others


JS_CLIENT = """
import fs from 'node:fs'
import { createRequire } from 'node:module'
const [url, path, chunk, peers] = process.argv.slice(1)
const tus = createRequire(peers + '/package.json')('tus-js-client')
new tus.Upload(fs.createReadStream(path), {
  protocol: 'ietf-draft-05', endpoint: url, uploadSize: fs.statSync(path).size, chunkSize: Number(chunk) || Infinity,
  retryDelays: [50, 100, 200],
  onError: (error) => { console.error(String(error)); process.exit(1) }, onSuccess: () => process.exit(0),
}).start()
"""


@pytest.mark.parametrize("chunk", ["all", "1000000"])
@pytest.mark.parametrize("fault", ["", "PATCH:1:cut@700000", "PATCH:1:503", "PATCH:1:drop-answer"])
async def test_tus_js_client(tmp_path: Path, chunk: str, fault: str) -> None:
    if shutil.which("node") is None or not (PEERS / "node_modules" / "tus-js-client").is_dir():
        pytest.skip("node or its packages are missing: run make peers")
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(some_bytes(5_000_001))
    async with EmulatedDems(tmp_path / "dems", receipts=False) as dems:
        if fault:
            await dems.add_fault(fault)
        command = ("node", "--input-type=module", "-e", JS_CLIENT, dems.captures_url, str(clip), chunk, str(PEERS))
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        async with asyncio.timeout(60):
            _, words = await process.communicate()
        assert process.returncode == 0, words.decode()
        [entry] = await dems.index()
        # Its sources say "done" only of a slice that is everything: after any other it never says that it is complete.
        assert entry.state == ("stored" if chunk == "all" and "cut" not in fault else "open")
        assert entry.offset == entry.length
        assert dems.stored(entry).read_bytes() == clip.read_bytes()
        assert entry.received == entry.length, "what came before the cut was kept"


# --- a server of others


class Replayed:
    """Answers as the recorded server did, as long as it is asked what that one was asked."""

    def __init__(self) -> None:
        self.left: list[dict[str, Any]] = list(RECORDED["exchange"])

    async def answer(self, request: web.Request) -> web.Response:
        expected = self.left.pop(0)
        await request.read()
        assert (request.method, request.path) == (expected["method"], expected["path"])
        for name, value in expected["sent"].items():
            assert request.headers.get(name) == value, (request.method, name)
        return web.Response(status=expected["status"], headers=expected["headers"], body=expected["body"].encode())


@pytest.fixture
async def replayed() -> AsyncIterator[tuple[Replayed, str]]:
    server = Replayed()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield server, f"http://127.0.0.1:{runner.addresses[0][1]}/files"
    await runner.cleanup()


class StoppedError(Exception):
    pass


class Stopping(MemorySending):
    """Its second request is not let go."""

    turns = 0

    async def turn(self, _: int, /) -> None:
        self.turns += 1
        if self.turns == 2:
            raise StoppedError


async def test_a_recorded_exchange(replayed: tuple[Replayed, str]) -> None:
    """Check, an empty capture, one of a byte, one of three requests by its limit, and one that was stopped between."""
    server, url = replayed
    uplink = uplink_to(url)
    assert [finding.state for finding in await uplink.check() if finding.what == "parts"] == ["ok"]
    strengths = [
        (await uplink.send(MemorySending(some_bytes(length), key=f"CLIP{length}.MP4"))).strength
        for length in (0, 1, 2 * MIB + 7)
    ]
    sending = Stopping(some_bytes(2 * MIB + 7), key="AGAIN.MP4")
    with pytest.raises(StoppedError):
        await uplink.send(sending)
    uplink.door.surprised()
    strengths.append((await uplink.send(sending)).strength)
    await uplink.aclose()
    assert server.left == []
    assert [int(strength) for strength in strengths] == RECORDED["receipts"]
    assert set(strengths) == {Strength.DIGEST}


@pytest.mark.skipif(SERVER is None, reason="EVIDOCK_RUFH_SERVER is not set: see the top of this file")
async def test_tus_java_server(tmp_path: Path) -> None:
    command = ("java", "-cp", str(SERVER), "ResumableServer", str(tmp_path), "0")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            port = json.loads(await process.stdout.readline())["port"]
            uplink = uplink_to(f"http://127.0.0.1:{port}/files", part_length=MIB)
            sendings = [MemorySending(some_bytes(length), key=f"CLIP{length}") for length in (0, 1, 3 * MIB + 7)]
            for sending in sendings:
                assert (await uplink.send(sending)).strength is Strength.DIGEST
            await uplink.aclose()
            sending = MemorySending(some_bytes(4 * MIB))
            async with Wire("cut@1500000 cut@700000 ok", port) as wire:
                cut = uplink_to(wire.url, part_length=MIB, stall=1.0)
                while True:
                    try:
                        assert (await cut.send(sending)).strength is Strength.DIGEST
                        break
                    except UplinkDown:
                        await asyncio.sleep(0.1)
                await cut.aclose()
        stored = [path.read_bytes() for path in tmp_path.rglob("data")]  # noqa: ASYNC240 - nothing else runs here
        assert all(one.data in stored for one in [*sendings, sending])
    finally:
        process.stdin.close()
        await process.wait()


@pytest.mark.skipif(SUITE is None, reason="EVIDOCK_RUFH_SUITE is not set: see the top of this file")
async def test_a_suite_for_servers(tmp_path: Path) -> None:
    """All but what a DEMS means otherwise: it wants to know a length, and deletes nothing that it stored."""
    meant = ("unknown_length_upload", "length_derived_from_completing_append", "cancellation_delete_completed_upload")
    options: dict[str, Any] = {"receipts": False, "max_size": MIB, "max_append_size": 4096, "min_append_size": 16}
    async with EmulatedDems(tmp_path / "dems", **options) as dems:
        words = ["-q", "-p", "no:cacheprovider", "-p", "no:evidock", "-c", "/dev/null", "-W", "ignore"]
        words += ["--rootdir", str(tmp_path), str(SUITE), "-k", " and ".join(f"not {name}" for name in meant)]
        environment = {**os.environ, "RUFH_URL": dems.captures_url.rstrip("/")}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pytest", *words, env=environment, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()


# --- the draft's own examples


class Spoken:
    """Answers with the bytes of the draft's examples, whatever it is asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.answers:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
            except asyncio.IncompleteReadError:
                break
            length = next((int(line[15:]) for line in head.splitlines() if line.startswith("Content-Length")), 0)
            await reader.readexactly(length)
            self.asked.append(head)
            writer.write(self.answers.pop(0).replace("\n", "\r\n").encode())
            await writer.drain()
        writer.close()


OFFERED = "HTTP/1.1 204 No Content\nUpload-Limit: max-size=1234567890\n\n"
CREATED = """\
HTTP/1.1 104 Upload Resumption Supported
Upload-Draft-Interop-Version: 9
Location: /upload/3fd4994ad

HTTP/1.1 201 Created
Location: /upload/3fd4994ad
Upload-Complete: ?0
Upload-Limit: max-size=1234567890
Content-Length: 0

"""
APPENDED = """\
HTTP/1.1 104 Upload Resumption Supported
Upload-Draft-Interop-Version: 9
Upload-Offset: 100000

HTTP/1.1 204 No Content
Upload-Complete: ?0

"""
RETRIEVED = """\
HTTP/1.1 204 No Content
Upload-Complete: ?0
Upload-Offset: 262144
Upload-Length: 524295
Upload-Limit: max-age=3600
Cache-Control: no-store

"""
MISMATCHING = """\
HTTP/1.1 409 Conflict
Content-Type: application/problem+json
Upload-Offset: 262144
Upload-Complete: ?0
Content-Length: 160

{"type":"https://iana.org/assignments/http-problem-types#mismatching-upload-offset","expected-offset":262144,\
"provided-offset":0,"title":"offset is mismatch"}
"""
PROCESSED = """\
HTTP/1.1 200 OK
Upload-Complete: ?1
Content-Type: application/json
Content-Length: 29

{"attachmentId": "b530ce8ff"}"""


async def test_the_examples_of_the_draft() -> None:
    """Sections 4.2.3, 4.3.3, 4.4.3 and 7.1, with lengths of ours: interim responses stand before final ones."""
    mismatching, _, body = MISMATCHING.partition("\n\n")
    mismatching = mismatching.replace("160", str(len(body.strip()))) + "\n\n" + body.strip()
    spoken = Spoken(OFFERED, CREATED, mismatching, RETRIEVED, APPENDED, PROCESSED)
    server = await asyncio.start_server(spoken.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        uplink = uplink_to(f"http://127.0.0.1:{port}/project/123/files", part_length=MIB // 4)
        sending = MemorySending(some_bytes(2 * (MIB // 4) + 7))
        receipt = await uplink.send(sending)
        await uplink.aclose()
    assert receipt.strength is Strength.LENGTH
    assert sending.state == str(URL(f"http://127.0.0.1:{port}/upload/3fd4994ad"))
    assert sending.confirmed == [0, 262_144, 524_288, 524_295]
    assert [line.split()[0] for line in spoken.asked] == ["OPTIONS", "POST", "PATCH", "HEAD", "PATCH", "PATCH"]
    assert "Upload-Offset: 262144" in spoken.asked[4]
    assert "Upload-Complete: ?0" in spoken.asked[4]
    assert "Upload-Complete: ?1" in spoken.asked[5]
    assert "Content-Type: application/partial-upload" in spoken.asked[5]
    assert all("Upload-Draft-Interop-Version: 9" in asked for asked in spoken.asked)
