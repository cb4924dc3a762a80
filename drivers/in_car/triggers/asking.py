"""Question and answer over a serial line: what comes too late, damaged or unasked for is passed over and counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from agent.errors import DeviceGone
from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from drivers.in_car.serial_line import SerialLine

__all__ = ["Asker", "Question"]

Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)

ANSWER_SECONDS: Final = 0.5
"""In which an answer must be there: devices take milliseconds."""
TRIES: Final = 5
"""Questions in a row without an answer after which the device is taken to be away."""
_MOST: Final = 512


class Question(Protocol[Answer_co]):
    """One question of a protocol, and what answers it."""

    @property
    def request(self) -> bytes:
        """As it goes over the line."""

    def ends(self, data: bytes) -> bool:
        """Whether these bytes are whole."""

    def answer(self, data: bytes) -> Answer_co:
        """What they say. Raises `Malformed`."""


class Asker:
    """Asks one device, one question after the other. `silence`: seconds that part two frames."""

    def __init__(self, line: SerialLine, *, silence: float = 0.002) -> None:
        self._line, self._silence = line, silence
        self._failed = 0
        self.damaged = 0
        """Answers that did not come, or could not be read."""

    async def ask(self, question: Question[Answer]) -> Answer | None:
        """The answer; None where this one failed. Raises `DeviceGone` when too many did in a row."""
        await self._quiet()
        await self._line.write(question.request)
        data, until = b"", _now() + ANSWER_SECONDS
        while not question.ends(data) and len(data) < _MOST and (left := until - _now()) > 0:
            data += await self._line.read(left)
        try:
            found = question.answer(data)
        except Malformed as error:
            self.damaged += 1
            self._failed += 1
            if self._failed >= TRIES:
                why = str(error) if data else "it does not answer"
                raise DeviceGone(
                    f"the device at {self._line.path} cannot be asked: {why}",
                    hint="Is it powered, and are its line, its speed and its address those in agent.toml?",
                ) from error
            # An answer that is late must not be taken for that of the next question.
            await asyncio.sleep(max(self._silence, 0.02))
            return None
        self._failed = 0
        return found

    async def _quiet(self) -> None:
        """Nothing is on its way any more."""
        for _ in range(100):
            if not await self._line.read(self._silence):
                return


def _now() -> float:
    return asyncio.get_running_loop().time()
