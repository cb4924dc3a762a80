"""A GNSS receiver: it says over a line what a recorded log says, as a real one did, and answers who it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from firmware_specs.formats import ubx

if TYPE_CHECKING:
    from drivers.in_car.emulator.line import Line

__all__ = ["GREETING", "Receiver", "logged"]

GREETING: Final = b"$GPTXT,01,01,02,starting*4D\r\n"
"""What receivers say while they start: a sentence, and no position."""
_PORTION: Final = 64


def logged(raw: bytes) -> bytes:
    """A log of gpsd without the comment lines in front of it."""
    while raw.startswith(b"#"):
        raw = raw.partition(b"\n")[2]
    return raw


class Receiver:
    """Speaks as long as its task runs."""

    def __init__(self, line: Line, log: bytes, *, pause: float = 0.0, version: bytes | None = None) -> None:
        """`pause`: seconds between two portions. `version`: what it answers to MON-VER."""
        self._line, self._log, self._pause, self._version = line, log, pause, version
        self.ended = asyncio.Event()
        """The log was said once."""

    async def greet(self, pause: float = 0.02) -> None:
        """Say that it is starting, until cancelled."""
        while True:
            await self._line.send(GREETING)
            await asyncio.sleep(pause)

    async def speak(self, *, again: bool = False) -> None:
        """Say the log, and once more where it is to go on."""
        while True:
            for at in range(0, len(self._log), _PORTION):
                await self._line.send(self._log[at : at + _PORTION])
                await self._answer()
                await asyncio.sleep(self._pause)
            self.ended.set()
            if not again:
                return

    async def _answer(self) -> None:
        if self._version is not None and ubx.build(ubx.MON_VER) in await self._line.receive(0.001):
            await self._line.send(ubx.build(ubx.MON_VER, self._version))
