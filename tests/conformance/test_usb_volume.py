"""The shipped driver for USB volumes passes the shipped suite."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.driver import BLOCK_LENGTH
from agent.testing.conformance import DriverConformance, Rig
from drivers.body_worn.usb_volume import UsbVolume
from drivers.body_worn.usb_volume.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path


class Short(Wire):
    """The file system says one length, and the card ends before it."""

    def read(self, fd: int, length: int, offset: int) -> bytes:
        return super().read(fd, length, offset) if offset < BLOCK_LENGTH else b""


class VolumeRig(Rig):
    wire = Wire

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.away = tmp_path / "camera", tmp_path / "away"
        (self.folder / "DCIM" / "100MEDIA").mkdir(parents=True)
        self._count = 0

    def driver(self) -> UsbVolume:
        return UsbVolume(
            UsbVolume.Options(
                use="body_worn.usb_volume",
                name="bay-1",
                rescan=0.05,
                mount=self.folder,
                must_be_mountpoint=False,
                layout="dcf",
                settle=0,
                device={"id": "cam-1"},
            ),
            wire=self.wire(),
        )

    def record(self, name: str, data: bytes) -> str:
        self._count += 1
        key, fresh = f"DCIM/100MEDIA/{name}", self.folder / ".new"
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

    def shorten(self, key: str) -> None:  # noqa: ARG002 - the card of the next driver
        self.wire = Short


class TestUsbVolume(DriverConformance):
    def rig(self, tmp_path: Path) -> VolumeRig:
        return VolumeRig(tmp_path)
