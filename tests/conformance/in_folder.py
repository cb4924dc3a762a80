"""A device whose captures are files below one folder: made complete, found by their names, and taken away whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.testing.conformance import Rig

if TYPE_CHECKING:
    from pathlib import Path


class InFolder(Rig):
    """`inner`: where a capture lies below the folder."""

    inner: str

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.away = tmp_path / "device", tmp_path / "away"
        (self.folder / self.inner).mkdir(parents=True)
        self._count = 0

    def record(self, name: str, data: bytes) -> str:
        self._count += 1
        key, fresh = f"{self.inner}/{name}", self.folder / ".new"
        fresh.write_bytes(data)
        os.utime(fresh, (1_700_000_000 + self._count,) * 2)
        fresh.rename(self.folder / key)
        return key

    def holds(self, key: str) -> bool:
        return (self.folder / key).exists()

    def unplug(self) -> None:
        self.folder.rename(self.away)

    def plug_in(self) -> None:
        self.away.rename(self.folder)
