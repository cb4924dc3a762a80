"""`python -m benchmarks sending`: spool to server, beside what else could send the same files to the same server.

Four sets of files, over TLS and in the clear, to two servers: the emulated DEMS, which verifies, forces and signs
whoever sends, and @tus/server, which does none of it. All clients take turns within a round, each to a server that
knows nothing yet, with files that lie in memory. `python -m benchmarks life` is the whole way from dock to receipt,
beside `rclone copy` and `check`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

import aiohttp

from agent.testing.dems import DemsProcess
from agent.testing.ports import free_port
from agent.testing.process import DaemonProcess, tally, tus
from benchmarks import peers
from benchmarks.measured import Measured, Series, cpu_seconds, peak_memory
from benchmarks.stations import clear, driver, fill, held_by, read_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

__all__ = [
    "SERVERS",
    "SETS",
    "Files",
    "Ready",
    "dock_to_receipt",
    "life_table",
    "one_round",
    "ready",
    "sending",
    "table",
]

MIB: Final = 1 << 20
SERVERS: Final = ("DEMS", "@tus/server", "rclone")
HEAD: Final = (
    "| client | server | rate | range | of curl's | processor, client | processor, server | memory |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


@dataclass(frozen=True, slots=True)
class Files:
    """One set of files."""

    name: str
    count: int
    length: int

    @property
    def many(self) -> bool:
        """They are counted, not weighed."""
        return self.length < MIB

    def rate(self, seconds: float) -> float:
        """Captures, or megabytes, a second."""
        return self.count / seconds if self.many else self.count * self.length / 1e6 / seconds

    @property
    def unit(self) -> str:
        """Of the rate."""
        return "/s" if self.many else "MB/s"


SETS: Final[dict[str, Callable[[int, int], Files]]] = {
    "large": lambda large, _: Files(f"1 capture of {large} MiB", 1, large * MIB),
    "clips": lambda large, _: Files(f"{max(1, large // 4)} captures of 4 MiB", max(1, large // 4), 4 * MIB),
    "reads": lambda _, count: Files(f"{min(count, 3000):,} captures of 150 KiB", min(count, 3000), 150 * 1024),
    "small": lambda _, count: Files(f"{count:,} captures of 4 KiB", count, 4096),
}
"""By name: from MiB of what is large, and the number of what is small."""


@dataclass(frozen=True, slots=True)
class Sent(Measured):
    """One run of one client."""

    server: float = 0.0
    """Processor seconds of the server meanwhile."""


Results = dict[tuple[str, str], Series]
"""By client and server."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The same files for everybody: on a volume, described for peers, and held by a station that has no uplink."""

    files: Files
    folder: Path
    volume: Path
    held: Path
    work: peers.Work


async def ready(folder: Path, files: Files) -> Ready:
    """Make the files, let a station take them, and describe them for the peers."""
    volume, held = folder / "volume", folder / "held"
    fill(volume, files.count, files.length)
    await held_by(held, volume, files.count)
    await asyncio.to_thread(_touched, folder / "touched", files.count * files.length)
    return Ready(files, folder, volume, held, await asyncio.to_thread(peers.Work.of, volume, folder / "work"))


async def one_round(here: Ready, kind: str, number: int, *, tls: bool) -> Results:
    """Let everybody send the files to one kind of server, each to one that knows nothing yet, and all out of memory.

    Who is first moves on by one with the number of the round.
    """
    found: Results = {}
    clients = ("rclone copy",) if kind == "rclone" else ("Evidock", *peers.NAMES)
    for place in range(len(clients)):
        name = clients[(place + number) % len(clients)]
        await asyncio.to_thread(read_in, here.held if name == "Evidock" else here.volume)
        if (run := await _one(here, name, kind, tls=tls)) is not None:
            where = "rclone serve webdav" if kind == "rclone" else kind
            found[name, where] = Series(name, [run])
        clear(here.folder / "server", here.folder / "station")
    return found


