"""One process that reads films, and those that wait for it: a film of each device in turn.

It answers film after film, so that it shows which one it was that took it too long or ended it: that one has no words,
its device is told of to whoever keeps the lanes, and all the others wait for no second time.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from agent.errors import for_people, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from agent.capture import Json

__all__ = ["Asked", "Lane"]

_TOGETHER: Final = 64
"""Captures that are asked about at once, at most."""
_LINE_MAX: Final = 1024 * 1024
"""Bytes of an answer."""
_SLOW: Final = 1.0
"""Seconds of a reading after which the others of its device are read elsewhere, where they hold up nobody."""
_START: Final = 60.0
"""Seconds in which the process must be there: on a busy machine it is no film's fault that it is not."""
_TRIES: Final = 2
"""Processes that may end over one film before it is taken to be what ended them."""
_ENDED: Final = "the reader was ended by it"
_TODO: Final = "nothing: its bytes are kept as they are"


@dataclass(slots=True)
class Asked:
    """One film that somebody waits for."""

    device: str
    path: Path
    told: asyncio.Future[dict[str, Json]]
    tries: int = 0

    def tell(self, words: dict[str, Json]) -> None:
        """Its words, or why there are none; who was cancelled meanwhile hears nothing."""
        if not self.told.done():
            self.told.set_result(words)


class Lane:
    """See the module. `slow` and `quick` are called with the device of each film, `again` with what must wait anew."""

    def __init__(
        self,
        within: float,
        *,
        slow: Callable[[str], bool],
        quick: Callable[[str], None],
        again: Callable[[Iterable[Asked]], None],
    ) -> None:
        """`slow` answers whether that was news: then the rest is asked about anew."""
        self._within, self._slow, self._quick, self._again = within, slow, quick, again
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._waiting: dict[str, deque[Asked]] = {}
        """By device, the one whose turn it is first."""
        self._asking: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("reading")

    def ask(self, asked: Asked) -> None:
        """It is told when it is its turn."""
        self._waiting.setdefault(asked.device, deque()).append(asked)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())

    def yielded(self, device: str) -> Iterable[Asked]:
        """Those of this device that wait here: somebody else is to be asked about them."""
        return self._waiting.pop(device, ())

    async def warm(self) -> None:
        """Start the process; where that fails, whoever asks tries again, and says so."""
        with suppress(OSError):
            await self._running()

    async def aclose(self) -> None:
        """End the process."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        await self._end()

    async def _ask_all(self) -> None:
        """Until nobody waits any more; whoever was not told in the end hears why."""
        some: list[Asked] = []
        why: dict[str, Json] = {"unread": "the station ended meanwhile"}
        try:
            while some := self._next():
                await self._ask(some)
        except Exception as error:  # noqa: BLE001 - no fault of ours in reading may keep a capture from being held
            why = {"unread": "reading it failed"}
            self._not_read(some[0], for_people(error))
        finally:
            self._asking = None
            for one in (*some, *(one for waiting in self._waiting.values() for one in waiting)):
                one.tell(why)
            self._waiting.clear()

    def _next(self) -> list[Asked]:
        """A film of each device in turn; those whose takers went are left out."""
        some: list[Asked] = []
        while self._waiting and len(some) < _TOGETHER:
            device = next(iter(self._waiting))
            waiting = self._waiting.pop(device)
            if not (one := waiting.popleft()).told.done():
                some.append(one)
            if waiting:
                self._waiting[device] = waiting  # behind all others
        return some

    async def _ask(self, some: list[Asked]) -> None:
        """Ask about all of them; what is left when the process had to be ended waits again."""
        try:
            process = await self._running()
        except OSError as error:
            self._not_read(some[0], why := f"the reader cannot be started: {in_words(error)}")
            for one in some:
                one.tell({"unread": why})
            return
        left, loop, whole = deque(some), asyncio.get_running_loop(), False
        try:
            question = json.dumps([str(one.path) for one in some]).encode() + b"\n"
            while left:
                began, one = loop.time(), left[0]
                answer = await self._answer(process, question)
                question = b""
                left.popleft()
                if isinstance(answer, dict):
                    one.tell(answer)
                    if loop.time() - began <= _SLOW:
                        self._quick(one.device)
                        continue
                    if not self._slow(one.device):
                        continue
                else:
                    self._slow(one.device)
                    self._unanswered(one, answer)
                return
            whole = True
        finally:
            if not whole:  # its answers would be taken for those to the next question
                await self._end()
                self._again(left)

    def _unanswered(self, one: Asked, why: str) -> None:
        one.tries += 1
        if why == _ENDED and one.tries < _TRIES:  # whoever else may have ended it
            self._again([one])
            return
        self._not_read(one, why)
        one.tell({"unread": why})

    def _not_read(self, one: Asked, why: str) -> None:
        self._log.warning("film_not_read", path=one.path.name, why=why, todo=_TODO)

    async def _answer(self, process: asyncio.subprocess.Process, question: bytes) -> dict[str, Json] | str:
        """The next answer, or what was wrong with it: then the process is of no use any more."""
        if process.stdin is None or process.stdout is None:
            return _ENDED  # it cannot be: both are pipes
        try:
            async with asyncio.timeout(self._within):
                if question:
                    process.stdin.write(question)
                    await process.stdin.drain()
                line = await process.stdout.readline()
            told = json.loads(line) if line else None
        except TimeoutError:
            return f"reading it takes longer than {self._within:g} s"
        except OSError:
            return _ENDED
        except (ValueError, RecursionError):
            return "the reader gave no answer that can be taken"
        return told if isinstance(told, dict) else _ENDED

    async def _running(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "agent.reading.worker",
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                    limit=_LINE_MAX, start_new_session=True,
                )  # fmt: skip
                try:
                    async with asyncio.timeout(_START):
                        there = self._process.stdout is not None and await self._process.stdout.readline()
                except BaseException:
                    await self._end()
                    raise
                if not there:
                    await self._end()
                    raise ConnectionResetError("it ended at once")
            return self._process

    async def _end(self) -> None:
        if (process := self._process) is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()  # whoever is cancelled here leaves it to `aclose`
        if self._process is process:
            self._process = None
