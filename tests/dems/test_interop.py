"""tus clients of other authors against our server: what they send is what is stored, byte for byte."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from agent.testing.dems import EmulatedDems

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.interop
PEERS: Final = Path(__file__).parent.parent / "interop"
LENGTH: Final = 5_000_001
JS_CLIENT: Final = """
import fs from 'node:fs'
import { createRequire } from 'node:module'
const [url, path, chunk, peers] = process.argv.slice(1)
const tus = createRequire(peers + '/package.json')('tus-js-client')
new tus.Upload(fs.createReadStream(path), {
  endpoint: url,
  uploadSize: fs.statSync(path).size,
  chunkSize: Number(chunk) || Infinity,
  uploadDataDuringCreation: chunk === 'with-creation',
  retryDelays: [50, 100, 200],
  metadata: { filename: 'übung.mp4', empty: '' },
  onError: (error) => { console.error(String(error)); process.exit(1) },
  onSuccess: () => process.exit(0),
}).start()
"""


@pytest.fixture
async def optional(tmp_path: Path) -> AsyncIterator[EmulatedDems]:
    """A DEMS that demands no claims, for no client of others can make them."""
    async with EmulatedDems(tmp_path / "optional", receipts=False) as dems:
        yield dems


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(os.urandom(LENGTH))
    return path


def same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


async def stored_once(dems: EmulatedDems, clip: Path, *, received: int | None = None) -> None:
    [entry] = await dems.index()
    assert (entry.state, entry.length) == ("stored", LENGTH)
    assert same(dems.stored(entry), clip)
    assert received is None or entry.received == received
    assert await dems.violations() == []


def tuspy(url: str, clip: Path, **options: object) -> None:
    client = pytest.importorskip("tusclient.client", reason="tuspy is not installed").TusClient(url)
    with clip.open("rb") as stream:  # by itself tuspy leaves the file open
        client.uploader(file_stream=stream, **options).upload()


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": {"filename": "clip.mp4"}},
        {"chunk_size": 1_000_000, "metadata": {"filename": "clip.mp4"}},
        {"chunk_size": 1_000_000, "upload_checksum": True},  # and without metadata it sends an empty header
    ],
)
async def test_tuspy(optional: EmulatedDems, clip: Path, options: dict[str, object]) -> None:
    await asyncio.to_thread(tuspy, optional.url, clip, **options)
    await stored_once(optional, clip, received=LENGTH)


async def test_tuspy_tries_again_after_a_wrong_answer(optional: EmulatedDems, clip: Path) -> None:
    await optional.add_fault("PATCH:2:503", "PATCH:4:drop-answer")
    options = {"chunk_size": 1_000_000, "retries": 3, "retry_delay": 0, "upload_checksum": True}
    await asyncio.to_thread(tuspy, optional.url, clip, **options)
    await stored_once(optional, clip, received=LENGTH)


@pytest.mark.parametrize("checksum", ["sha256", "sha1"])
async def test_resumable_upload(optional: EmulatedDems, clip: Path, checksum: str) -> None:
    peer = pytest.importorskip("resumable_upload", reason="resumable-upload is not installed")
    client = peer.TusClient(optional.url, chunk_size=1_000_000, checksum=checksum)
    await asyncio.to_thread(client.upload_file, str(clip), metadata={"filename": "clip.mp4"})
    await stored_once(optional, clip, received=LENGTH)


@pytest.mark.parametrize("chunk", ["all", "1000000", "with-creation"])
@pytest.mark.parametrize("fault", ["", "PATCH:1:cut@700000", "PATCH:1:503", "PATCH:1:drop-answer"])
async def test_tus_js_client(optional: EmulatedDems, clip: Path, chunk: str, fault: str) -> None:
    if shutil.which("node") is None or not (PEERS / "node_modules" / "tus-js-client").is_dir():
        pytest.skip("node or its packages are missing: run make peers")
    if fault:
        await optional.add_fault(fault)
    command = ("node", "--input-type=module", "-e", JS_CLIENT, optional.url, str(clip), chunk, str(PEERS))
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        _, words = await process.communicate()
    assert process.returncode == 0, words.decode()
    await stored_once(optional, clip)
