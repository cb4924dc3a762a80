"""A station's journal with its desk and the room that joins, on a clock that a test sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Capture, Device, Digest, Holding, Observation, Parts, Stamp
from agent.context import ContextOptions
from agent.joining import Joining
from agent.journal import Desk, Journal, contexts
from agent.journal.verify import Report, Verification
from agent.station import views
from agent.testing.audit import read_journal
from tests.spine.make import digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOG = "edge.example.org/car-17/log1"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CAMERA = Device("in_car:front", "in_car", "front", maker="Acme", serial="FRONT-1")
WORN = Device("usb:SN-BWC-1007", "body_worn", "bay-1", serial="SN-BWC-1007")
CAR = {"vehicle": [{"name": "car-17", "devices": ["in_car:*", "gnss:*", "dock:*"]}]}


def seconds(after_noon: float) -> datetime:
    return NOON + timedelta(seconds=after_noon)


class Rig:
    """The room with its journal. Time stands still unless it is set."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self.at = NOON + timedelta(hours=6)
        self.path = folder / "journal.db"
        self.desk = Desk(lambda: Journal.open(self.path, log=LOG, stamp=self.stamp))
        self.joined: list[Holding] = []
        self.joining = Joining(self.desk, ContextOptions.model_validate(options), on_joined=self.joined.append)

    def stamp(self) -> Stamp:
        return Stamp(self.at, "boot", 0, "kernel", synchronised=True, uncertainty_us=100)

    async def hold(
        self, key: str, began: float | None, length: float = 60.0, device: Device = CAMERA, **claims: object
    ) -> str:
        """A capture that began so many seconds after noon by its device's clock; its id."""
        media = {"duration": f"{length:.3f}", "source": "says the device"}
        capture = Capture(device, key, None if began is None else seconds(began), 3, claims={"media": media, **claims})
        made = digest(f"{device.id} {key}")
        held: Holding = await self.desk.write(lambda journal: journal.hold(capture, made, Parts()))
        return held.id

    async def tell(self, device: str, kind: str, at: float, **detail: object) -> int:
        """Observe something; the leaf of its entry."""
        size: int = await self.desk.read(lambda journal: journal.leaves.size)
        await self.joining.observe(Observation(device, kind, seconds(at), detail))
        return size

    async def settled(self) -> int:
        """Let all time pass that something waits for; how many captures got a new context."""
        self.at += timedelta(hours=1)
        await self.joining.flush()
        self.at += timedelta(hours=1)
        return await self.joining.settle()

    async def context(self, capture: str) -> dict[str, Any] | None:
        return await self.desk.read(lambda journal: contexts.current(journal, capture))

    async def found(self, **wanted: str) -> list[str]:
        """Keys of the captures that are found so, the newest first."""
        told = await self.desk.read(lambda journal: views.captures(journal, **wanted))
        return [one["key"] for one in told["captures"]]

    async def verified(self) -> Report:
        def whole(journal: Journal) -> Report:
            work = Verification(journal)
            while not work.done:
                work.step(journal)
            assert read_journal(journal).problems == work.report().problems
            return work.report()

        return await self.desk.read(whole)

    async def sql(self, text: str, *values: object) -> list[Any]:
        return await self.desk.read(lambda journal: journal.connection.execute(text, values).fetchall())


@pytest.fixture
def options() -> dict[str, Any]:
    """The table `[context]`; a module or a test overrides it."""
    return CAR


@pytest.fixture
async def rig(tmp_path: Path, options: dict[str, Any]) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, options)
    await made.desk.open()
    await made.joining.start()
    yield made
    await made.desk.close()


__all__ = ["CAMERA", "CAR", "NOON", "WORN", "Digest", "Rig", "seconds"]
