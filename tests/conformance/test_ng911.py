"""The folder of a call-taking position passes the shipped suite: whatever is dropped there is kept as it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.testing.conformance import DriverConformance, Rig
from drivers.dispatch.ng911 import Ng911

if TYPE_CHECKING:
    from pathlib import Path


class DropRig(Rig):
    def __init__(self, tmp_path: Path) -> None:
        self.path, self.away = tmp_path / "drop", tmp_path / "away"
        self.path.mkdir()

    def driver(self) -> Ng911:
        folder = {"path": self.path, "endings": [".mp4", ".json", ".bin"]}
        told = {"use": "dispatch.ng911", "name": "position-1", "rescan": 0.05, "folder": folder}
        return Ng911(Ng911.Options.model_validate(told))

    def record(self, name: str, data: bytes) -> str:
        whole = self.path / f".{name}"
        whole.write_bytes(data)
        whole.rename(self.path / name)
        return name

    def holds(self, key: str) -> bool:
        return any((folder / key).exists() for folder in (self.path, self.away))

    def unplug(self) -> None:
        # As a share that goes away: open files fail too.
        self.path.rename(self.away)
        for file in self.away.iterdir():
            length = file.stat().st_size
            data = file.read_bytes()
            os.truncate(file, 0)
            file.unlink()
            file.write_bytes(data)
            assert file.stat().st_size == length

    def plug_in(self) -> None:
        self.away.rename(self.path)


class TestNg911(DriverConformance):
    def rig(self, tmp_path: Path) -> DropRig:
        return DropRig(tmp_path)
