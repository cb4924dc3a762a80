"""The demo's three actors: a camera, a DEMS and the daemon, the last two as processes of their own."""

import asyncio
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent.cli.daemon import Daemon
from agent.errors import AgentError
from agent.testing.dems import DemsProcess
from drivers.body_worn.usb_volume.emulator import VolumeEmulator

__all__ = ["DEVICE", "Cast", "Process", "sha256sum"]

DEVICE: Final = "usb:demo:BWC-0042"
_START_WITHIN: Final = 20.0
_STOP_WITHIN: Final = 20.0

_TOML: Final = """\
# The configuration of the demo: the daemon that you see is the real one, and this file is all it knows.

[station]
name = "dock-demo"
agency = "example.org"
state = "{folder}/state"
socket = "{folder}/control.sock"

[spool]
watermark = "256 MiB"

[policy]
device = "release"      # a camera may forget what the DEMS has signed for
receipt = "signed"
witness = "required"    # ... and whose entry lies under a checkpoint that the witness cosigned

[custody]
ca_file = "{ca_file}"

[[custody.witness]]
vkey = "{witness_vkey}"
url = "{witness_url}"

[[driver]]
use = "body_worn.usb_volume"
name = "bay-1"
mount = "{folder}/dock/bay-1"
must_be_mountpoint = false          # the emulated camera is a folder
device = {{ id = "{device}" }}
rescan = 0.2
settle = 0.5

[[uplink]]
use = "tus"
name = "dems"
url = "{url}"
ca_file = "{ca_file}"
receipt_keys = ["{vkey}"]
part_length = 4194304               # a request each: on this machine the next one would bring all the rest
"""


class Process:
    """The daemon, which can be killed."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "agent.toml"
        self.asked = Daemon(folder / "control.sock")
        self._log = folder / "daemon.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and return when its socket answers."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agent.cli", "--config", str(self.config), "run"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )
        async with asyncio.timeout(_START_WITHIN):
            while not await asyncio.to_thread(self.asked.answers):
                if self._process.returncode is not None:
                    raise AgentError("the daemon did not start", hint=f"Its log is {self._log}.")
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """SIGKILL: as if the power had gone, as far as a process can tell."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, as systemd does it."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_WITHIN):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def command(self, *words: str) -> tuple[int, bytes]:
        """Run `evidock` with these words, as a person would: (exit code, what it printed)."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agent.cli", "--config", str(self.config), *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        return process.returncode or 0, printed


class Cast:
    """Everything that plays along, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "dock").mkdir()
        self.camera = VolumeEmulator(folder / "dock" / "bay-1", serial="BWC-0042")
        self.dems = DemsProcess(folder / "dems", tls=True)
        self.daemon = Process(folder)
        self.originals: dict[str, tuple[str, int]] = {}
        """What the camera recorded: (SHA-256, length) by key, by sha256sum and not by our code."""

    async def record(self, films: list[Path]) -> None:
        """Put recordings on the camera."""
        for film in films:
            digest = await sha256sum(film)
            key = await asyncio.to_thread(self.camera.add, film)
            self.originals[key] = (digest, film.stat().st_size)
            if film.is_relative_to(self.folder):  # made for the demo; the camera has it now
                film.unlink()

    async def open(self) -> None:
        """Start the DEMS, write agent.toml for it, and start the daemon."""
        await self.dems.start()
        text = _TOML.format(
            folder=self.folder,
            device=DEVICE,
            url=self.dems.url,
            ca_file=self.dems.ca_file,
            vkey=self.dems.receipt_vkey,
            witness_vkey=self.dems.witness_vkey,
            witness_url=self.dems.witness_url,
        )
        self.daemon.config.write_text(text)
        # Whom the program that deletes believes is said by a person, before the daemon ever runs.
        code, printed = await self.daemon.command("custody", "trust", "--write")
        if code:
            raise AgentError(f"the trust file was not written: {printed.decode(errors='replace').strip()}")
        await self.daemon.start()

    async def close(self) -> None:
        """End everything, whatever state it is in."""
        for stop in (self.daemon.stop, self.dems.stop):
            with suppress(AgentError, OSError):
                await stop()


async def sha256sum(path: Path) -> str:
    """SHA-256 of a file by the tool of the system."""
    program = shutil.which("sha256sum") or "/usr/bin/sha256sum"
    process = await asyncio.create_subprocess_exec(
        program, os.fspath(path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, complaint = await process.communicate()
    if process.returncode:
        raise AgentError(f"sha256sum failed: {complaint.decode(errors='replace').strip()}")
    return printed.decode().removeprefix("\\").split(maxsplit=1)[0]
