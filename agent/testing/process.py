"""The real daemon as a process of its own, with a real agent.toml: started, killed, restarted, and audited when dead.

    async with DaemonProcess(tmp_path, drivers=[camera.driver()], uplink=tus(dems.url, dems.receipt_vkey)) as daemon:
        await daemon.ready()
        daemon.kill()                            # SIGKILL
        await daemon.verify([camera], dems)      # what its disk says now
        await daemon.start()

Only processes that were started here are ever ended, by their own number.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp

from agent.belief import install
from agent.clock import Clock
from agent.config import load
from agent.journal import Journal
from agent.testing.audit import Book, audit_arrivals, audit_devices, audit_spool, digested, read_journal
from agent.testing.child import end, kill
from agent.testing.uplinks import arrived_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from agent.testing.audit import Witness
    from agent.testing.uplinks import BenchUplink, Receiver

__all__ = ["BARE", "COMMAND", "DaemonProcess", "audit_state", "read_state", "tally", "toml", "tus"]

_RUN: Final = (
    "import asyncio, sys; from pathlib import Path; from agent.config import load; from agent.daemon import Agent\n"
    "from agent.errors import AgentError\n"
    "try: asyncio.run(Agent(load(Path(sys.argv[1]))).run())\n"
    "except AgentError as error: print(repr(error), file=sys.stderr); sys.exit(error.exit_code)"
)
BARE: Final = (sys.executable, "-c", _RUN, "{config}")
"""The daemon without a command line around it: it starts in a third of the time."""
COMMAND: Final = (sys.executable, "-m", "agent.cli", "--config", "{config}", "run")
"""The daemon as systemd starts it: `evidock --config agent.toml run`."""

STATION: Final = {"name": "dock-1", "agency": "example.org"}
LOG: Final = "edge.example.org/dock-1/log1"
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of its own below it
"""Where there is one, a copy that is read once waits for no disk."""
_WITHIN: Final = 30.0
_TELLS_WITHIN: Final = 60.0


def toml(tables: Mapping[str, Any]) -> str:
    """A TOML document of tables and of lists of tables."""
    lines: list[str] = []
    for name, value in tables.items():
        for table in value if isinstance(value, list) else [value]:
            lines += [f"[[{name}]]" if isinstance(value, list) else f"[{name}]"]
            lines += [f"{key} = {_value(one)}" for key, one in table.items() if one is not None]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)


def tus(url: str, vkey: str = "", **options: object) -> dict[str, object]:
    """The `[[uplink]]` table for a tus server such as an emulated DEMS."""
    keys = [vkey] if vkey else []
    return {"use": "tus", "name": "dems", "url": url, "receipt_keys": keys, **options}


def read_state(state: Path, log: str = LOG) -> Book | None:
    """Replay the journal of a daemon that does not run, from a copy: the next start finds what the last left."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.exists() else None) as folder:
        for path in state.glob("journal.db*"):
            shutil.copy(path, folder)
        if not (Path(folder) / "journal.db").exists():
            return None
        journal = Journal.open(Path(folder) / "journal.db", log=log, stamp=Clock().stamp)
        try:
            return read_journal(journal)
        finally:
            journal.close()


async def tally(state: Path) -> dict[str, int]:
    """How many captures stand where, as the daemon that runs on this state folder tells it; waits until it listens."""
    connector = aiohttp.UnixConnector(str(state / "control.sock"))
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(_TELLS_WITHIN):
        while True:
            try:
                async with session.get("http://station/status") as answer:
                    told: dict[str, dict[str, int]] = (await answer.json())["tally"]
                    return {standing: sums["captures"] for standing, sums in told.items()}
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)


async def audit_state(
    state: Path,
    devices: Iterable[Witness],
    *receivers: BenchUplink | Receiver,
    at_rest: bool = False,
    log: str = LOG,
    digested: Callable[[Path], tuple[str, bytes, int]] = digested,
) -> list[str]:
    """Everything that is wrong on the disk of a daemon that does not run. `digested`: how files are read."""
    book = await asyncio.to_thread(read_state, state, log)
    if book is None:
        book = Book()
    wrong = list(book.problems)
    if (state / "spool" / "parts").exists():  # the last of its folders: a life can end while they are made
        wrong += await asyncio.to_thread(audit_spool, book, state / "spool", at_rest=at_rest, digested=digested)
    wrong += audit_devices(book, devices)
    if receivers:
        arrived, complaints = await arrived_at(*receivers)
        wrong += complaints + audit_arrivals(book, arrived)
    return wrong


