"""A real beanstalkd of Debian on loopback, with its jobs on disk, filled by a client of another author."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import greenstalk
import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = shutil.which("beanstalkd")
needs_beanstalkd = pytest.mark.skipif(PROGRAM is None, reason="beanstalkd is not installed")


class Beanstalkd:
    """One server. Killed, it keeps its jobs, as an agent's is set up to."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        command = [PROGRAM or "beanstalkd", "-l", "127.0.0.1", "-p", str(self.port), "-b", str(self.folder), "-f", "0"]
        self._process = subprocess.Popen([*command, "-z", str(16 << 20), "-s", str(64 << 20)])
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise AssertionError("beanstalkd does not listen")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def put(self, body: bytes, *, ttr: int = 60, delay: int = 0) -> int:
        """As the open daemon puts: priority 0."""
        with greenstalk.Client(("127.0.0.1", self.port), use="alprd", encoding=None) as client:
            number: int = client.put(body, priority=0, ttr=ttr, delay=delay)
            return number

    def kick(self) -> None:
        """As a person gives again what was set aside."""
        with greenstalk.Client(("127.0.0.1", self.port), use="alprd", encoding=None) as client:
            client.kick(100)

    def state(self, number: int) -> str:
        """`ready`, `reserved`, `delayed`, `buried`, or `gone`."""
        with greenstalk.Client(("127.0.0.1", self.port), encoding=None) as client:
            try:
                return str(client.stats_job(number)["state"])
            except greenstalk.NotFoundError:
                return "gone"

    async def until(self, number: int, state: str) -> None:
        async with asyncio.timeout(60):
            while await asyncio.to_thread(self.state, number) != state:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)
