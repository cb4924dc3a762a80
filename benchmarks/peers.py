"""Programs of other authors that bring the same files to a server: how each is called, and the servers they want.

Each sends from a folder of files, as fast as its authors let it: everything in one request where it can, several at
once where there are several. None of them verifies what arrived, forces anything, or asks for a receipt.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import uuid
from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from agent.testing.dems.certificates import make_certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["AT_ONCE", "NAMES", "Peer", "Server", "Work", "named", "node_server", "rclone", "rclone_server"]

AT_ONCE: Final = 16
"""Files on their way at once where there are many, for all of them: what Evidock has in flight."""
NAMES: Final = ("curl -T", "tuspy", "tus-js-client")
"""Those that talk to any tus server."""
NODE: Final = Path(__file__).with_name("tus_peers.mjs")
INTEROP: Final = Path(__file__).parents[1] / "tests" / "interop"


@dataclass(frozen=True, slots=True)
class Server:
    """Where peers send to."""

    url: str
    pid: int
    ca_file: Path | None


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be sent, named as each peer wants it."""

    volume: Path
    """The files, in folders."""
    lines: Path
    """For those that take JSON: one line for each file, with `path`, `length` and `metadata`."""
    curl: Path
    """The same as a configuration of curl."""
    count: int

    @classmethod
    def of(cls, volume: Path, folder: Path) -> Work:
        """Describe the files of a volume anew: a DEMS that signs receipts knows a capture again."""
        folder.mkdir(parents=True, exist_ok=True)
        work = cls(volume, folder / "lines", folder / "curl", len(files := sorted(volume.rglob("*.MP4"))))
        with work.lines.open("w") as lines, work.curl.open("w") as curl:
            for number, path in enumerate(files):
                curl.write("next\n" if number else "")
                length, metadata = path.stat().st_size, _claims(path, number)
                lines.write(json.dumps({"path": str(path), "length": length, "metadata": metadata}) + "\n")
                curl.write(_for_curl(path, length, metadata))
        return work


def _claims(path: Path, number: int) -> dict[str, str]:
    """What a DEMS that signs receipts demands: it computes the same digests for everybody then."""
    whole, fast = sha256(), blake3()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            whole.update(block)
            fast.update(block)
    told = {"capture": str(uuid.uuid4()), "sha256": whole.hexdigest(), "blake3": fast.hexdigest()}
    return {**told, "log": f"bench.example.org/peer {number}"}


def _for_curl(path: Path, length: int, metadata: dict[str, str]) -> str:
    pairs = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in metadata.items())
    words = [
        f'url = "@URL@"\nrequest = POST\nupload-file = "{path}"\noutput = /dev/null\nfail\nsilent\nshow-error\n',
        f'header = "Tus-Resumable: 1.0.0"\nheader = "Upload-Length: {length}"\nheader = "Expect:"\n',
        f'header = "Content-Type: application/offset+octet-stream"\nheader = "Upload-Metadata: {pairs}"\n@TRUST@\n',
    ]
    return "".join(words)


@dataclass(frozen=True, slots=True)
class Peer:
    """A program of another author."""

    name: str
    words: tuple[str, ...]
    environment: dict[str, str]


def named(name: str, work: Work, server: Server, scratch: Path) -> Peer | None:
    """One of `NAMES`, for any tus server; None where it is not here."""
    many = str(AT_ONCE if work.count > 1 else 1)
    trust = {} if server.ca_file is None else {
        "NODE_EXTRA_CA_CERTS": str(server.ca_file), "REQUESTS_CA_BUNDLE": str(server.ca_file)
    }  # fmt: skip
    if name == "curl -T":
        scratch.mkdir(exist_ok=True)
        config = scratch / "curl"
        trusted = "" if server.ca_file is None else f'cacert = "{server.ca_file}"'  # what it is told holds until `next`
        config.write_text(work.curl.read_text().replace("@URL@", server.url.rstrip("/")).replace("@TRUST@", trusted))
        several = ["--parallel", "--parallel-immediate", "--parallel-max", many] if work.count > 1 else []
        return Peer(name, ("curl", "--no-progress-meter", *several, "-K", str(config)), {})
    if name == "tuspy":
        return Peer(name, (sys.executable, "-m", "benchmarks.peers", server.url, str(work.lines), many), trust)
    if shutil.which("node") is None or not (INTEROP / "node_modules").exists():
        return None
    return Peer(name, ("node", str(NODE), "send", server.url, str(work.lines), many), trust)


def rclone(work: Work, server: Server, *words: str) -> Peer:
    """`rclone WORDS volume remote` to its own server."""
    trusted = [] if server.ca_file is None else ["--ca-cert", str(server.ca_file)]
    at_once = ["--transfers", str(AT_ONCE), "--checkers", str(AT_ONCE), "--config", "/dev/null", "--retries", "1"]
    remote = f":webdav,url='{server.url}':"
    return Peer("rclone", ("rclone", *words, *at_once, *trusted, str(work.volume), remote), {})


# --- servers ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def node_server(folder: Path, *, tls: bool) -> AsyncIterator[Server]:
    """@tus/server with @tus/file-store."""
    (folder / "files").mkdir(parents=True)
    made = make_certificates(folder / "tls", "127.0.0.1") if tls else None
    words = [] if made is None else [str(made.chain), str(made.private_key)]
    async with _child("node", str(NODE), "serve", str(folder / "files"), *words) as process:
        line = b"" if process.stdout is None else await process.stdout.readline()
        url = json.loads(line)["url"]
        yield Server(url, process.pid, None if made is None else made.ca_file)


@asynccontextmanager
async def rclone_server(folder: Path, *, tls: bool, port: int) -> AsyncIterator[Server]:
    """`rclone serve webdav` on a folder."""
    (folder / "files").mkdir(parents=True)
    made = make_certificates(folder / "tls", "127.0.0.1") if tls else None
    words = [] if made is None else ["--cert", str(made.chain), "--key", str(made.private_key)]
    serve = ("rclone", "serve", "webdav", str(folder / "files"), "--addr", f"127.0.0.1:{port}", "--config", "/dev/null")
    async with _child(*serve, *words) as process:
        await _listens(port)
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        yield Server(url, process.pid, None if made is None else made.ca_file)


async def _listens(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise RuntimeError(f"nothing listens on {port}")


@asynccontextmanager
async def _child(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


# --- tuspy, in its own process ----------------------------------------------------------------------------------------


def _tuspy(url: str, lines: Path, at_once: int) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - in this process alone

    from tusclient import client  # noqa: PLC0415

    made = client.TusClient(url)

    def one(line: str) -> None:
        told = json.loads(line)
        made.uploader(told["path"], metadata=told["metadata"]).upload()

    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(one, lines.read_text().splitlines()))


if __name__ == "__main__":
    _tuspy(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
