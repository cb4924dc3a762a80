"""An emulated dock behind the real status service: bays that say what a test wants, and a real journal and spool."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.capture import Capture, Device
from agent.clock import Clock
from agent.config import parse
from agent.driver import Bay, DriverOptions, Lead
from agent.ingest.copying import Arrival
from agent.repairs import Raised, repair
from agent.station.live import Live
from agent.station.status import StatusService
from agent.testing.devices import BenchDevice
from agent.testing.ports import free_port
from agent.testing.standins import Equipped, Loaded, Seen
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from agent.config import Config
    from agent.forward import Forward
    from agent.gate import Gate
    from agent.ingest import Ingest
    from agent.journal import Desk
    from agent.spool import Spool

__all__ = ["Dock", "free_port", "served"]

OFFICERS = (
    "A. Tremblay",
    "J. Singh",
    "M. Roy",
    "L. Chen",
    "S. Gagnon",
    "K. Okafor",
    "D. MacDonald",
    "É. Bélanger-Lavoie",
)
MB = 1_000_000


class Bays:
    """See `agent.driver.ShowsBays` and `ShowsLeads`."""

    def __init__(self, count: int) -> None:
        self.shown: list[Lead] = []
        self.pictures: dict[tuple[str, int], bytes] = {}
        self._bays = {f"bay-{number:02d}": Bay(f"bay-{number:02d}") for number in range(1, count + 1)}

    def bays(self) -> Sequence[Bay]:
        return list(self._bays.values())

    def leads(self) -> Sequence[Lead]:
        return self.shown

    def picture(self, lead: str, number: int, /) -> bytes | None:
        return self.pictures.get((lead, number))

    def __getitem__(self, name: str) -> Bay:
        return self._bays[name]

    def __setitem__(self, name: str, bay: Bay) -> None:
        self._bays[name] = bay


@dataclass
class Dock:
    """See `agent.station.running.Running`."""

    config: Config
    station: Station
    bays: Bays
    devices: Mapping[str, Seen] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    raised: Raised = field(default_factory=Raised)
    told: list[dict[str, str | None]] = field(default_factory=list)

    @property
    def equipment(self) -> Equipped:
        return Equipped([Loaded(DriverOptions(use="bench.dock", name="dock"), self.bays)])

    @property
    def desk(self) -> Desk:
        return self.station.desk

    @property
    def spool(self) -> Spool:
        return self.station.spool

    @property
    def ingest(self) -> Ingest:
        return self.station.ingest

    @property
    def gate(self) -> Gate:
        return self.station.gate

    @property
    def forwards(self) -> list[Forward]:
        return [] if self.station.forward is None else [self.station.forward]

    def announcing(self) -> None:
        return None

    def troubles(self) -> list[dict[str, str | None]]:
        return self.told

    @property
    def url(self) -> str:
        assert self.config.status is not None
        return f"http://127.0.0.1:{self.config.status.port}"

    # -- what happens in a bay ----------------------------------------------------------------------------------------

    def put(self, number: int, state: str, *, listed: int = 42) -> None:
        """Let a bay say this."""
        name = f"bay-{number:02d}"
        serial = f"SN-BWC-{1000 + number * 7}"
        device = Device(
            f"usb:0951:1666:{serial}", "body_worn", "dock", "Evidock", "BWC-4", serial, "1.4.2", f"usb 1-{number}"
        )
        bay = Bay(name, device, OFFICERS[number % len(OFFICERS)])
        done = replace(bay, complete=True, listed=listed, safe=listed)
        self.ingest.arrivals.pop(name.encode(), None)
        match state:
            case "empty":
                bay = Bay(name)
            case "copying":
                bay = replace(bay, offering=True, offered_bytes=9_000 * MB, answered_bytes=(900 * number) % 7_000 * MB)
                capture = Capture(device, "DCIM/CLIP0001.MP4", None, 4_000 * MB)
                self.ingest.arrivals[name.encode()] = Arrival(capture, 500 * MB)
            case "safe":
                bay = done
            case "do_not_remove":
                bay = replace(done, writable=True)
            case "help":
                bay = replace(done, safe=listed - 2, unexplained=2)
        self.bays[name] = bay

    def notice(self, detail: str, id_: str = "uplink.down") -> None:
        """Let this notice stand, and no other of ours."""
        self.told[:] = [
            repair(id_, "problem", id_.partition(".")[0], detail, "Keep the camera, and clean its contacts.")
        ]

    def move(self, length: int) -> None:
        """Let everything that is copied go on."""
        for arrival in self.ingest.arrivals.values():
            arrival.arrived = min(arrival.arrived + length, arrival.capture.length or 0)


@asynccontextmanager
async def served(
    folder: Path, bays: int, *, status: str = "", policy: str = "release", film: bytes = b"film"
) -> AsyncIterator[Dock]:
    """A dock behind the status service on a free port. `status`: more lines for its table; `film`: what it holds."""
    text = f"""
[station]
name = "dock-0042"
agency = "example.org"
state = "{folder / "state"}"
[policy]
device = "{policy}"
[status]
port = {free_port()}
{status}
[[driver]]
use = "bench.dock"
name = "dock"
[[uplink]]
use = "bench"
name = "dems"
"""
    async with Station(folder / "state") as station:
        device = BenchDevice()
        for number in (1, 2, 3):
            device.record(f"CLIP{number}.MP4", film * number)
        await station.dock(device)
        station.connect(BenchUplink())
        dock = Dock(parse(text), station, Bays(bays))
        live = Live(dock)
        sampling = asyncio.create_task(_sample(live))
        assert dock.config.status is not None
        try:
            async with StatusService(dock, live, dock.config.status):
                yield dock
        finally:
            sampling.cancel()
            dock.ingest.arrivals.clear()


async def _sample(live: Live) -> None:
    while True:
        live.sample()
        await asyncio.sleep(0.5)
