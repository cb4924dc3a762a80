"""The shipped driver for edge storage of Axis cameras passes the shipped suite."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agent.testing.conformance import DriverConformance, Rig
from drivers.interview_room.vapix import Vapix
from drivers.interview_room.vapix.emulator import CameraEmulator, Stored

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

BEGAN = datetime(2026, 11, 22, 7, tzinfo=UTC)


class CameraRig(Rig):
    """The camera runs in a thread of its own, as it is a machine of its own."""

    forgets = True

    def __init__(self, tmp_path: Path) -> None:
        self.camera = CameraEmulator(ranges=True)
        self.secret = tmp_path / "password"
        self.secret.write_text("pass\n")
        self._count = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._do(self.camera.start())

    def _do(self, work: Coroutine[object, object, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        self._do(self.camera.stop())
        self._do(asyncio.sleep(0.05))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def driver(self) -> Vapix:
        # Noise is no Matroska: how far a film reaches is looked at in tests of its own.
        options = {"use": "interview_room.vapix", "name": "room-1", "rescan": 0.05, "format": "mp4", "answer": 1}
        return Vapix(
            Vapix.Options.model_validate(
                {**options, "url": self.camera.url, "user": "root", "password_file": self.secret}
            )
        )

    def record(self, name: str, data: bytes) -> str:
        self._count += 1
        began = BEGAN + timedelta(hours=self._count)
        self.camera.stored = [one for one in self.camera.stored if one.id != name]
        self.camera.stored.append(Stored(name, data, began, began + timedelta(minutes=5)))
        return f"SD_DISK/{name}"

    def holds(self, key: str) -> bool:
        return key.removeprefix("SD_DISK/") in {one.id for one in self.camera.stored}

    def unplug(self) -> None:
        self._loop.call_soon_threadsafe(self.camera.vanish)

    def plug_in(self) -> None:
        self._loop.call_soon_threadsafe(self.camera.come_back)


class TestVapix(DriverConformance):
    @pytest.fixture(autouse=True)
    def _end(self) -> Iterator[None]:
        self.rigs: list[CameraRig] = []
        yield
        for one in self.rigs:
            one.close()

    def rig(self, tmp_path: Path) -> CameraRig:
        self.rigs.append(CameraRig(tmp_path))
        return self.rigs[-1]
