"""The shipped driver for rooms that this station records passes the shipped suite.

What it offers are the pieces that ffmpeg has finished, which is when ffmpeg's list names them; here the list is written
without a stream, in an interview that goes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.testing.conformance import DriverConformance, Rig
from agent.testing.probe import Probe
from agent.testing.rig import running, until
from drivers.interview_room.live import LiveRoom
from drivers.interview_room.live.interview import Interview

if TYPE_CHECKING:
    from pathlib import Path

URL = "rtsp://127.0.0.1:9/none"


class RoomRig(Rig):
    keeps = False

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "live"
        self.root.mkdir()
        self.interview = Interview.begin(
            self.root, room="room-1", recorder="main", by="a test", note="", container="mov", streams={"front": URL}
        )
        self._count = 0

    def driver(self) -> LiveRoom:
        options = {"use": "interview_room.live", "name": "room-1", "rescan": 0.05, "folder": self.root}
        return LiveRoom(LiveRoom.Options.model_validate({**options, "stream": [{"name": "front", "url": URL}]}))

    def record(self, name: str, data: bytes) -> str:  # noqa: ARG002 - a stream counts its pieces
        self._count += 1
        file = f"front-{self._count:06}.mov"
        (self.interview.folder / file).write_bytes(data)
        with (self.interview.folder / "front-000001.csv").open("a") as listed:
            listed.write(f"{file},{2 * self._count - 2}.000000,{2 * self._count}.000000\n")
        return f"{self.interview.id}/{file}"

    def unplug(self) -> None:
        self.root.rename(self.root.with_name("away"))

    def plug_in(self) -> None:
        self.root.with_name("away").rename(self.root)


class TestLiveRoom(DriverConformance):
    def rig(self, tmp_path: Path) -> RoomRig:
        return RoomRig(tmp_path)

    async def test_6_unplugging_does_not_end_it(self, tmp_path: Path) -> None:
        """A piece is offered once: between two of them the disk is taken away, and the next is offered after it."""
        rig, probe = self.rig(tmp_path), Probe()
        async with running(rig.driver(), probe) as task:
            for _ in range(3):
                key = rig.record("", b"a piece")
                await until(lambda key=key: key in probe.keys)  # type: ignore[misc]
                rig.unplug()
                await asyncio.sleep(0.2)
                assert not task.done()
                rig.plug_in()
