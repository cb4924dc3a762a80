"""The shipped driver for ONVIF recorders passes the shipped suite: a real search, and given bytes instead of a replay.

What ffmpeg makes of a replay is never the bytes that were recorded; that a real replay comes whole is shown in tests of
its own, against GStreamer's server.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

import pytest

from agent.driver import BLOCK_LENGTH
from agent.errors import CannotResume, DeviceGone
from agent.testing.conformance import DriverConformance, Rig
from drivers.interview_room.onvif import OnvifRecorder
from drivers.interview_room.onvif.driver import Replay
from drivers.interview_room.onvif.emulator import Kept, RecorderEmulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator
    from pathlib import Path

BEGAN = datetime(2026, 11, 22, 7, tzinfo=UTC)


class Given(Replay):
    """A replay of bytes that a test gave, which ends where the recorder went away."""

    data: ClassVar[dict[str, bytes]] = {}
    away: ClassVar[list[bool]] = [False]

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        if offset:
            raise CannotResume("a replay begins at its beginning")
        data = self.data.get(self._slice.found.token, b"")
        for at in range(0, len(data), BLOCK_LENGTH):
            if self.away[0]:
                raise DeviceGone("the recorder went away")
            yield data[at : at + BLOCK_LENGTH]
            await asyncio.sleep(0)


class RecorderRig(Rig):
    forgets = True

    def __init__(self, tmp_path: Path) -> None:
        Given.data.clear()
        Given.away[0] = False
        self.recorder = RecorderEmulator()
        self.secret = tmp_path / "password"
        self.secret.write_text("pass\n")
        self._count = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._do(self.recorder.start())

    def _do(self, work: Coroutine[object, object, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        self._do(self.recorder.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def driver(self) -> OnvifRecorder:
        options = {"use": "interview_room.onvif", "name": "room-1", "rescan": 0.05, "answer": 2, "user": "admin"}
        known = {**options, "url": self.recorder.url, "password_file": self.secret}
        return OnvifRecorder(OnvifRecorder.Options.model_validate(known), offer=Given)

    def record(self, name: str, data: bytes) -> str:
        self._count += 1
        began = BEGAN + timedelta(hours=self._count)
        Given.data[name] = data
        others = [one for one in self.recorder.kept if one.token != name]
        self.recorder.kept = [*others, Kept(name, began, began + timedelta(minutes=10))]  # a whole slice
        return name

    def holds(self, key: str) -> bool:
        return key in {one.token for one in self.recorder.kept}

    def unplug(self) -> None:
        self.recorder.away = Given.away[0] = True

    def plug_in(self) -> None:
        self.recorder.away = Given.away[0] = False


class TestOnvif(DriverConformance):
    @pytest.fixture(autouse=True)
    def _end(self) -> Iterator[None]:
        self.rigs: list[RecorderRig] = []
        yield
        for one in self.rigs:
            one.close()

    def rig(self, tmp_path: Path) -> RecorderRig:
        self.rigs.append(RecorderRig(tmp_path))
        return self.rigs[-1]