async def _one(here: Ready, name: str, kind: str, *, tls: bool) -> Sent | None:
    """One run; None where the program is not here."""
    folder = here.folder
    if kind == "rclone":
        async with _rclone(folder / "server", tls=tls) as server:
            return await _peer(peers.rclone(here.work, server, "copy"), server)
    async with _server(kind, folder / "server", tls=tls) as (server, vkey):
        if name == "Evidock":
            return await _ours(folder / "station", here.held, server, vkey, here.files.count)
        peer = peers.named(name, here.work, server, folder / "work" / "now")
        return None if peer is None else await _peer(peer, server)


async def sending(folder: Path, files: Files, runs: int, *, tls: bool) -> Results:
    """Let everybody send the same files `runs` times to each of `SERVERS`, in turns."""
    found: Results = {}
    here = await ready(folder, files)
    for number in range(runs):
        for kind in SERVERS:
            for who, series in (await one_round(here, kind, number, tls=tls)).items():
                found.setdefault(who, Series(series.name)).runs.extend(series.runs)
        print(f"<!-- {files.name}, {'TLS' if tls else 'plain'}: round {number + 1} of {runs} -->", flush=True)
    clear(here.volume, here.held, folder / "work")
    return found


def _touched(path: Path, length: int) -> None:
    """Write so much, and remove it: memory that a virtual machine never used yet costs whoever uses it first.

    Its host gives it page by page, which was 2.6 core-seconds for a GiB: more than all of the sending.
    """
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for _ in range(-(-length // MIB)):
            file.write(block)
    path.unlink()


@asynccontextmanager
async def _server(kind: str, folder: Path, *, tls: bool) -> AsyncIterator[tuple[peers.Server, str]]:
    """A server that knows nothing, and the key of its receipts."""
    if kind == "DEMS":
        async with DemsProcess(folder, tls=tls) as dems:
            yield peers.Server(dems.url, dems.pid or 0, dems.ca_file), dems.receipt_vkey
    else:
        async with peers.node_server(folder, tls=tls) as server:
            yield server, ""


@asynccontextmanager
async def _rclone(folder: Path, *, tls: bool) -> AsyncIterator[peers.Server]:
    async with peers.rclone_server(folder, tls=tls, port=free_port()) as server:
        yield server


async def _peer(peer: peers.Peer, server: peers.Server) -> Sent:
    """Run one program to its end."""
    os.sync()
    before, began = cpu_seconds(server.pid), perf_counter()
    process = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs here; wait4 tells what it cost
        peer.words, env={**os.environ, **peer.environment}, stdout=subprocess.DEVNULL
    )
    ending = asyncio.create_task(asyncio.to_thread(os.wait4, process.pid, 0))
    memory = 0
    while not (await asyncio.wait({ending}, timeout=0.05))[0]:
        with suppress(OSError):  # what wait4 tells of memory is ours as well, of before the program began
            memory = max(memory, peak_memory(process.pid))
    _, status, used = ending.result()
    seconds = perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{peer.name} ended with {process.returncode}")
    spent = cpu_seconds(server.pid) - before
    return Sent(seconds, used.ru_utime + used.ru_stime, memory, spent)


async def _ours(folder: Path, held: Path, server: peers.Server, vkey: str, count: int) -> Sent:
    """A daemon with everything held, from its word that it is ready to the last receipt in its journal."""
    await asyncio.to_thread(_copied, held, folder)
    os.sync()
    uplink = tus(server.url, vkey, ca_file=server.ca_file)
    async with DaemonProcess(folder, uplink=uplink) as station:
        await station.ready()
        pid = station.pid or 0
        began, before, servers = perf_counter(), cpu_seconds(pid), cpu_seconds(server.pid)
        await _none_is_held(station.state)
        seconds = perf_counter() - began
        sent = Sent(seconds, cpu_seconds(pid) - before, peak_memory(pid), cpu_seconds(server.pid) - servers)
        if (receipted := (await tally(station.state)).get("receipted", 0)) != count:
            raise RuntimeError(f"{receipted} of {count} captures were receipted")
        return sent


async def _none_is_held(state: Path) -> None:
    """Wait until nothing stands held any more. To be asked costs the daemon a millisecond or two: it is not often."""
    began = perf_counter()
    connector = aiohttp.UnixConnector(str(state / "control.sock"))
    async with aiohttp.ClientSession(connector=connector) as session:
        while True:
            asked = {"standing": "held", "limit": "1"}
            async with session.get("http://station/captures", params=asked, raise_for_status=True) as answer:
                if not (await answer.json())["captures"]:
                    return
            await asyncio.sleep(min(0.25, max(0.02, (perf_counter() - began) / 50)))


def _copied(held: Path, folder: Path) -> None:
    """The same station once more: its journal copied, the files of its spool under a second name."""
    shutil.copytree(held, folder, copy_function=_again, ignore=shutil.ignore_patterns("*.sock", "notify", "*.log"))


def _again(source: str, target: str) -> None:
    if "/spool/kept/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def table(files: Files, found: Results, *, tls: bool) -> str:
    """Markdown."""
    lines = [f"### {files.name}, {'TLS' if tls else 'in the clear'}\n", HEAD]
    for (client, server), series in found.items():
        rates = sorted(files.rate(run.seconds) for run in series.runs)
        curl = found.get(("curl -T", server))
        share = f"{curl.median / series.median:.2f}" if curl is not None else "-"
        ours = statistics.median(run.cpu for run in series.runs)
        theirs = statistics.median(getattr(run, "server", 0.0) for run in series.runs)
        memory = max(run.memory for run in series.runs) / 1e6
        rate = f"{statistics.median(rates):,.0f} {files.unit} | {rates[0]:,.0f} to {rates[-1]:,.0f}"
        lines.append(f"| {client} | {server} | {rate} | {share} | {ours:.2f} s | {theirs:.2f} s | {memory:.0f} MB |")
    return "\n".join(lines) + "\n"


# --- the whole life ---------------------------------------------------------------------------------------------------


async def dock_to_receipt(folder: Path, files: Files, runs: int) -> dict[str, Series]:
    """From a docked volume to the last receipt, over TLS; beside a copy by rclone and its check of every byte."""
    volume = folder / "volume"
    fill(volume, files.count, files.length)
    await asyncio.to_thread(_touched, folder / "touched", 2 * files.count * files.length)  # the spool's, the server's
    found = {name: Series(name) for name in ("Evidock, dock to receipt", "rclone copy + rclone check --download")}
    ours, theirs = found.values()
    for _ in range(runs):
        async with DemsProcess(folder / "server", tls=True) as dems:
            ours.runs.append(await _lived(folder / "station", volume, dems, files.count))
        clear(folder / "server", folder / "station")
        work = peers.Work(volume, volume, volume, files.count)
        async with _rclone(folder / "server", tls=True) as server:
            copied = await _peer(peers.rclone(work, server, "copy"), server)
            checked = await _peer(peers.rclone(work, server, "check", "--download"), server)
            seconds, cpu = copied.seconds + checked.seconds, copied.cpu + checked.cpu
            theirs.runs.append(Sent(seconds, cpu, max(copied.memory, checked.memory)))
        clear(folder / "server")
    clear(volume)
    return found


async def _lived(folder: Path, volume: Path, dems: DemsProcess, count: int) -> Measured:
    os.sync()
    uplink = tus(dems.url, dems.receipt_vkey, ca_file=dems.ca_file)
    async with DaemonProcess(folder, drivers=[driver(volume)], uplink=uplink) as station:
        await station.ready()
        pid = station.pid or 0
        began, before = perf_counter(), cpu_seconds(pid)
        while (await tally(station.state)).get("receipted", 0) < count:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
        return Measured(perf_counter() - began, cpu_seconds(pid) - before, peak_memory(pid))


def life_table(files: Files, found: dict[str, Series]) -> str:
    """Markdown."""
    rows = [series.row(files.rate(1.0), files.unit) for series in found.values()]
    ours, theirs = found.values()
    head = "| case | median | range | processor | memory |\n| --- | --- | --- | --- | --- |"
    ratio = f"\nrclone's time over ours: {theirs.median / ours.median:.2f}\n"
    return "\n".join([f"### {files.name}, dock to receipt (TLS)\n", head, *rows, ratio])
