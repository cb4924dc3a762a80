"""The rhythm in which a camera or recorder is asked for its list."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from agent.testing.probe import Probe
from agent.testing.rig import running, until
from drivers.interview_room.polling import PolledOptions, Polling
from drivers.interview_room.room import device_of

if TYPE_CHECKING:
    import pytest

OPTIONS = PolledOptions.model_validate(
    {
        "use": "interview_room.vapix",
        "name": "room-1",
        "url": "https://10.0.5.11",
        "user": "evidock",
        "password_file": Path("/nowhere"),
        "rescan": 0.05,
    }
)


class Room:
    """A camera whose list comes at once, and whose recordings take an hour to come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.later, self.looks = 0.0, 0
        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + self.later)
        monkeypatch.setattr("drivers.interview_room.polling.time", clock)

    async def run(self, intake: Probe, /) -> None:
        polling = Polling(OPTIONS, device_of(OPTIONS))

        async def look() -> None:
            await polling.answered(intake, timedelta(), unlisted=0)
            self.looks += 1
            self.later += 3600.0

        await polling.run(look, intake)


async def test_hours_of_copying_are_followed_by_no_hours_of_not_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(monkeypatch)
    async with running(room, Probe()):
        await until(lambda: room.looks > 2)
