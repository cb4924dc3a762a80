"""What a film says of itself, read once it is kept and before it is promised, by a process that can do nothing else.

A parser may be led astray by a hostile file. So it runs apart: no network, no writing, bounded memory, and ended where
it takes too long. What it finds stands in the entry among the device's claims, under `media`, and says so; what it does
not find costs the capture nothing but these words.

Those that wait at the same time are asked about together: of many small captures, a question each would cost more than
taking them. Where one of them leads the process astray, each is asked about alone, and that shows which it was.
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

from agent.capture import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.capture import Capture, Json

__all__ = ["MEDIA_TYPES", "Reader"]

MEDIA_TYPES: Final = frozenset({"video/mp4", "video/quicktime", "audio/mp4", "video/3gpp"})
"""Captures of these are read: the ISO base media family."""

_WORDS_MAX: Final = 16 * 1024
"""Bytes that the words may take in an entry."""
_ALL_MAX: Final = 32 * 1024
"""Bytes that all claims of a capture may take there; the driver's own come first."""
_TOGETHER: Final = 64
"""Captures that are asked about at once, at most."""
_LINE_MAX: Final = 1024 * 1024
"""Bytes of an answer: what does not go in together is asked about one by one."""


@dataclass(frozen=True, slots=True)
class _Asked:
    path: Path
    told: asyncio.Future[dict[str, Json]]


class Reader:
    """Asks the process, starts it when it is first needed and again after it was ended."""

    def __init__(self, *, within: float = 5.0) -> None:
        self._within = within
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: deque[_Asked] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._log = structlog.get_logger("reading")

    def expect(self, capture: Capture) -> None:
        """It is being taken: where it will be read, the process starts meanwhile, and nothing waits for that then."""
        if self._warming is None and _is_film(capture):
            self._warming = asyncio.create_task(self._warm())

    async def words(self, capture: Capture, path: Path) -> Capture:
        """The capture with what its bytes say, where they are a film's; never raises for what is in them."""
        if not _is_film(capture):
            return capture
        told = await self._told(path)
        short: dict[str, Json] = {"unread": "it says more than an entry holds"}
        for words in (told, short):
            claims: dict[str, Json] = {**capture.claims, "media": words}
            with suppress(ValueError, RecursionError):  # what no entry can hold
                if len(canonical(words)) <= _WORDS_MAX and len(canonical(claims)) <= _ALL_MAX:
                    return capture.told(claims=claims)
        return capture

    async def aclose(self) -> None:
        """End the process."""
        for task in (self._asking, self._warming):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        await self._end()

    async def _warm(self) -> None:
        with suppress(OSError):  # whoever asks tries again, and says so
            await self._running()

    async def _told(self, path: Path) -> dict[str, Json]:
        asked = _Asked(path, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return await asked.told

    async def _ask_all(self) -> None:
        """Until nobody waits any more; whoever was not told in the end hears why."""
        some: list[_Asked] = []
        why: dict[str, Json] = {"unread": "the station ended meanwhile"}
        try:
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(_TOGETHER, len(self._waiting)))]
                await self._ask([one for one in some if not one.told.done()])
        except Exception as error:  # noqa: BLE001 - no fault of ours in reading may keep a capture from being held
            why = {"unread": "reading it failed"}
            self._not_read(some[0].path, f"a fault of Evidock itself: {error!r}")
        finally:
            self._asking = None
            for one in (*some, *self._waiting):
                if not one.told.done():
                    one.told.set_result(why)
            self._waiting.clear()

    async def _ask(self, some: Sequence[_Asked]) -> None:
        answers = await self._answers([str(one.path) for one in some])
        if isinstance(answers, str):
            if len(some) > 1:
                for one in some:
                    if not one.told.done():
                        await self._ask([one])
                return
            self._not_read(some[0].path, answers)
            answers = [{"unread": answers}]
        for one, told in zip(some, answers, strict=True):
            if not one.told.done():  # whoever was cancelled meanwhile
                one.told.set_result(told)

    def _not_read(self, path: Path, why: str) -> None:
        self._log.warning("film_not_read", path=path.name, why=why, todo="nothing: its bytes are kept as they are")

    async def _answers(self, paths: list[str]) -> list[dict[str, Json]] | str:
        """An answer for each, in their order; or what was wrong with one of them."""
        if not paths:
            return []
        try:
            process = await self._running()
            if process.stdin is None or process.stdout is None:
                raise ConnectionResetError  # noqa: TRY301 - it cannot be: both are pipes
            process.stdin.write(json.dumps(paths).encode() + b"\n")
            async with asyncio.timeout(self._within):
                await process.stdin.drain()
                answer = await process.stdout.readline()
            told = json.loads(answer)
            if isinstance(told, list) and len(told) == len(paths) and all(isinstance(one, dict) for one in told):
                return told
            why = "the reader gave no answer"
        except TimeoutError:
            why = f"reading it takes longer than {self._within:g} s"
        except (OSError, ValueError, asyncio.LimitOverrunError):
            why = "the reader was ended by it"
        except BaseException:
            await self._end()  # its answer would be taken for that to the next question
            raise
        await self._end()
        return why

    async def _running(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "agent.reading.worker",
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                    limit=_LINE_MAX, start_new_session=True,
                )  # fmt: skip
            return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _is_film(capture: Capture) -> bool:
    return capture.media_type in MEDIA_TYPES and "media" not in capture.claims
