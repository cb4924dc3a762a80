"""A dispatch system that drops files passes the shipped suite for drivers that only tell."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.testing.observing import ObserverBench, ObserverConformance
from drivers.dispatch.cad import Cad

if TYPE_CHECKING:
    from pathlib import Path


class CadBench(ObserverBench):
    """Writes its file anew, with another end, several times a second."""

    def __init__(self, tmp_path: Path) -> None:
        self.path, self.away = tmp_path / "drop", tmp_path / "away"
        self.path.mkdir()
        self._tasks: list[asyncio.Task[None]] = []

    def driver(self) -> Cad:
        told = {"use": "dispatch.cad", "name": "cad", "rescan": 0.05, "folder": {"path": self.path}}
        return Cad(Cad.Options.model_validate(told))

    async def _work(self) -> None:
        for minute in itertools.count():
            row = {"id": "1", "incident": "2026-1", "unit": "B12", "from": "2026-11-22T00:00:00Z"}
            row["until"] = f"2026-11-22T{minute // 60 % 24:02d}:{minute % 60:02d}:00Z"
            with suppress(OSError):  # it is away
                (self.path / "day.json").write_text(json.dumps(row))
            await asyncio.sleep(0.3)

    def begin(self) -> None:
        if not self.path.exists():
            self.plug_in()
        self._tasks.append(asyncio.create_task(self._work()))

    def unplug(self) -> None:
        self.path.rename(self.away)

    def plug_in(self) -> None:
        self.away.rename(self.path)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class TestCad(ObserverConformance):
    def bench(self, tmp_path: Path) -> CadBench:
        return CadBench(tmp_path)
