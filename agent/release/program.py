"""The program that deletes, as the agent sees it: started once, asked line by line, and never argued with.

It is `agent.releaser`. What it trusts stands in a file that it reads at its start; what it is asked to delete it proves
for itself from the receipt, the proof and the device's own bytes.
"""

from __future__ import annotations

import asyncio
import base64
import json
from functools import partial
from typing import TYPE_CHECKING, Final

from agent.capture import printable
from agent.errors import DeviceGone, DeviceRefused
from agent.release.asking import Line
from agent.release.doors import Doors
from agent.release.own import Own

if TYPE_CHECKING:
    from pathlib import Path

    from agent.capture import Holding, Json
    from agent.driver import Place

__all__ = ["DIFFERS", "PROCESSES", "Program"]

DIFFERS: Final = "differs"
PROCESSES: Final = 4
"""So many volumes less one may hang, and releases go on everywhere else."""


class Program:
    """A few long-lived processes for the whole station: a second one is there only while the first one is busy.

    A volume that has a release unit is let go by that unit instead: see `agent.release.doors`.
    """

    def __init__(self, trust: Path, doors: Doors | None = None) -> None:
        self._trust = trust
        self._doors = doors or Doors()
        self._own: list[tuple[Own, Line]] = []
        self._units: dict[Path, Line] = {}

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
        answer = await self._line(place).ask(json.dumps(asked).encode() + b"\n", place.root, place.length)
        result = str(answer.get("result"))
        if result == "gone":
            raise DeviceGone(str(answer.get("why")))
        if result not in {"released", "absent", DIFFERS}:
            raise DeviceRefused(str(answer.get("why")))
        return result

    def _line(self, place: Place) -> Line:
        """Where this volume is asked about: at its unit, else by one of a few processes of our own.

        A volume that hangs holds up the one that it is asked of: the others are asked elsewhere. What waits of a volume
        waits in one line, so that its folders are forced together.
        """
        if (door := self._doors.of(place)) is not None:
            return self._units.setdefault(door, Line(partial(self._doors.open, door)))
        lines = [line for _, line in self._own]
        if (mine := next((line for line in lines if line.waits_for(place.root)), None)) is not None:
            return mine
        if (free := next((line for line in lines if not line.load), None)) is not None:
            return free
        if len(lines) < PROCESSES:
            own = Own(self._trust)
            self._own.append((own, Line(own.ends)))
            return self._own[-1][1]
        return min(lines, key=lambda line: line.load)

    async def aclose(self) -> None:
        """Let the processes end."""
        for line in [*self._units.values(), *(line for _, line in self._own)]:
            await line.aclose()
        await asyncio.gather(*(own.aclose() for own, _ in self._own))
        self._own.clear()
