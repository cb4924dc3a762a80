"""A trigger dock at the end of a line: registers that a test, or a person, sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivers.in_car.emulator.line import Line

__all__ = ["Dock"]

_LIGHT_BAR, _AUX, _IGNITION = 0x04, 0x02, 0x10


class Dock:
    """Answers as the guide says. Its answers go over the wire of its line; `error` is the result of the next ones."""

    def __init__(self, line: Line, *, product: int = 0xA1) -> None:
        self._line = line
        self.registers = bytearray(0x100)
        self.registers[:8] = bytes([product, 0x01, 0x02, 0x01, 0x05, 0, 0, 0])
        self.error = 0
        self.asked: list[bytes] = []
        """Every request that came."""

    def set(self, *, light_bar: bool | None = None, aux: bool | None = None, ignition: bool | None = None) -> None:
        """Levels of the inputs."""
        for register, mask, level in ((6, _LIGHT_BAR, light_bar), (6, _AUX, aux), (7, _IGNITION, ignition)):
            if level is not None:
                self.registers[register] = self.registers[register] & ~mask | (mask if level else 0)

    def pair(self, address: bytes, tag: bytes) -> None:
        """A camera touches the NFC reader."""
        self.registers[0x19:0x1F] = address
        self.registers[0x1F:0x3F] = tag.ljust(32, b"\0")

    async def serve(self) -> None:
        """Answer until cancelled."""
        waiting = b""
        while True:
            waiting += await self._line.receive(0.05)
            while len(waiting) >= 6:  # noqa: PLR2004 - bytes of a request
                request, waiting = waiting[:6], waiting[6:]
                if sum(request) & 0xFF or request[:2] != b"\xa1\x00":
                    waiting = request[1:] + waiting
                    if len(waiting) < 6:  # noqa: PLR2004
                        break
                    continue
                self.asked.append(request)
                await self._line.send(self._answer(request))

    def _answer(self, request: bytes) -> bytes:
        at, count = int.from_bytes(request[2:4], "big"), request[4]
        data = b"" if self.error else bytes(self.registers[at : at + count])
        body = request[:5] + bytes([self.error]) + data
        return body + bytes([-sum(body) & 0xFF])
