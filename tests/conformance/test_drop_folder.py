"""The shipped driver for folders of interview rooms passes the shipped suite."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.driver import BLOCK_LENGTH
from agent.testing.conformance import DriverConformance, Rig
from drivers.interview_room.drop_folder import DropFolder
from drivers.interview_room.drop_folder.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path


class Short(Wire):
    """The file system says one length, and the file ends before it."""

    def read(self, fd: int, length: int, offset: int) -> bytes:
        return super().read(fd, length, offset) if offset < BLOCK_LENGTH else b""


class FolderRig(Rig):
    wire = Wire

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.away = tmp_path / "room", tmp_path / "away"
        (self.folder / "2026-11-22").mkdir(parents=True)
        self._count = 0

    def driver(self) -> DropFolder:
        return DropFolder(
            DropFolder.Options(
                use="interview_room.drop_folder", name="room-1", rescan=0.05, folder=self.folder, settle=0
            ),
            wire=self.wire(),
        )

    def record(self, name: str, data: bytes) -> str:
        self._count += 1
        key, fresh = f"2026-11-22/{name}", self.folder / ".new"
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

    def shorten(self, key: str) -> None:  # noqa: ARG002 - the folder of the next driver
        self.wire = Short


class TestDropFolder(DriverConformance):
    def rig(self, tmp_path: Path) -> FolderRig:
        return FolderRig(tmp_path)
