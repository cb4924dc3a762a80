"""The program that deletes, as the agent sees it: started once, asked line by line, and never argued with.

It is `agent.releaser`. What it trusts stands in a file that it reads at its start; what it is asked to delete it proves
for itself from the receipt, the proof and the device's own bytes.
"""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import TYPE_CHECKING, Final

from agent.capture import printable
from agent.errors import DeviceGone, DeviceRefused
from agent.release.asking import Line
from agent.release.doors import Doors
from agent.release.own import Pool

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from agent.capture import Holding, Json
    from agent.driver import Place

__all__ = ["DIFFERS", "Program"]

DIFFERS: Final = "differs"


class Program:
    """A few long-lived processes for the whole station, each asked about one volume at a time: `agent.release.own`.

    A volume that has a release unit is let go by that unit instead: see `agent.release.doors`.
    """

    def __init__(self, trust: Path, doors: Doors | None = None) -> None:
        self._trust = trust
        self._doors = doors or Doors()
        self._own = Pool(trust)
        self._lines: dict[Hashable, Line] = {}
        """One for each volume of which something is asked."""

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
        answer = await self._line(place).ask(json.dumps(asked).encode() + b"\n", place.length)
        result = str(answer.get("result"))
        if result == "gone":
            raise DeviceGone(str(answer.get("why")))
        if result not in {"released", "absent", DIFFERS}:
            raise DeviceRefused(str(answer.get("why")))
        return result

    def _line(self, place: Place) -> Line:
        """Where this volume is asked about: at its unit, else by one of a few processes of our own.

        What waits of a volume waits in one line, so that its folders are forced together, and nothing of others in it.
        """
        for volume in [volume for volume, line in self._lines.items() if not line.load]:
            del self._lines[volume]
        if (door := self._doors.of(place)) is not None:
            return self._lines.setdefault(door, Line(partial(self._doors.open, door)))
        volume = (place.root, place.root_id, place.plugged)
        return self._lines.setdefault(volume, Line(partial(self._own.ends, volume), self._own.turn))

    async def aclose(self) -> None:
        """Let the processes end."""
        for line in self._lines.values():
            await line.aclose()
        await self._own.aclose()
