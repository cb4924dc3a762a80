"""What the tests of USB volumes share: a camera, a dock for it, and the log lines that a person would see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from drivers.body_worn.usb_volume import UsbVolume, clip
from drivers.body_worn.usb_volume.emulator import VolumeEmulator
from tests.drivers.descriptors import given_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from structlog.typing import EventDict

    from drivers.body_worn.usb_volume.wire import Wire


@pytest.fixture
def camera(tmp_path: Path) -> VolumeEmulator:
    camera = VolumeEmulator(tmp_path / "dock")
    camera.plug()
    return camera


@pytest.fixture
def dock(tmp_path: Path) -> Callable[..., UsbVolume]:
    def make(*, wire: Wire | None = None, **options: object) -> UsbVolume:
        known = {
            "use": "body_worn.usb_volume",
            "name": "bay-1",
            "mount": tmp_path / "dock",
            "must_be_mountpoint": False,
            "device": {"id": "bwc-1"},
            "settle": 0.0,
            "rescan": 0.05,
        }
        return UsbVolume(UsbVolume.Options.model_validate(known | options), wire=wire)

    return make


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(clip, "BLOCK_LENGTH", 1000)
    monkeypatch.setattr(clip, "GATHERED_LENGTH", 1000)
    return 1000


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open(tmp_path: Path) -> Iterator[None]:
    with given_back(tmp_path.resolve()):
        yield
