"""`python -m benchmarks.links`: one large capture over a link that breaks every ten seconds, by us and by others.

As root, on Linux: client and server live in network namespaces of their own, joined by a veth pair with a token bucket;
in the server's, a relay delays what comes, counts it, resets every connection every ten seconds, and takes none for a
second. What is counted are bytes after TCP, so heads, checksums and everything that is sent twice, over those of the
capture; beside them what the sender's interface let out, with everything that TCP sent again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


MIB = 1 << 20
SERVER, CLIENT = "evidock-srv", "evidock-cli"
HOST = "10.213.7.1"
RELAY, DOOR = 9000, 9001
PASSIVE = 9002
"""Where an FTP server takes bytes, before and behind the relay."""
INTEROP = Path(__file__).parents[1] / "tests" / "interop"


@dataclass(frozen=True)
class Case:
    """A client against a server."""

    name: str
    server: list[str]
    client: list[str]


# --- inside of the namespaces -----------------------------------------------------------------------------------------


class Relay:
    """Hands bytes on, counts those that come from the client, and breaks every connection now and then."""

    def __init__(self, every: float, until: float, *, rest: float, delay: float) -> None:
        self.every, self.until, self.rest, self.delay = every, until, rest, delay
        self.counted = self.breaks = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._closed_until = 0.0

    async def run(self, report: Path) -> None:
        """Serve until cancelled; what was counted stands in the file."""
        through = [(RELAY, DOOR), (PASSIVE, PASSIVE)]
        async with AsyncExitStack() as stack:
            for port, door in through:
                await stack.enter_async_context(await asyncio.start_server(partial(self._serve, door), HOST, port))
            began = first = time.monotonic()
            while True:
                await asyncio.sleep(0.2)
                if time.monotonic() - began >= self.every and time.monotonic() - first < self.until:
                    began = time.monotonic()
                    self._closed_until = began + self.rest
                    self.breaks += bool(self._open)
                    for writer in list(self._open):
                        _reset(writer)
                await asyncio.to_thread(report.write_text, json.dumps({"counted": self.counted, "breaks": self.breaks}))

    async def _serve(self, door: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if time.monotonic() < self._closed_until:
            _reset(writer)
            return
        try:
            onward, back = await asyncio.open_connection("127.0.0.1", door)
        except OSError:
            _reset(writer)
            return
        self._open |= {writer, back}
        try:
            await asyncio.gather(self._hand(reader, back, count=True), self._hand(onward, writer, count=False))
        finally:
            self._open -= {writer, back}
            for one in (writer, back):
                one.close()

    async def _hand(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool) -> None:
        with suppress(OSError):
            while block := await reader.read(256 * 1024):
                if count:
                    self.counted += len(block)
                await asyncio.sleep(self.delay)
                writer.write(block)
                await writer.drain()
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def ours(folder: Path, source: Path) -> None:
    """Hold the capture, and send it with the uplink `tus`."""
    from agent.capture import Standing  # noqa: PLC0415 - in the client's process alone
    from agent.testing.devices import BenchDevice  # noqa: PLC0415
    from agent.testing.station import Station  # noqa: PLC0415
    from agent.uplink.tus import TusUplink  # noqa: PLC0415

    url = os.environ["EVIDOCK_BENCH_URL"]
    async with Station(folder / "station") as station:
        device = BenchDevice()
        device.record("CLIP0001.MP4", await asyncio.to_thread(source.read_bytes))
        await station.dock(device)
        station.connect(TusUplink(TusUplink.Options(use="tus", name="dems", url=url)))
        (folder / "ready").touch()
        await station.send(within=900)
        if await station.count(Standing.RECEIPTED) != 1:
            raise SystemExit(1)
        await station.hang_up()


def tuspy(source: Path) -> None:
    """As its documentation has it, in chunks of 4 MiB; begun again with the same URL where it gives up."""
    from tusclient import client  # noqa: PLC0415
    from tusclient.exceptions import TusCommunicationError  # noqa: PLC0415

    made = client.TusClient(os.environ["EVIDOCK_BENCH_URL"])
    url = None
    while True:
        try:
            uploader = made.uploader(
                str(source), chunk_size=4 * MIB, retries=20, retry_delay=1, metadata={"name": "x"}, url=url
            )
            url = uploader.url
            uploader.upload()
        except (TusCommunicationError, OSError):
            time.sleep(1)
        else:
            return


def ftp(folder: Path) -> None:
    """An FTP server that appends, for `curl -C -`: over HTTP curl would have to be told from where."""
    from pyftpdlib.authorizers import DummyAuthorizer  # noqa: PLC0415
    from pyftpdlib.handlers import FTPHandler  # noqa: PLC0415
    from pyftpdlib.servers import FTPServer  # noqa: PLC0415

    people = DummyAuthorizer()
    people.add_user("dock", "dock", str(folder), perm="elradfmwMT")
    FTPHandler.authorizer, FTPHandler.passive_ports, FTPHandler.masquerade_address = people, [PASSIVE], HOST
    FTPServer(("127.0.0.1", DOOR), FTPHandler).serve_forever()


# --- outside ----------------------------------------------------------------------------------------------------------


def cases(folder: Path, source: Path) -> Iterator[Case]:
    """Those that can be tried here."""
    me = [sys.executable, "-m", "benchmarks.links"]
    dems = [sys.executable, "-m", "agent.testing.dems", json.dumps({"folder": str(folder / "dems"), "port": DOOR})]
    node = ["node", str(INTEROP / "tus_server.mjs"), str(folder / "node"), str(DOOR)]
    yield Case("Evidock, to the emulated DEMS (verifies parts)", dems, [*me, "--ours", str(folder), str(source)])
    if shutil.which("node") and (INTEROP / "node_modules").exists():
        yield Case("Evidock, to @tus/server", node, [*me, "--ours", str(folder), str(source)])
        yield Case("tuspy 4 MiB, to @tus/server", node, [*me, "--tuspy", str(source)])
        yield Case("tus-js-client, to @tus/server", node, ["node", str(folder / "js.mjs"), str(source)])
    if shutil.which("curl"):
        again = f"until curl -sS -C - -T {source} ftp://dock:dock@{HOST}:{RELAY}/x; do sleep 1; done"
        yield Case("curl -C -, to an FTP server", [*me, "--ftp", str(folder / "node")], ["sh", "-c", again])
    if shutil.which("rclone"):
        store = ["rclone", "serve", "webdav", "--addr", f"127.0.0.1:{DOOR}", str(folder / "node")]
        there = [f"--webdav-url=http://{HOST}:{RELAY}", "--retries=200", "--retries-sleep=1s", "--low-level-retries=1"]
        yield Case("rclone, to its WebDAV server", store, ["rclone", "copyto", *there, str(source), ":webdav:x"])


JS = """
import { createReadStream, statSync } from 'node:fs'
import { createRequire } from 'node:module'
const { Upload } = createRequire('%s/')('tus-js-client')
const source = process.argv[2]
new Upload(createReadStream(source), {
  endpoint: process.env.EVIDOCK_BENCH_URL, chunkSize: 4 * 1048576, uploadSize: statSync(source).size,
  retryDelays: Array(200).fill(1000), onError: (error) => { console.error(error); process.exit(1) },
  onSuccess: () => process.exit(0),
}).start()
"""


def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """One command of the system."""
    return subprocess.run(words, check=check, capture_output=True, text=True)


def clear() -> None:
    """Take the namespaces away."""
    for name in (SERVER, CLIENT):
        run("ip", "netns", "del", name, check=False)


def join(rate: str, loss: float) -> None:
    """Make both namespaces and the link between them."""
    clear()
    for name in (SERVER, CLIENT):
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    run("ip", "-n", CLIENT, "link", "add", "ev0", "type", "veth", "peer", "name", "ev1", "netns", SERVER)
    for name, device, address in ((CLIENT, "ev0", "10.213.7.2/24"), (SERVER, "ev1", f"{HOST}/24")):
        run("ip", "-n", name, "address", "add", address, "dev", device)
        run("ip", "-n", name, "link", "set", device, "up")
    run(
        "tc",
        "-n",
        CLIENT,
        "qdisc",
        "add",
        "dev",
        "ev0",
        "root",
        "tbf",
        "rate",
        rate,
        "burst",
        "64kb",
        "latency",
        "50ms",
    )
    if loss and shutil.which("nft"):
        rule = f"add rule ip x in numgen random mod 100000 < {round(loss * 1000)} drop"
        for words in ("add table ip x", "add chain ip x in { type filter hook input priority 0; }", rule):
            run("ip", "netns", "exec", SERVER, "nft", words)


HEADS = 14 + 20 + 32
"""Bytes of Ethernet, IP and TCP (with time stamps) before the bytes of a segment."""
SEGMENT = 1448


def sent() -> int:
    """Bytes of TCP that left the client's interface, those that were sent again included.

    Without the heads: the kernel hands segments over many at a time with one head (GSO), fewer where a flow is slow to
    grow, so what the interface counts of heads tells of the kernel and not of the wire.
    """
    found = json.loads(run("ip", "-n", CLIENT, "-s", "-j", "link", "show", "ev0").stdout)
    told = found[0]["stats64"]["tx"]
    return int(told["bytes"]) - HEADS * int(told["packets"])


def measure(case: Case, folder: Path, source: Path, chosen: argparse.Namespace) -> None:
    """One row of the table."""
    join(chosen.rate, chosen.loss)
    for name in ("dems", "node", "station"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    (folder / "station").rmdir()
    path = "/evidence/" if "agent.testing.dems" in case.server else "/files"
    environment = {**os.environ, "EVIDOCK_BENCH_URL": f"http://{HOST}:{RELAY}{path}"}
    inside = ["ip", "netns", "exec", SERVER]
    relay = [sys.executable, "-m", "benchmarks.links", "--relay", str(folder / "report"), "--every", str(chosen.every)]
    relay += ["--until", str(chosen.until)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.PIPE}
    processes = [subprocess.Popen([*inside, *words], **quiet) for words in (case.server, relay)]  # type: ignore[call-overload]
    try:
        time.sleep(3)
        before, began = sent(), time.monotonic()
        client = subprocess.Popen(
            ["ip", "netns", "exec", CLIENT, *case.client], env=environment, stdout=subprocess.DEVNULL
        )
        try:
            ended = client.wait(timeout=chosen.most) == 0
        except subprocess.TimeoutExpired:
            client.terminate()
            client.wait()
            ended = False
        took, length = time.monotonic() - began, source.stat().st_size
        time.sleep(0.5)
        told = json.loads((folder / "report").read_text())
        wire = (sent() - before) / length
        said = (
            f"{told['counted'] / length:.4f}"
            if ended
            else f"not there after {took:.0f} s ({told['counted'] / length:.2f})"
        )
        full = wire * (SEGMENT + HEADS) / SEGMENT
        print(f"| {case.name} | {said} | {wire:.4f} | {full:.3f} | {told['breaks']} | {took:.0f} s |", flush=True)
    finally:
        for process in processes:
            process.terminate()
            process.wait()
        clear()


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.links", description=__doc__)
    parser.add_argument("--length", type=int, default=1024, help="MiB of the capture")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two breaks")
    parser.add_argument("--until", type=float, default=300.0, help="seconds after which it breaks no more")
    parser.add_argument("--rate", default="50mbit", help="of the link")
    parser.add_argument("--loss", type=float, default=0.01, help="percent of packets that are lost")
    parser.add_argument("--most", type=float, default=600.0, help="seconds for one client")
    parser.add_argument("--only", default="", help="cases whose names hold this word")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--relay", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ours", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--tuspy", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ftp", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.relay:
        asyncio.run(Relay(chosen.every, chosen.until, rest=1.0, delay=0.005).run(chosen.relay))
    elif chosen.ours:
        asyncio.run(ours(*chosen.ours))
    elif chosen.tuspy:
        tuspy(chosen.tuspy)
    elif chosen.ftp:
        ftp(chosen.ftp)
    else:
        with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="evidock-links-") as name:
            folder = Path(name)
            source = folder / "CLIP0001.MP4"
            with source.open("wb") as file:
                for _ in range(chosen.length):
                    file.write(os.urandom(MIB))
            (folder / "js.mjs").write_text(JS % (INTEROP / "node_modules").resolve().parent)
            print(f"{chosen.length} MiB at {chosen.rate}, {chosen.loss} % loss, a break every {chosen.every:.0f} s\n")
            print("| client | arrived over capture | sent over capture | with heads of each segment | breaks | time |")
            print("| --- | --- | --- | --- | --- | --- |")
            for case in cases(folder, source):
                if chosen.only in case.name:
                    measure(case, folder, source, chosen)


if __name__ == "__main__":
    main()
