"""Questions to the program that deletes: those that wait together are asked together, and each gets its own answer."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agent.errors import DeviceRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

__all__ = ["LINE_MAX", "Ends", "Line", "Turn"]

Ends: TypeAlias = "tuple[asyncio.StreamReader, asyncio.StreamWriter]"
Turn: TypeAlias = "AbstractAsyncContextManager[None]"

LINE_MAX: Final = 64 * 1024
"""Bytes of one answer."""

_TOGETHER: Final = 64
"""Questions of one batch: they share the forcing of folders, and none is answered before."""
_TOGETHER_LENGTH: Final = 256 * 1024 * 1024
"""Bytes of the files of one batch, for as long as there is more than one: then others have their turn."""
_PATIENCE: Final = 120.0
"""Seconds without a word of the program, not even that it still reads, after which a device is taken for hung."""
_READING: Final = "reading"


@dataclass(slots=True)
class _Question:
    line: bytes
    length: int
    answer: asyncio.Future[dict[str, Any]]


class Line:
    """What is asked about one volume, batch by batch.

    `ends` gives the two ends of a program for as long as one batch lasts; before each it waits for its `turn`.
    """

    def __init__(
        self, ends: Callable[[], AbstractAsyncContextManager[Ends]], turn: Callable[[], Turn] = nullcontext
    ) -> None:
        self._ends, self._turn = ends, turn
        self._waiting: deque[_Question] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._asked: list[_Question] = []

    @property
    def load(self) -> int:
        """How many questions have no answer yet."""
        return len(self._waiting) + len(self._asked)

    async def ask(self, line: bytes, length: int) -> dict[str, Any]:
        """Ask one question about a file of so many bytes. Raises `DeviceRefused` where no answer comes.

        Whoever is cancelled meanwhile asked all the same: the answer is read, and nobody hears it.
        """
        question = _Question(line, length, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._work())
        return await question.answer

    async def aclose(self) -> None:
        """Ask nothing more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    async def _work(self) -> None:
        batch: list[_Question] = []
        try:
            while self._waiting:
                async with self._turn():
                    batch = self._asked = self._batch()
                    try:
                        async with asyncio.timeout(_PATIENCE) as patience:
                            await self._ask(batch, patience)
                    except (OSError, ValueError) as error:  # a time-out is an OSError
                        self._fail(batch, error)
                    self._asked = []
        except BaseException as error:
            self._fail([*batch, *self._waiting], error)
            self._waiting.clear()
            self._asked = []
            raise

    def _batch(self) -> list[_Question]:
        """The next questions, in the order in which they were asked, but for what is too long for this time."""
        length = 0
        batch: list[_Question] = []
        later: deque[_Question] = deque()
        for question in self._waiting:
            if len(batch) < _TOGETHER and (not batch or length + question.length <= _TOGETHER_LENGTH):
                batch.append(question)
                length += question.length
            else:
                later.append(question)
        self._waiting = later
        return batch

    async def _ask(self, batch: list[_Question], patience: asyncio.Timeout) -> None:
        async with self._ends() as (reader, writer):
            # Not drained: the answers are read at once, so that neither side waits for the other with full hands.
            writer.write(b"".join(question.line for question in batch))
            for question in batch:
                answer: dict[str, Any] = {"result": _READING}
                while answer.get("result") == _READING:
                    if not (line := await reader.readline()):
                        raise ConnectionError("it ended without an answer")
                    patience.reschedule(asyncio.get_running_loop().time() + _PATIENCE)
                    answer = json.loads(line)
                if not question.answer.done():
                    question.answer.set_result(answer)

    def _fail(self, batch: list[_Question], error: BaseException) -> None:
        """Whether they were deleted is not known: the device says so when it offers them again, or does not."""
        for question in batch:
            if question.answer.done():
                continue
            refused = DeviceRefused(
                f"the release program did not answer ({type(error).__name__})",
                hint="The agent starts it again. If it lasts, look at the device and at the journal of the service.",
            )
            refused.__cause__ = error
            question.answer.set_exception(refused)
