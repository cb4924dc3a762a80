"""The shipped driver for USB volumes passes the shipped suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.driver import BLOCK_LENGTH
from agent.testing.conformance import DriverConformance
from drivers.body_worn.usb_volume import UsbVolume
from drivers.body_worn.usb_volume.wire import Wire
from tests.conformance.in_folder import InFolder

if TYPE_CHECKING:
    from pathlib import Path


class Short(Wire):
    """The file system says one length, and the card ends before it."""

    def read(self, fd: int, length: int, offset: int) -> bytes:
        return super().read(fd, length, offset) if offset < BLOCK_LENGTH else b""


class VolumeRig(InFolder):
    inner = "DCIM/100MEDIA"
    wire = Wire

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

    def shorten(self, key: str) -> None:  # noqa: ARG002 - the card of the next driver
        self.wire = Short


class TestUsbVolume(DriverConformance):
    def rig(self, tmp_path: Path) -> VolumeRig:
        return VolumeRig(tmp_path)
