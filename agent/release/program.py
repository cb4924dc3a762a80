"""The process that deletes, as the agent sees it: started once, asked line by line, and never argued with.

It is `agent.releaser`. What it trusts stands in a file that it reads at its start; what it is asked to delete it proves
for itself from the receipt, the proof and the device's own bytes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from agent.capture import printable
from agent.errors import DeviceGone, DeviceRefused
from agent.release.asking import LINE_MAX, Line
from agent.release.doors import Doors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.capture import Holding, Json
    from agent.driver import Place
    from agent.release.asking import Ends

__all__ = ["DIFFERS", "Program"]

DIFFERS: Final = "differs"
_END_WITHIN: Final = 5.0


class Program:
    """One long-lived process for the whole station; one that hangs or dies is replaced by another.

    A volume that has a release unit is let go by that unit instead: see `agent.release.doors`.
    """

    def __init__(self, trust: Path, doors: Doors | None = None) -> None:
        self._trust = trust
        self._doors = doors or Doors()
        self._process: asyncio.subprocess.Process | None = None
        self._read: tuple[int, int] | None = None
        """Which trust file the process has read: what a person writes anew is read by another process."""
        self._lines: dict[Path | None, Line] = {}

    @property
    def trusts(self) -> bool:
        """Whether somebody has said whom it believes; before that it is not asked."""
        return self._trust.is_file()

    def has_unit(self, place: Place) -> bool:
        """Whether a unit of its own makes this volume writable and deletes on it."""
        return self._doors.of(place) is not None

    async def release(self, place: Place, holding: Holding, *, leaf: bytes, proof: bytes) -> str:
        """Have one file deleted; `released`, `absent` (it was gone already), or `DIFFERS` with the file still there.

        Raises `DeviceRefused` or `DeviceGone`.
        """
        note = None if holding.receipt is None else holding.receipt.note
        asked: dict[str, Json] = {
            "capture": holding.id,
            "index": holding.index,
            "leaf": base64.b64encode(leaf).decode(),
            "length": place.length,
            "mtime_ns": str(place.mtime_ns),
            "path": printable(place.path),
            "plugged": place.plugged,
            "proof": base64.b64encode(proof).decode(),
            "receipt": base64.b64encode(note or b"").decode(),
            "root": printable(place.root),
            "root_id": [str(number) for number in place.root_id],
        }
        door = self._doors.of(place)
        line = self._lines.setdefault(door, Line(self._own if door is None else partial(self._doors.open, door)))
        answer = await line.ask(json.dumps(asked).encode() + b"\n", place.length)
        result = str(answer.get("result"))
        if result == "gone":
            raise DeviceGone(str(answer.get("why")))
        if result not in {"released", "absent", DIFFERS}:
            raise DeviceRefused(str(answer.get("why")))
        return result

    async def aclose(self) -> None:
        """Let the process end."""
        for line in self._lines.values():
            await line.aclose()
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_END_WITHIN):
                await process.wait()
        except TimeoutError:
            process.kill()  # in a system call on a device that hangs it ends when that does

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[Ends]:
        """The two ends of the process of our own, which goes on after it was asked; one that failed is ended."""
        try:
            yield await self._running()
        except BaseException:
            self._give_up()  # its answer would be taken for that of the next question
            raise

    async def _running(self) -> Ends:
        about = self._trust.stat()
        if self._read != (about.st_ino, about.st_mtime_ns):
            self._give_up()
            self._read = (about.st_ino, about.st_mtime_ns)
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agent.releaser", str(self._trust)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_MAX,
            )
        reader, writer = self._process.stdout, self._process.stdin
        if reader is None or writer is None:  # both were asked for
            raise ConnectionError("it has no ends to speak to")
        return reader, writer

    def _give_up(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._process = None
