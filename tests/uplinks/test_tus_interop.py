"""Against tus servers of other authors: @tus/server with @tus/file-store (no checksums), resumable-upload (sha256)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from structlog.testing import capture_logs
from yarl import URL

from agent.capture import PART_LENGTH, Strength
from agent.errors import SpoolDamaged, UplinkDown
from agent.testing.ports import free_port
from tests.uplinks.memory import MIB, MemorySending, some_bytes
from tests.uplinks.wire import Wire

if TYPE_CHECKING:
    from agent.uplink.tus import TusUplink
    from tests.uplinks.double import Connect

pytestmark = pytest.mark.interop

INTEROP = Path(__file__).parents[1] / "interop"
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (INTEROP / "node_modules/@tus/server").is_dir(),
    reason="needs node, and `npm ci` in tests/interop",
)


class Peer:
    """A server as a process of its own that ends with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.port = 0
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    async def listening(self, process: asyncio.subprocess.Process) -> str:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        if self._process is not None:
            await self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self.command(), cwd=self.folder, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(20):
            self.url = await self.listening(self._process)
        self.port = URL(self.url).port or 0

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def restart(self) -> None:
        self.kill()
        assert self._process is not None
        await self._process.wait()
        await self.start()


class Node(Peer):
    def __init__(self, folder: Path, *more: str) -> None:
        super().__init__(folder)
        self._more = more

    def command(self) -> list[str]:
        return ["node", str(INTEROP / "tus_server.mjs"), str(self.folder), str(self.port), *self._more]

    async def listening(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        return str(json.loads(await process.stdout.readline())["url"])

    def stored(self) -> list[bytes]:
        return [path.read_bytes() for path in self.folder.iterdir() if path.suffix != ".json"]


class ResumableUpload(Peer):
    def command(self) -> list[str]:
        self.port = self.port or free_port()
        program = Path(sys.executable).with_name("resumable-upload")
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--upload-dir", str(self.folder / "files")]
        return [str(program), "serve", *place, "--checksum-algorithms", "sha1,sha256"]

    async def listening(self, process: asyncio.subprocess.Process) -> str:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return f"http://127.0.0.1:{self.port}/files"
            assert process.returncode is None
            await asyncio.sleep(0.05)


async def sent(uplink: TusUplink, sending: MemorySending) -> Strength:
    async with asyncio.timeout(30):
        while True:
            try:
                return (await uplink.send(sending)).strength
            except UplinkDown:
                await asyncio.sleep(0.1)


# --- @tus/server


@needs_node
@pytest.mark.parametrize("location", ["relative", "absolute"])
async def test_tus_server_takes_captures_of_every_length(tmp_path: Path, connect: Connect, location: str) -> None:
    async with Node(tmp_path / "store", location) as peer:
        uplink = connect(peer.url, part_length=MIB)
        sendings = [MemorySending(some_bytes(n), key=f"Ü {n}.MP4") for n in (0, 1, MIB, 3 * MIB + 1)]
        for sending in sendings:
            receipt = await uplink.send(sending)
            assert (receipt.strength, receipt.length) == (Strength.LENGTH, len(sending.data))
            again = await uplink.send(sending)  # RES-6: our record of the end was lost
            assert again == receipt
        assert sorted(peer.stored()) == sorted(sending.data for sending in sendings)


@needs_node
async def test_tus_server_killed_in_mid_upload_goes_on_with_the_same_upload(tmp_path: Path, connect: Connect) -> None:
    async with Node(tmp_path / "store") as peer:
        uplink = connect(peer.url, part_length=4 * MIB)
        sending = MemorySending(some_bytes(32 * MIB))
        for at in (2, 5):
            task = asyncio.create_task(uplink.send(sending))
            while not sending.confirmed or sending.confirmed[-1] < at * 4 * MIB:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
            peer.kill()
            with pytest.raises(UplinkDown):
                await task
            await peer.restart()
        assert await sent(uplink, sending) is Strength.LENGTH
        assert peer.stored() == [sending.data]
        assert len(sending.remembered) == 1
        assert sending.read <= len(sending.data) + 2 * 4 * MIB


@needs_node
async def test_tus_server_behind_a_link_that_is_cut(tmp_path: Path, connect: Connect) -> None:
    async with Node(tmp_path / "store") as peer:
        sending = MemorySending(some_bytes(8 * MIB))
        async with Wire("cut@2500000 stall@3000000 cut@100000", peer.port) as wire:
            uplink = connect(wire.url, part_length=4 * MIB, stall=0.5)
            await uplink.check()
            with capture_logs() as logs:
                assert await sent(uplink, sending) is Strength.LENGTH
        assert peer.stored() == [sending.data]
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == []


@needs_node
async def test_tus_server_forgets_an_upload_that_expired(tmp_path: Path, connect: Connect) -> None:
    async with Node(tmp_path / "store", "relative", "1500") as peer:
        sending = MemorySending(some_bytes(3 * MIB))
        uplink = connect(peer.url, part_length=MIB)
        task = asyncio.create_task(uplink.send(sending))
        while not sending.confirmed or sending.confirmed[-1] < MIB:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(1.6)
        assert await sent(uplink, sending) is Strength.LENGTH
        assert len(sending.remembered) == 2


# --- resumable-upload


async def test_resumable_upload_takes_captures_of_every_length(tmp_path: Path, connect: Connect) -> None:
    async with ResumableUpload(tmp_path / "store") as peer:
        uplink = connect(peer.url, part_length=MIB)
        found = {finding.what: finding.state for finding in await uplink.check()}
        assert found["parts"] == "ok"
        for length in (0, 1, MIB, 3 * MIB + 1, PART_LENGTH + 1):
            sending = MemorySending(some_bytes(length), key=f"Ü {length}.MP4")
            receipt = await uplink.send(sending)
            assert (receipt.strength, receipt.length) == (Strength.LENGTH, length)
            assert any(path.read_bytes() == sending.data for path in peer.folder.rglob("*") if path.is_file())


async def test_resumable_upload_refuses_bytes_that_are_not_what_the_journal_says(
    tmp_path: Path, connect: Connect
) -> None:
    async with ResumableUpload(tmp_path / "store") as peer:
        data = some_bytes(MIB)
        sending = MemorySending(data, damage=data[:-1] + bytes([data[-1] ^ 1]))
        with capture_logs() as logs, pytest.raises(SpoolDamaged):
            await connect(peer.url).send(sending)
        assert [entry["event"] for entry in logs] == ["bytes_refused_as_wrong"]


async def test_resumable_upload_resumes_after_a_cut_and_a_kill(tmp_path: Path, connect: Connect) -> None:
    async with ResumableUpload(tmp_path / "store") as peer:
        sending = MemorySending(some_bytes(12 * MIB))
        async with Wire("ok cut@5500000", peer.port) as wire:
            uplink = connect(wire.url, part_length=2 * MIB)
            await uplink.check()
            await uplink.aclose()
            task = asyncio.create_task(sent(uplink, sending))
            while not sending.confirmed or sending.confirmed[-1] < 8 * MIB:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
            await peer.restart()
            assert await task is Strength.LENGTH
        assert len(sending.remembered) == 1
        assert any(path.read_bytes() == sending.data for path in peer.folder.rglob("*") if path.is_file())


async def test_resumable_upload_knows_an_unknown_upload_in_its_own_way(tmp_path: Path, connect: Connect) -> None:
    async with ResumableUpload(tmp_path / "store") as peer:
        for name in ("0123456789abcdef0123456789abcdef", "no such name"):
            sending = MemorySending(b"abc")
            sending.state = f"{peer.url}/{name}"
            assert (await connect(peer.url).send(sending)).strength is Strength.LENGTH
