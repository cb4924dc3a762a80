"""What the tests of folders share: a recorder, the driver that looks at its folder, and what a person would see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from drivers.interview_room.drop_folder import DropFolder
from drivers.interview_room.drop_folder.emulator import RecorderEmulator
from tests.drivers.descriptors import given_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from structlog.typing import EventDict

    from drivers.interview_room.drop_folder.wire import Wire


@pytest.fixture
def recorder(tmp_path: Path) -> RecorderEmulator:
    return RecorderEmulator(tmp_path / "room")


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., DropFolder]:
    def make(*, wire: Wire | None = None, **options: object) -> DropFolder:
        known = {
            "use": "interview_room.drop_folder",
            "name": "room-1",
            "folder": tmp_path / "room",
            "settle": 0.1,
            "rescan": 0.05,
        }
        return DropFolder(DropFolder.Options.model_validate(known | options), wire=wire)

    return make


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open(tmp_path: Path) -> Iterator[None]:
    with given_back(tmp_path.resolve()):
        yield
