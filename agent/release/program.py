"""The process that deletes, as the agent sees it: started once, asked line by line, and never argued with.

It is `agent.releaser`. What it trusts stands in a file that it reads at its start; what it is asked to delete it proves
for itself from the receipt, the proof and the device's own bytes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from agent import durable
from agent.capture import printable
from agent.errors import ConfigError, DeviceGone, DeviceRefused, Problem
from agent.release.doors import Doors

if TYPE_CHECKING:
    from pathlib import Path

    from agent.capture import Holding, Json
    from agent.custody.trust import Trust
    from agent.driver import Place
    from agent.note import Verifier

__all__ = ["DIFFERS", "Program", "trust_file"]

DIFFERS: Final = "differs"
_PATIENCE: Final = 60.0
_SLOWEST: Final = 256 * 1024
"""Bytes per second below which a device is taken for hung."""
_LINE_MAX: Final = 64 * 1024
_END_WITHIN: Final = 5.0


def trust_file(path: Path, *, trust: Trust, log: Verifier, asked: bool, receipt_keys: list[Verifier]) -> None:
    """Write what the program trusts: public keys and the policy, nothing secret. `ConfigError` where it cannot."""
    told: dict[str, Json] = {
        "log": log.vkey,
        "policy": None if trust.note is None else base64.b64encode(trust.note).decode(),
        "receipt_keys": [key.vkey for key in receipt_keys],
        "roots": [key.vkey for key in trust.roots],
        "witness_required": asked,
        "witnesses": [key.vkey for key in trust.witnesses],
    }
    try:
        durable.replace_file(path, json.dumps(told, indent=1, sort_keys=True).encode() + b"\n")
    except OSError as error:
        raise ConfigError([Problem(str(path), f"cannot be written: {error.strerror}")]) from error


class Program:
    """One long-lived process for the whole station; one that hangs or dies is replaced by another.

    A volume that has a release unit is let go by that unit instead: see `agent.release.doors`.
    """

    def __init__(self, trust: Path, doors: Doors | None = None) -> None:
        self._trust = trust
        self._doors = doors or Doors()
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

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
            "proof": base64.b64encode(proof).decode(),
            "receipt": base64.b64encode(note or b"").decode(),
            "root": printable(place.root),
            "root_id": [str(number) for number in place.root_id],
        }
        async with self._turn:
            answer = await self._ask(asked, _PATIENCE + place.length / _SLOWEST, self._doors.of(place))
        result = str(answer.get("result"))
        if result == "gone":
            raise DeviceGone(str(answer.get("why")))
        if result not in {"released", "absent", DIFFERS}:
            raise DeviceRefused(str(answer.get("why")))
        return result

    async def aclose(self) -> None:
        """Let the process end."""
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

    async def _ask(self, asked: dict[str, Json], patience: float, door: Path | None) -> dict[str, Any]:
        try:
            async with asyncio.timeout(patience):
                if door is not None:
                    return await self._doors.ask(door, asked)
                process = await self._running()
                writer, reader = process.stdin, process.stdout
                answer: dict[str, Any] = {}
                if writer is not None and reader is not None:  # both were asked for
                    writer.write(json.dumps(asked).encode() + b"\n")
                    await writer.drain()
                    answer = json.loads(await reader.readline())
                return answer
        except (OSError, ValueError) as error:
            # Whether it was deleted is not known: the device says so when it offers the capture again, or does not.
            self._give_up()
            raise DeviceRefused(
                f"the release program did not answer ({type(error).__name__})",
                hint="The agent starts it again. If it lasts, look at the device and at the journal of the service.",
            ) from error
        except BaseException:
            self._give_up()  # its answer would be taken for that of the next question
            raise

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agent.releaser", str(self._trust)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_MAX,
            )
        return self._process

    def _give_up(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._process = None
