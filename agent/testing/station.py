"""One station in this process: journal, spool, ingest, forward and release, put together without a daemon.

    async with Station(tmp_path) as station:
        station.connect(BenchUplink())
        await station.dock(device)          # everything on it is offered once
        await station.send()                # everything held is sent
        await station.dock(device)          # and is released, if the policy permits
        await station.verify()              # what must be true at any moment

A station is an `agent.driver.Intake`, so any driver can be run against it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from agent.capture import Standing
from agent.clock import Clock
from agent.config import Policy
from agent.driver import offer_all
from agent.forward import Forward
from agent.gate import Gate
from agent.ingest import Ingest, Screening
from agent.journal import Desk, Journal, queries
from agent.release import Release
from agent.spool import Spool
from agent.testing.audit import audit_arrivals, audit_devices, audit_spool, read_journal
from agent.testing.uplinks import BenchUplink, arrived_at
from agent.traffic import Traffic
from agent.uplink import UplinkOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from agent.capture import Capture, Device, Digest, Holding, Observation, Origin, Stamp
    from agent.driver import Driver, Readable
    from agent.errors import SpoolDamaged
    from agent.note import Verifier
    from agent.testing.audit import Book, Witness
    from agent.testing.devices import BenchDevice
    from agent.testing.uplinks import Receiver
    from agent.uplink import Uplink

__all__ = ["Station"]

LOG = "edge.example.org/bench-1/log1"


class Station:
    """One station below a folder. Times are those of `stamp`, so that a test can set its clock."""

    def __init__(
        self,
        folder: Path,
        *,
        policy: Policy | None = None,
        watermark: int = 0,
        read_back: bool = False,
        boot_id: str = "bench-boot-1",
        log: str = LOG,
        stamp: Callable[[], Stamp] | None = None,
        screens: Iterable[object] = (),
    ) -> None:
        self.folder, self.policy, self.log = folder, policy or Policy(), log
        self.watermark, self.read_back, self.boot_id = watermark, read_back, boot_id
        self.stamp = stamp or Clock().stamp
        self.devices: list[Witness] = []
        self.receivers: list[BenchUplink | Receiver] = []
        self.sighted: list[Device] = []
        self.observed: list[Observation] = []
        self.screens: list[object] = [*screens]
        """Drivers that are asked about what is offered as `Screened`; by `run_driver` it is each that it runs."""
        self.passed_by = 0
        """How many offers were `Screened`, and no screen wanted them."""
        self.damage: list[SpoolDamaged] = []
        """What would have ended the daemon."""
        self.forward: Forward | None = None
        self.gate: Gate
        self.others: list[Forward] = []
        """What `beside` made since the start."""
        self._uplink: tuple[Uplink, str, tuple[Verifier, ...], int] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.desk: Desk
        self.spool: Spool
        self.ingest: Ingest
        self.release: Release

    # -- coming and going ----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open everything and recover, as the daemon does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.desk = Desk(lambda: Journal.open(self.folder / "journal.db", log=self.log, stamp=self.stamp))
        await self.desk.open()
        self.gate, self.others = Gate(self.desk, Traffic()), []
        self.spool = Spool(
            self.folder / "spool", watermark=self.watermark, read_back=self.read_back, boot_id=self.boot_id
        )
        self.ingest = Ingest(self.desk, self.spool, on_held=self._held, on_damage=self.damage.append)
        keys = () if self._uplink is None else self._uplink[2]
        self.release = Release(self.desk, self.spool, self.policy, keys=keys, stamp=self.stamp)
        self._make_forward()
        await self.ingest.recover()
        await self.release.recover()

    async def stop(self) -> None:
        """Close everything; what is half copied stays as it is."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        await self.desk.close()
        await asyncio.to_thread(self.spool.close)

    async def restart(self, *, boot_id: str | None = None) -> None:
        """Stop and start; another boot id is a power cut: nothing that only the page cache had can be trusted."""
        await self.stop()
        self.boot_id = boot_id or self.boot_id
        await self.start()

    def connect(self, uplink: Uplink, *receivers: Receiver, keys: Sequence[Verifier] = (), in_flight: int = 8) -> None:
        """Send to this destination from now on. `receivers`: who can tell what arrived, where the uplink cannot."""
        self._uplink = (uplink, "dems", tuple(keys), in_flight)
        new: list[BenchUplink | Receiver] = [uplink] if isinstance(uplink, BenchUplink) else list(receivers)
        self.receivers += [one for one in new if one not in self.receivers]
        self.release = Release(self.desk, self.spool, self.policy, keys=keys, stamp=self.stamp)
        self._make_forward()

    def beside(self, uplink: Uplink, options: UplinkOptions, keys: Sequence[Verifier] = ()) -> Forward:
        """A second destination, which the caller runs: a fallback for the first, or a place for copies."""
        instead_of = self.forward if options.role == "fallback" else None
        if instead_of is not None and isinstance(uplink, BenchUplink):
            self.receivers.append(uplink)
        made = Forward(self.desk, self.spool, uplink, options, keys=keys, gate=self.gate, instead_of=instead_of)
        self.others.append(made)
        return made

    async def hang_up(self) -> None:
        """Close the uplink, and send to nobody from now on."""
        if self._uplink is not None:
            await self._uplink[0].aclose()
        self._uplink = self.forward = None

    def _make_forward(self) -> None:
        if self._uplink is not None:
            uplink, name, keys, in_flight = self._uplink
            options = UplinkOptions(use="bench", name=name, in_flight=in_flight)
            self.forward = Forward(self.desk, self.spool, uplink, options, keys=keys, gate=self.gate)

    # -- agent.driver.Intake -------------------------------------------------------------------------------------------

    async def sight(self, device: Device, /) -> None:
        """See `agent.driver.Intake.sight`."""
        self.sighted.append(device)

    async def observe(self, observation: Observation, /) -> None:
        """See `agent.driver.Intake.observe`."""
        if not any(one.detail == observation.detail for one in self.observed[-1:]):
            self.observed.append(observation)
        await self.release.listed(observation)

    async def take(self, offer: Readable, /) -> Standing:
        """See `agent.driver.Intake.take`."""
        if (wanted := Screening(lambda: self.screens, self.stamp).passed(offer)) is None:
            self.passed_by += 1
            return Standing.UNKNOWN
        self.release.offered(offer := wanted)
        standing = await self.ingest.take(offer)
        if standing is Standing.RECEIPTED:
            standing = await self.release.consider(offer)
        return standing

    async def recall(self, origin: Origin, /) -> tuple[Digest, ...]:
        """See `agent.driver.Recalls`."""
        return await self.ingest.recall(origin)

    async def set_aside(self, capture: Capture, data: bytes, reason: str, /) -> None:
        """See `agent.driver.SetsAside`."""
        await self.ingest.set_aside(capture, data, reason)

    def _held(self, holding: Holding) -> None:
        for forward in (self.forward, *self.others):
            if forward is not None:
                forward.nudge(holding)

    # -- what a test does ----------------------------------------------------------------------------------------------

    async def dock(self, *devices: BenchDevice) -> dict[Standing, int]:
        """Readable everything on these devices once; from now on `verify` asks them too."""
        sums: Counter[Standing] = Counter()
        for device in devices:
            if device not in self.devices:
                self.devices.append(device)
            sums.update(await offer_all(self, device.offers()))
        return dict(sums)

    def run_driver(self, driver: Driver) -> asyncio.Task[None]:
        """Run a driver against this station until it stops, or until the task is cancelled."""
        self.screens.append(driver)
        return self._begin(driver.run(self))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def send(self, within: float = 60.0, until: Callable[[], Awaitable[bool]] | None = None) -> None:
        """Forward until nothing stands held, or until something else is so; `TimeoutError` where that takes longer."""
        assert self.forward is not None, "connect an uplink first"
        sending = asyncio.create_task(self.forward.run())
        try:
            async with asyncio.timeout(within):
                while not await until() if until else await self.count(Standing.HELD):
                    if sending.done():
                        sending.result()
                    await asyncio.sleep(0.005)
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending

    async def count(self, standing: Standing) -> int:
        """How many captures stand there."""
        tally = (await self.desk.read(queries.tally)).get(standing)
        return 0 if tally is None else tally.captures

    async def holdings(self) -> list[Holding]:
        """Everything that is known, the newest first."""
        return await self.desk.read(lambda journal: queries.listing(journal, limit=1_000_000))

    async def only(self) -> Holding:
        """The one capture that is known."""
        (holding,) = await self.holdings()
        return holding

    async def events(self, capture: str) -> list[str]:
        """What happened to a capture."""
        return await self.desk.read(
            lambda journal: [entry["predicate"]["event"] for entry in queries.story(journal, capture)]
        )

    async def audit(self) -> list[str]:
        """Everything that is wrong, in sentences; each check is one of `agent.testing.audit`."""
        book: Book = await self.desk.read(read_journal)
        wrong = book.problems + await asyncio.to_thread(audit_spool, book, self.spool.root, at_rest=True)
        wrong += audit_devices(book, self.devices)
        if self.receivers:
            arrived, complaints = await arrived_at(*self.receivers)
            wrong += complaints + audit_arrivals(book, arrived)
        return wrong

    async def verify(self) -> None:
        """Fail with every sentence of `audit`."""
        wrong = await self.audit()
        assert not wrong, "\n".join(wrong)
