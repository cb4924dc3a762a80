"""What a film says of itself, read once it is kept and before it is promised, by a process that can do nothing else.

A parser may be led astray by a hostile file. So it runs apart: no network, no writing, bounded memory, and ended where
it takes too long. What it finds stands in the entry among the device's claims, under `media`, and says so; what it does
not find costs the capture nothing but these words.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import canonical

if TYPE_CHECKING:
    from pathlib import Path

    from agent.capture import Capture, Json

__all__ = ["MEDIA_TYPES", "Reader"]

MEDIA_TYPES: Final = frozenset({"video/mp4", "video/quicktime", "audio/mp4", "video/3gpp"})
"""Captures of these are read: the ISO base media family."""

_WORDS_MAX: Final = 16 * 1024
"""Bytes that the words may take in an entry."""
_ALL_MAX: Final = 32 * 1024
"""Bytes that all claims of a capture may take there; the driver's own come first."""
_LINE_MAX: Final = 256 * 1024


class Reader:
    """Asks the process, starts it when it is first needed and again after it was ended."""

    def __init__(self, *, within: float = 5.0) -> None:
        self._within = within
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._log = structlog.get_logger("reading")

    async def words(self, capture: Capture, path: Path) -> Capture:
        """The capture with what its bytes say, where they are a film's; never raises for what is in them."""
        if capture.media_type not in MEDIA_TYPES or "media" in capture.claims:
            return capture
        told = await self._told(path)
        short: dict[str, Json] = {"unread": "it says more than an entry holds"}
        for words in (told, short):
            claims: dict[str, Json] = {**capture.claims, "media": words}
            with suppress(ValueError):  # what no entry can hold
                if len(canonical(words)) <= _WORDS_MAX and len(canonical(claims)) <= _ALL_MAX:
                    return replace(capture, claims=claims)
        return capture

    async def aclose(self) -> None:
        """End the process."""
        async with self._lock:
            await self._end()

    async def _told(self, path: Path) -> dict[str, Json]:
        async with self._lock:
            try:
                process = await self._running()
                if process.stdin is None or process.stdout is None:
                    raise ConnectionResetError  # noqa: TRY301 - it cannot be: both are pipes
                process.stdin.write(json.dumps(str(path)).encode() + b"\n")
                async with asyncio.timeout(self._within):
                    await process.stdin.drain()
                    answer = await process.stdout.readline()
                told = json.loads(answer)
                if isinstance(told, dict):
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
        self._log.warning("film_not_read", path=path.name, why=why, todo="nothing: its bytes are kept as they are")
        return {"unread": why}

    async def _running(self) -> asyncio.subprocess.Process:
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
