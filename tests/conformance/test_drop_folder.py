"""The shipped driver for folders of interview rooms passes the shipped suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.driver import BLOCK_LENGTH
from agent.testing.conformance import DriverConformance
from drivers.interview_room.drop_folder import DropFolder
from drivers.interview_room.drop_folder.wire import Wire
from tests.conformance.in_folder import InFolder

if TYPE_CHECKING:
    from pathlib import Path


class Short(Wire):
    """The file system says one length, and the file ends before it."""

    def read(self, fd: int, length: int, offset: int) -> bytes:
        return super().read(fd, length, offset) if offset < BLOCK_LENGTH else b""


class FolderRig(InFolder):
    inner = "2026-11-22"
    wire = Wire

    def driver(self) -> DropFolder:
        return DropFolder(
            DropFolder.Options(
                use="interview_room.drop_folder", name="room-1", rescan=0.05, folder=self.folder, settle=0
            ),
            wire=self.wire(),
        )

    def shorten(self, key: str) -> None:  # noqa: ARG002 - the folder of the next driver
        self.wire = Short


class TestDropFolder(DriverConformance):
    def rig(self, tmp_path: Path) -> FolderRig:
        return FolderRig(tmp_path)
