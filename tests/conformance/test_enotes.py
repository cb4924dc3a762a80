"""Tablets pass the shipped suite: their attachments are what is recorded, with the emulated tablet on the other end."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from agent.testing.conformance import DriverConformance, Rig
from drivers.enotes import EnoteTablets
from drivers.enotes.emulator import Tablet
from drivers.enotes.emulator.notebook import File
from drivers.enotes.emulator.tablet import Refused, Torn
from tests.drivers.enotes.rig import options, scanned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class EnotesRig(Rig):
    """A tablet that forgets a file when it was answered; its entries are the driver's own tests' business."""

    keeps = False

    def __init__(self, tmp_path: Path) -> None:
        self.options = options(tmp_path)
        self.invitation = scanned(EnoteTablets.enrol(self.options))
        self.tablet = Tablet(tmp_path / "tablet")
        self._enrolled = False
        self._waiting: dict[str, File] = {}
        self._ever: dict[str, File] = {}
        self._short: set[str] = set()
        self._sending: asyncio.Task[None] | None = None
        self.sendings: list[asyncio.Task[None]] = []

    def driver(self) -> EnoteTablets:
        return EnoteTablets(self.options)

    def record(self, name: str, data: bytes) -> str:
        book = self.tablet.notebook
        file = File(book.urn, 1 + int(name[4:8]), name, data)
        key = f"{book.urn}/{file.seq:06}/attachment/{sha256(data).hexdigest()}"
        self._waiting[key] = self._ever[key] = file
        self._start()
        return key

    def holds(self, key: str) -> bool:
        return key in self._ever  # a tablet removes a file when a receipt names it, and this one never asks

    def shorten(self, key: str) -> None:
        self._short.add(key)

    def plug_in(self) -> None:
        """A tablet that comes back does not know which answers were on their way, and announces all of it again."""
        self._waiting |= self._ever
        self._start()

    def _start(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())
            self.sendings.append(self._sending)

    def unplug(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    async def _send(self) -> None:
        try:
            while True:
                for key, file in list(self._waiting.items()):
                    try:
                        if not self._enrolled:
                            await self.tablet.enrol(self.invitation)
                            self._enrolled = True
                        self.tablet.wire = "..t" if key in self._short else ""
                        await self.tablet.upload(file)
                    except (Torn, Refused, OSError):
                        await asyncio.sleep(0.02)
                        continue
                    if self._waiting.get(key) is file:
                        del self._waiting[key]
                await asyncio.sleep(0.01)
        finally:
            await self.tablet.hang_up()


class TestEnotes(DriverConformance):
    made: list[EnotesRig]

    @pytest.fixture(autouse=True)
    async def _tablets_end(self) -> Iterator[None]:
        self.made = []
        yield
        for rig in self.made:
            rig.unplug()
            await asyncio.gather(*rig.sendings, return_exceptions=True)

    def rig(self, tmp_path: Path) -> EnotesRig:
        self.made.append(EnotesRig(tmp_path))
        return self.made[-1]
