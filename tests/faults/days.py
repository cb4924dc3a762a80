"""Days of a station in seconds: officers come and go, links fail, power fails, programs are exchanged, people order.

The daemon, its cameras and its DEMS are the real ones and the emulated one of all tests; their clocks are bent, so that
a night takes no time. Each act is small and leaves the station in a state that must be right: whenever no daemon runs,
everything is compared. The same acts are chosen by a seed (`test_days.py`) and by hypothesis.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

import aiohttp

from agent.capture import Standing
from agent.clock import Clock
from agent.testing.cameras import CameraFolder
from agent.testing.dems import EmulatedDems
from agent.testing.process import DaemonProcess, audit_state, read_state, tally, tus
from tests.faults.hands import Hands, entries, out_of_order
from tests.faults.rig import ordered

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from agent.capture import Stamp
    from tests.faults.rig import Nursery

CAMERAS = 3
HOUR = 3600.0
GRACE = 6 * HOUR
POLICY = {"device": "release", "receipt": "signed", "grace": "6 h", "spool": "released", "spool_keep": "1 d"}
OUTAGES = [
    *("*:*:503", "*:*:500", "*:*:403", "*:*:404", "*:*:429", "*:*:drop", "*:*:drop-answer", "*:*:delay=0.3"),
    *("PATCH:*:cut@9000", "receipt:none", "receipt:wrong-digest", "receipt:wrong-signature", "receipt:other-capture"),
]
VERBS = ("retry", "hold", "lift", "prioritise")


class Days:
    """One station, from its first day on. Use it as a context; its clock stands in `hands`."""

    def __init__(self, folder: Path, nursery: Nursery, hands: Hands, chance: Random) -> None:
        self.folder, self.chance = folder, chance
        self._nursery, self._hands = nursery, hands
        self.passed = 0.0
        """Seconds by which the true time was moved on."""
        self._error = 0.0
        """By how much the station's clock is wrong."""
        self.misled = False
        """It was ever wrong: then the station's own times are no measure."""
        self.dems = EmulatedDems(folder / "dems", clock=lambda: time.time() + self.passed)
        self.cameras = [CameraFolder(folder / f"bay-{number}", f"cam-{number}") for number in range(CAMERAS)]
        self._away: set[int] = set()
        self._pid: int | None = None
        self._parts = 256 * 1024
        self.acts: list[str] = []
        self.wrong: list[str] = []
        self._looks = 0

    async def __aenter__(self) -> Self:
        await self.dems.__aenter__()
        self._made()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pid is not None:
            await self._nursery.end(self._pid)
        await self.dems.__aexit__(None, None, None)

    def _made(self) -> None:
        drivers = [camera.driver(name=f"bay-{number}") for number, camera in enumerate(self.cameras)]
        uplink = tus(self.dems.url, self.dems.receipt_vkey, part_length=self._parts)
        for number, camera in enumerate(self.cameras):
            drivers[number]["mount"] = str(self.folder / f"bay-{number}")
            assert camera.name == f"cam-{number}"
        self.daemon = DaemonProcess(self.folder / "station", drivers=drivers, uplink=uplink, policy=POLICY)

    # -- acts ----------------------------------------------------------------------------------------------------------

    async def act(self, name: str) -> None:
        """Do one of `ACTS`."""
        self.acts.append(name)
        await getattr(self, name)()

    async def shift(self) -> None:
        """Somebody recorded something, docked or not; sometimes under a name that was used before."""
        camera = self.chance.choice(self.cameras)
        length = self.chance.choice((0, 50, 3000, 20_000, 1_100_000, 4_300_000))
        reused = {one.key for one in camera.ever()} - {one.key for one in camera.still()}
        key = self.chance.choice(sorted(reused)) if reused and self.chance.random() < 0.2 else None
        camera.record(self.chance.randbytes(length), key=key, recorded_at=time.time() + self.passed)

    async def dock(self) -> None:
        """A camera comes back, or is taken away, in the middle of whatever it is at."""
        number = self.chance.randrange(CAMERAS)
        here, there = self.folder / f"bay-{number}", self.folder / f"street-{number}"
        if number in self._away:
            there.rename(here)
            self.cameras[number].root = here
            self._away.discard(number)
        else:
            here.rename(there)
            self.cameras[number].root = there
            self._away.add(number)

    async def outage(self) -> None:
        """The DEMS is out of order, in another way than before."""
        await self.dems.clear_faults()
        await self.dems.add_fault(self.chance.choice(OUTAGES))

    async def mend(self) -> None:
        """The DEMS is in order."""
        await self.dems.clear_faults()

    async def work(self) -> None:
        """Time in which the station works, shorter or longer than it needs."""
        await self._begin()
        await self._nursery.dies(self._pid, self.chance.choice((0.02, 0.1, 0.3)))

    async def kill(self) -> None:
        """Power, or SIGKILL: nothing is finished."""
        await self._begin()
        await self._nursery.dies(self._pid, self.chance.uniform(0, 0.2))
        await self._end(signal.SIGKILL, -9)

    async def stop(self) -> None:
        """Ended in order, or before it could hear that it should."""
        await self._begin()
        await self._end(signal.SIGTERM, 0, -signal.SIGTERM)

    async def upgrade(self) -> None:
        """Another program, or configuration, takes over what the last one left."""
        await self.stop()
        self._parts = self.chance.choice((256, 512, 1024)) * 1024
        self._made()
        await self._begin()

    async def night(self) -> None:
        """Hours pass."""
        self.passed += self.chance.uniform(1, 12) * HOUR
        self._set()

    async def astray(self) -> None:
        """The station's clock goes wrong by hours, or is set right."""
        self._error = self.chance.choice((0, 0, -5, 3)) * HOUR
        self.misled = self.misled or self._error != 0
        self._set()

    async def order(self) -> None:
        """A person orders something about some capture."""
        await self._begin()
        connector = aiohttp.UnixConnector(str(self.daemon.state / "control.sock"))
        try:
            await tally(self.daemon.state)  # it listens
            async with aiohttp.ClientSession(connector=connector) as session:
                async with session.get("http://station/captures") as answer:
                    known = (await answer.json())["captures"]
                if not known:
                    return
                url = f"http://station/captures/{self.chance.choice(known)['id']}/{self.chance.choice(VERBS)}"
                asked = {"why": "a drawn act", "priority": "flagged"}
                async with session.post(url, data=json.dumps(asked)) as answer:
                    assert answer.status < 500, await answer.text()
        finally:
            await connector.close()

    # -- the daemon ----------------------------------------------------------------------------------------------------

    def _set(self) -> None:
        self._hands.set(self.passed + self._error, passed=self.passed)

    async def _begin(self) -> None:
        if self._pid is None:
            await self.daemon.install()
            straight = self.chance.random() < 0.5  # what it sends goes by threads
            self._pid = await self._nursery.fork(self.daemon.config, self.daemon.words, straight=straight)

    async def _end(self, number: signal.Signals, *expected: int) -> None:
        code = await self._nursery.end(self._pid, number)
        self._pid = None
        if code not in expected:
            said = self.daemon.words.read_text()[-2000:] if self.daemon.words.exists() else ""
            self.wrong.append(f"it ended with {code}: {said}")
        await self.look()

    async def look(self, *, at_rest: bool = False) -> None:
        """Compare everything; no daemon may run."""
        self.wrong += await audit_state(self.daemon.state, self.cameras, self.dems, at_rest=at_rest)
        self._looks += 1
        told = entries(self.daemon.state, self.folder / f"look-{self._looks}")
        self.wrong += out_of_order(told)
        if not self.misled:
            self.wrong += too_early(told)

    async def settle(self, within: float = 180.0) -> None:
        """Everything is in order again, and days pass: all of it arrives, once, and all is let go."""
        if self._pid is not None:
            await self.stop()
        await self.mend()
        self._error = 0.0
        for number in sorted(self._away):
            self._back(number)
        await self._forgiven()
        await self._begin()
        try:
            async with asyncio.timeout(within):
                while await self._unfinished():
                    self.passed += 2 * HOUR
                    self._set()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self.wrong.append(f"it does not drain: {await tally(self.daemon.state)}")
        await self._end(signal.SIGTERM, 0)
        await self.look(at_rest=True)
        stored = sorted(entry.sha256 for entry in await self.dems.index() if entry.state == "stored")
        ever = sorted(one.sha256.hex() for camera in self.cameras for one in camera.ever())
        if stored != ever:
            self.wrong.append(f"{len(ever)} were recorded, and {len(stored)} are stored")

    def _back(self, number: int) -> None:
        (self.folder / f"street-{number}").rename(self.folder / f"bay-{number}")
        self.cameras[number].root = self.folder / f"bay-{number}"
        self._away.discard(number)

    async def _forgiven(self) -> None:
        """What was ordered is lifted, and what was refused or is in doubt is sent again, by a person."""
        book = await asyncio.to_thread(read_state, self.daemon.state)
        holdings = [] if book is None else list(book.holdings.values())
        acts = [("lift", one.id) for one in holdings if one.retained]
        acts += [("retry", one.id) for one in holdings if one.standing in (Standing.REFUSED, Standing.QUARANTINED)]
        if acts:
            await asyncio.to_thread(ordered, self.daemon.state, acts, self.stamp)

    def stamp(self) -> Stamp:
        """This moment for a person who orders something from this process, whose clocks nobody bends."""
        told = Clock().stamp()
        at, mono_ns = told.at + timedelta(seconds=self.passed), told.mono_ns + int(self.passed * 1e9)
        return replace(told, at=at, mono_ns=mono_ns)

    async def _unfinished(self) -> bool:
        if not all(camera.empty() for camera in self.cameras):
            return True
        standings = await tally(self.daemon.state)
        return any(standings.get(one, 0) for one in (Standing.HELD, Standing.RECEIPTED))


ACTS = (
    "shift",
    "shift",
    "shift",
    "dock",
    "outage",
    "mend",
    "work",
    "work",
    "kill",
    "stop",
    "upgrade",
    "night",
    "astray",
    "order",
)


def too_early(told: list[dict[str, object]]) -> list[str]:
    """Where a device was to forget something before its grace was over."""
    wrong, receipted = [], {}
    for entry in told:
        at, capture = datetime.fromisoformat(str(entry["recorded_at"])), str(entry["of"])
        if entry["event"] == "receipted":
            receipted[capture] = at
        elif entry["event"] == "release.intended" and (at - receipted[capture]).total_seconds() < GRACE - 2:
            wrong.append(f"{capture} was to be forgotten {at - receipted[capture]} after its receipt")
    return wrong
