"""A serial line made of a pseudo-terminal: it can be pulled out, and bytes at the wrong speed arrive as rubbish.

A wire is one letter for each portion that is sent; where it ends, everything goes well:

    r   it comes whole                    f   one bit of it is flipped
    c   its second half is cut off        g   rubbish comes before it
    b   it comes byte by byte             n   it does not come at all
    t   it comes twice                    d   it comes late
"""

from __future__ import annotations

import asyncio
import os
import termios
import tty
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["LATE", "Line"]

LATE: Final = 1.5
"""Seconds by which a `d` comes late: more than any driver waits."""
_RUBBISH: Final = bytes([0xA1, 0x00, 0x24, 0xB5, 0x62, 0xFF, 0x0D])
_SPEEDS: Final = {
    getattr(termios, f"B{baud}"): baud
    for baud in (300, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
}


class Line:
    """The device's end. `path` is where a driver finds the other one, whichever terminal it is this time."""

    def __init__(self, path: Path, *, baud: int | None = None, wire: str = "") -> None:
        self.path, self.baud, self.wire = path, baud, wire
        self._ends: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        self.plug_in()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def plug_in(self) -> None:
        """A new terminal, under the same name."""
        if self._ends is not None:
            return
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        self._ends = ours, theirs
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(theirs))

    def unplug(self) -> None:
        """Whoever has it open reads an error now."""
        if self._ends is None:
            return
        ends, self._ends = self._ends, None
        for end in ends:
            os.close(end)
        self.path.unlink(missing_ok=True)

    @property
    def plugged_in(self) -> bool:
        """Whether it is there."""
        return self._ends is not None

    @property
    def speed(self) -> int | None:
        """At which speed the driver listens."""
        if self._ends is None:
            return None
        return _SPEEDS.get(termios.tcgetattr(self._ends[1])[5])

    async def send(self, data: bytes) -> None:
        """Send one portion over the wire; nothing where the line is pulled out."""
        letter, self.wire = self.wire[:1] or "r", self.wire[1:]
        for portion in _over_the_wire(letter, data):
            if letter == "d":
                await asyncio.sleep(LATE)
            right = self.baud is None or self.speed == self.baud
            await self._write(portion if right else _at_wrong_speed(portion))

    async def receive(self, seconds: float) -> bytes:
        """What the driver wrote, within the time."""
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            if self._ends is not None:
                with suppress(BlockingIOError, OSError):
                    return os.read(self._ends[0], 4096)
            await asyncio.sleep(0.001)
        return b""

    async def _write(self, data: bytes) -> None:
        while data and self._ends is not None:
            try:
                data = data[os.write(self._ends[0], data) :]
            except BlockingIOError:
                await asyncio.sleep(0.002)
            except OSError:
                return
            await asyncio.sleep(0)


def _over_the_wire(letter: str, data: bytes) -> list[bytes]:
    half = len(data) // 2
    changed = {
        "c": [data[:half]],
        "f": [data[:half] + bytes([data[half] ^ 0x04]) + data[half + 1 :]],
        "g": [_RUBBISH + data],
        "b": [bytes([byte]) for byte in data],
        "n": [],
        "t": [data, data],
    }
    return changed.get(letter, [data])


def _at_wrong_speed(data: bytes) -> bytes:
    return bytes((byte * 29 + 113) & 0xFF | 0x80 for byte in data)