class DaemonProcess:
    """One daemon below a folder. In `command`, `{config}` stands for the path of its agent.toml."""

    def __init__(
        self,
        folder: Path,
        *,
        drivers: Sequence[Mapping[str, Any]] = (),
        uplink: Mapping[str, Any] | None = None,
        policy: Mapping[str, Any] | None = None,
        spool: Mapping[str, Any] | None = None,
        status: Mapping[str, Any] | None = None,
        mqtt: Mapping[str, Any] | None = None,
        command: Sequence[str] = BARE,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.state, self.config, self.words = folder / "state", folder / "agent.toml", folder / "daemon.log"
        self._command = tuple(command)
        self._process: asyncio.subprocess.Process | None = None
        self._bell: socket.socket | None = None
        self._address = folder / "notify"
        tables = {
            "station": {**STATION, "state": str(self.state)},
            "spool": {"watermark": "0 B", **(spool or {})},
            "policy": policy or {},
            "driver": list(drivers),
            "uplink": [] if uplink is None else [uplink],
        }
        tables |= {name: table for name, table in (("status", status), ("mqtt", mqtt)) if table is not None}
        self.config.write_text(toml(tables), encoding="utf-8")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """Number of the process while it runs."""
        return None if self._process is None else self._process.pid

    async def install(self) -> None:
        """Say whom the program that deletes believes, as a person does before a station first lets go of anything."""
        config = await asyncio.to_thread(load, self.config)
        if config.policy.device == "release" and not config.trust.exists():
            await asyncio.to_thread(install, config)

    async def start(self, **environment: str) -> None:
        """Start it. It may not be ready yet: see `ready`."""
        self._address.unlink(missing_ok=True)
        await self.install()
        self._bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._bell.bind(str(self._address))
        with self.words.open("ab") as words:
            self._process = await asyncio.create_subprocess_exec(
                *(str(self.config) if word == "{config}" else word for word in self._command),
                env={**os.environ, "NOTIFY_SOCKET": str(self._address), **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=words,
                stderr=words,
            )

    async def ready(self, within: float = _WITHIN) -> None:
        """Return when it has told systemd that it is ready; `RuntimeError` with its last words when it ends before."""
        assert self._process is not None
        assert self._bell is not None
        hearing = asyncio.create_task(asyncio.get_running_loop().sock_recv(self._bell, 100))
        ending = asyncio.create_task(self._process.wait())
        done, waiting = await asyncio.wait({hearing, ending}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        if hearing not in done or hearing.result() != b"READY=1":
            raise RuntimeError(f"the daemon is not ready: {self.words.read_text()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is written."""
        kill(self._process)

    async def wait(self, within: float = _WITHIN) -> int:
        """Wait for its end; its exit code (-9 after SIGKILL)."""
        assert self._process is not None
        async with asyncio.timeout(within):
            code = await self._process.wait()
        self._close()
        return code

    async def stop(self, within: float = _WITHIN) -> int | None:
        """SIGTERM, and SIGKILL where that does not help in time; the exit code, or None where it did not run."""
        if self._process is None:
            return None
        code = await end(self._process, within)
        self._close()
        return code

    def _close(self) -> None:
        self._process = None
        if self._bell is not None:
            self._bell.close()
            self._bell = None

    async def verify(
        self, devices: Iterable[Witness], *receivers: BenchUplink | Receiver, at_rest: bool = False
    ) -> None:
        """Fail with everything that is wrong on its disk; it must not run."""
        if self._process is not None and self._process.returncode is None:
            await self.wait()
        wrong = await audit_state(self.state, devices, *receivers, at_rest=at_rest)
        assert not wrong, "\n".join(wrong)
