"""The emulated DEMS as a process of its own: what `evidock dems serve` runs, and what a test kills and starts again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
from yarl import URL

from agent import durable
from agent.testing.child import end, kill
from agent.testing.dems.at_broker import DemsAtBroker
from agent.testing.dems.core import Entry
from agent.testing.dems.emulator import EmulatedDems
from agent.testing.dems.options import DemsOptions
from agent.testing.dems.uploads import Violation
from agent.testing.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from agent.mqtt import BrokerOptions

__all__ = ["DemsProcess", "serve"]

_START_WITHIN: Final = 30.0
_STOP_WITHIN: Final = 10.0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def serve(
    options: DemsOptions,
    *,
    broker: BrokerOptions | None = None,
    say: Callable[[str], None] = _say,
    until: asyncio.Event | None = None,
) -> None:
    """Run a DEMS until SIGINT, SIGTERM or `until`; first say as JSON what it is reached by: `url`, keys and files.

    `broker`: where it hears of captures, and sends its receipts, too.
    """
    ended = until or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with EmulatedDems(**{name: getattr(options, name) for name in options.__slots__}) as dems:
        said = {
            "url": dems.url,
            "ca_file": None if dems.ca_file is None else str(dems.ca_file),
            "receipt_vkey": dems.receipt_vkey,
            "witness_vkey": dems.witness_vkey,
            "witness_url": dems.witness_url,
            "tsa_url": dems.tsa_url,
            "tsa_ca_file": None if dems.tsa_ca_file is None else str(dems.tsa_ca_file),
            "folder": str(options.folder),
            "pid": os.getpid(),
        }
        say(json.dumps(said))
        async with nullcontext() if broker is None else DemsAtBroker(dems.core, broker):
            await ended.wait()


@dataclass(slots=True)
class _Running:
    process: asyncio.subprocess.Process
    said: dict[str, Any]


class DemsProcess:
    """A DEMS that can be killed. Give `DemsOptions` fields by name; faults can be injected unless `faults=False`.

    The port is chosen when it is made and stays, and so do folder, receipt key and certificate.
    """

    def __init__(self, folder: Path, **options: Any) -> None:  # noqa: ANN401 - the fields of DemsOptions
        self.options = DemsOptions(folder=folder, **{"faults": True, "port": free_port(), **options})
        self._running: _Running | None = None
        self.url = ""
        """The creation URL."""
        self.ca_file: Path | None = None
        """What a client must trust, with `tls=True`."""
        self.receipt_vkey = ""
        """The public half of the receipt key."""
        self.witness_vkey = ""
        """The key that checkpoints are cosigned with."""
        self.witness_url = ""
        """The submission prefix of the witness."""
        self.tsa_url: str | None = None
        """Where time stamps are asked for, with `tsa=True`."""
        self.tsa_ca_file: Path | None = None
        """What the tokens lead to."""

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
        return None if self._running is None else self._running.process.pid

    async def start(self) -> None:
        """Start the process and return when it listens. Raises `RuntimeError` with its last words when it does not."""
        durable.make_folder(self.options.folder)
        words = self.options.folder / "dems.log"
        with words.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "agent.testing.dems",
                json.dumps(asdict(self.options), default=str),
                # When we die, however that happens, this pipe ends, and the process with it.
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self._running = _Running(process, {})
        try:
            async with asyncio.timeout(_START_WITHIN):
                line = await process.stdout.readline() if process.stdout else b""
        except BaseException:
            self.kill()
            raise
        if not line:
            await process.wait()
            self._running = None
            raise RuntimeError(f"the DEMS did not start: {words.read_text()[-2000:]}")
        said = json.loads(line)
        self.url, self.receipt_vkey = said["url"], said["receipt_vkey"]
        self.witness_vkey, self.witness_url = said["witness_vkey"], said["witness_url"]
        self.ca_file = None if said["ca_file"] is None else Path(said["ca_file"])
        self.tsa_url = said["tsa_url"]
        self.tsa_ca_file = None if said["tsa_ca_file"] is None else Path(said["tsa_ca_file"])

    def kill(self) -> None:
        """End the process as a power cut would, with SIGKILL: nothing is finished, nothing is written."""
        kill(None if self._running is None else self._running.process)

    async def restart(self) -> None:
        """Start again on the same port; ends the process first where it still runs."""
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """End the process in order, and with SIGKILL where it does not end."""
        if self._running is None:
            return
        process, self._running = self._running.process, None
        await end(process, _STOP_WITHIN)
        if process.stdin is not None:
            process.stdin.close()

    # --- what the DEMS tells ---------------------------------------------------------------------------------------

    async def add_fault(self, *rules: str) -> None:
        """Put faults in force; `agent.testing.dems.faults` has the grammar."""
        await self._ask("POST", "/faults", list(rules))

    async def clear_faults(self) -> None:
        """Let everything go right again."""
        await self._ask("DELETE", "/faults")

    async def index(self) -> list[Entry]:
        """Return every upload that was ever created, the oldest first."""
        return [Entry(**entry) for entry in json.loads(await self._ask("GET", "/evidence/index.json"))]

    async def violations(self) -> list[Violation]:
        """Return every complaint, the oldest first."""
        found = json.loads(await self._ask("GET", "/violations.json"))
        return [Violation(**{**one, "at": datetime.fromisoformat(one["at"])}) for one in found]

    async def receipt(self, capture: str) -> bytes | None:
        """Return the last receipt that was signed for a capture."""
        return await self._ask("GET", f"/receipts/{capture}") or None

    def stored(self, entry: Entry) -> Path:
        """Return the file that holds an upload's bytes."""
        return self.options.folder / entry.file

    async def _ask(self, method: str, path: str, body: object = None) -> bytes:
        trust = ssl.create_default_context(cafile=self.ca_file) if self.options.tls else True
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, URL(self.url).with_path(path), json=body, ssl=trust) as response,
        ):
            text = await response.read()
            if response.status == 404:  # noqa: PLR2004
                return b""
            if not response.ok:
                raise ValueError(text.decode().strip())
            return text
