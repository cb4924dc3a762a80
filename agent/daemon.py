"""One task group that puts the rooms together: drivers offer, the hand takes, forward sends, release lets forget.

It decides nothing about evidence. It holds the lock that makes it the only writer of its state folder, tells systemd
that it is ready and alive, and ends, so that systemd starts it anew, when journal or disk cannot be trusted any more.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from agent import care, durable
from agent.anchor import Anchor, trust_of, witness_asked
from agent.belief import receipt_keys
from agent.capture import Json, Standing
from agent.clock import Clock, boot_id
from agent.drill import Drill
from agent.errors import AgentError, ConfigError, DeviceError, JournalError, SpoolFull
from agent.forward import Forward
from agent.gate import Gate
from agent.ingest import Ingest, Screening, no_drill
from agent.joining import Announcing, Joining
from agent.journal import Desk, Event, Journal, copies
from agent.journal.owing import Destinations
from agent.power import Power
from agent.presence import Presence, clocks_set
from agent.process import Ending, first_of, locked, tell_systemd
from agent.reading.reader import Reader
from agent.registry import Equipment, equip
from agent.release import TODO, Program, Proving, Release, believed_logs, compared, trusted
from agent.reload import Crew, Reloads, prints, renewal
from agent.repairs import Raised, repair
from agent.spool import Spool
from agent.starting import begun, check_epoch, config_claims, started
from agent.station.answering import answering
from agent.station.troubles import Troubles, told_by
from agent.supervising import alive, clock_kept, clock_watched, hear, housekept, probed, receipts_come, supervised
from agent.traffic import class_of
from agent.uplink import Probes, ReceiptsLater

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Coroutine, Hashable, Iterable, Iterator, Mapping, Sequence

    from agent.broker import Broker
    from agent.capture import Capture, Device, Digest, Holding, Observation, Origin
    from agent.config import Config
    from agent.driver import Readable
    from agent.note import Verifier
    from agent.reload import Renewal

__all__ = ["Agent"]


class Agent:
    """The daemon of one station."""

    def __init__(self, config: Config, *, reread: Callable[[], Config] | None = None) -> None:
        """`reread`: reads the configuration again, on SIGHUP."""
        self.config = config
        self.equipment: Equipment = equip(config)
        self._reread, self._reloads, self._reload_asked = reread, Reloads(), asyncio.Event()
        self._prints = prints(self.equipment)
        keys = self._receipt_keys = receipt_keys(self.equipment, config)
        self._trust = trust_of(config)
        self.clock = Clock()
        self.started_at = datetime.now(UTC)
        self._ending = Ending()
        self._log = structlog.get_logger("agent")
        state, station = config.station.state, config.station
        self.desk = Desk(lambda: Journal.open(state / "journal.db", log=station.log, stamp=self.clock.stamp))
        room, boot = config.spool, boot_id()
        try:
            durable.make_folder(state)
            self.spool = Spool(state / "spool", watermark=room.watermark, read_back=room.read_back, boot_id=boot)
        except OSError as error:
            raise durable.unwritable("station.state", f"{state} cannot be used", error) from error
        self._reader = Reader()
        self.ingest = Ingest(
            self.desk,
            self.spool,
            on_held=self._held,
            on_damage=self._ending.damaged,
            classify=lambda capture: class_of(self.gate.traffic, capture),
            words=self._reader.words,
            on_begun=self._reader.expect,
            twice=lambda device: self.presence.twice(device.id),
        )
        self.raised = Raised()
        self._troubles = Troubles()
        drivers = {loaded.options.name: loaded.driver for loaded in self.equipment.drivers}
        self.presence = Presence(self.desk, self.clock, drivers, sets_clocks=clocks_set(config))
        self.screening = Screening(lambda: (one.driver for one in self.equipment.drivers), self.clock.stamp)
        self.devices = self.presence.devices
        roster = None if config.status is None else config.status.roster_file
        announcing = Announcing(self.desk, station.name, self.ingest.take)
        self.joining = Joining(self.desk, config.context, on_joined=self._held, roster=roster, announcing=announcing)
        self.anchor = Anchor(
            self.desk, config.custody, self._trust, log=station.log, state=state, stamp=self.clock.stamp
        )
        self._program = Program(config.trust)
        self._proving = Proving(witness_asked(config), lambda: self.anchor.policy)
        self.release = Release(
            self.desk,
            self.spool,
            config.policy,
            keys=keys,
            stamp=self.clock.stamp,
            proving=self._proving,
            program=self._program,
        )
        self.gate = Gate(self.desk, config.traffic)
        self.drill = Drill(
            state / "drill",
            station=station.name,
            desk=self.desk,
            spool=self.spool,
            ingest=self.ingest,
            release=self.release,
            uplinks=lambda: {loaded.options.name: loaded.uplink for loaded in self.equipment.uplinks},
            releases=config.policy.device == "release",
        )
        self.power = Power(
            config.power,
            self.desk,
            beside=station.control,
            flush=self.joining.flush,
            mark=self.ingest.mark_ends,
            tell=tell_systemd,
        )
        self.forwards = self._make_forwards(keys, {})
        self.broker: Broker | None = None
        if config.mqtt is not None:
            from agent.broker import Broker  # noqa: PLC0415 - much memory, and few stations have a broker

            self.broker = Broker(self, config.mqtt, keys=lambda: self._receipt_keys)

    def _make_forwards(self, keys: Sequence[Verifier], kept: Mapping[str, Forward]) -> tuple[Forward, ...]:
        """One for each destination, the primary first: a fallback looks at it. `kept`: those that go on, by name."""
        made: list[Forward] = []
        for loaded in sorted(self.equipment.uplinks, key=lambda one: one.options.role != "primary"):
            options = loaded.options
            made.append(
                kept[options.name]
                if options.name in kept
                else Forward(
                    self.desk,
                    self.spool,
                    loaded.uplink,
                    options,
                    keys=keys,
                    gate=self.gate,
                    instead_of=made[0] if options.role == "fallback" else None,
                )
            )
        return tuple(made)

    def _destinations(self) -> Destinations:
        roles = [(loaded.options.name, loaded.options.role) for loaded in self.equipment.uplinks]
        return Destinations(
            all=tuple(name for name, _ in roles),
            copies=tuple(name for name, role in roles if role == "copy"),
            needed=self.config.policy.receipts_from,
        )

    # -- the hand: agent.driver.Intake --------------------------------------------------------------------------------

    async def sight(self, device: Device, /) -> None:
        """See `agent.driver.Intake.sight`."""
        if await self.presence.sight(device):
            self.anchor.nudge()

    async def observe(self, observation: Observation, /) -> None:
        """See `agent.driver.Intake.observe`."""
        # First: what follows waits for the disk, where that has no room, and a car's power does not.
        await self.power.observe(observation)
        if not await self.presence.observe(observation):
            await self.joining.observe(observation)
        if self.presence.settled(observation.device) and self.desk.full is None:
            await self.release.listed(observation)
        hear(self.equipment.drivers, observation)

    async def take(self, offer: Readable, /) -> Standing:
        """See `agent.driver.Intake.take`. What is receipted and still offered may be released here."""
        if (wanted := self.screening.passed(offer)) is None:
            return Standing.UNKNOWN
        offer = wanted
        async with self.power.taking():
            try:
                no_drill(offer.capture.device)
                self.release.offered(offer)
                standing = await self.ingest.take(offer)
            except (DeviceError, SpoolFull) as error:
                self._troubles.not_taken(offer.capture, error)
                if isinstance(error, SpoolFull):
                    self.release.room_is_short()
                raise
            self._troubles.taken(offer.capture)
            may_go = self.power.on and self.desk.full is None and self.presence.settled(offer.capture.device.id)
            if standing is Standing.RECEIPTED and may_go:
                standing = await self.release.consider(offer)
            return standing

    async def recall(self, origin: Origin, /) -> tuple[Digest, ...]:
        """See `agent.driver.Recalls`."""
        return await self.ingest.recall(origin)

    async def set_aside(self, capture: Capture, data: bytes, reason: str, /) -> None:
        """See `agent.driver.SetsAside`."""
        await self.ingest.set_aside(capture, data, reason)

    def _held(self, holding: Holding) -> None:
        self.joining.expect()
        for forward in self.forwards:
            forward.nudge(holding)
        if self.broker is not None:
            self.broker.nudge(holding)

    async def rotate(self, *, finish: bool, actor: str, why: str) -> dict[str, str]:
        """See `agent.station.running.Running.rotate`."""
        if finish:
            known = await asyncio.to_thread(believed_logs, self.config.trust)
            return await self.anchor.finish(known, actor=actor, why=why)
        return await self.anchor.rotate(actor=actor, why=why)

    def announcing(self) -> dict[str, str | bool | None] | None:
        """See `agent.station.running.Running.announcing`."""
        return None if self.broker is None else self.broker.told()

    def troubles(self) -> list[dict[str, str | None]]:
        """See `agent.station.running.Running.troubles`."""
        here = {name for name, seen in self.devices.items() if seen.present}
        own = [*self._of_trust(), *self._reloads.notices(), *self.power.notices(), *told_by(self.equipment.drivers)]
        own += [*self.release.recordings.notices(here), *self.screening.notices()]
        own += () if self.broker is None else self.broker.troubles()
        own += [*self.presence.notices(), *self.ingest.comparing.notices(here)]
        own += care.notices((seen.device for seen in self.devices.values()), self.config.firmware)
        return [*self.anchor.troubles(), *own, *self.gate.troubles(), *self._troubles.notices(here)]

    def _of_trust(self) -> Iterator[dict[str, str | None]]:
        """Whether the program that deletes would do what agent.toml asks for: a person writes what it believes."""
        if self.config.policy.device == "release" and (why := compared(self.config.trust, self.trusted())) is not None:
            yield repair("releaser.trust", "problem", "releaser", why, TODO)

    def trusted(self) -> dict[str, Json]:
        """What the trust file of the program that deletes must say."""
        return trusted(
            trust=self._trust,
            logs=self.anchor.ring.verifiers,
            asked=self._proving.asked,
            receipt_keys=self._receipt_keys,
        )

    # -- the life of the process --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. Raises `JournalError` or `SpoolDamaged` where no promise can be given."""
        self._ending.listen()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload_asked.set)
        with locked(self.config.station.state):
            async with AsyncExitStack() as stack:
                stack.callback(self.spool.close)
                check_epoch(self.config)
                await self.desk.open()
                stack.push_async_callback(self.desk.close)
                await self.anchor.start()
                stack.push_async_callback(self._program.aclose)
                stack.push_async_callback(self._reader.aclose)
                stack.push_async_callback(self._close_uplinks)
                if not await begun(self, self._begin(), self._ending):
                    return
                self.desk.on_broken = self._ending.broken
                await self._work()
                with suppress(JournalError):
                    await self.joining.flush()
                    await self.desk.write(lambda journal: journal.record(Event.AGENT_STOPPED, {}))

    async def _begin(self) -> None:
        await self.desk.write(lambda journal: started(journal, self.config))
        await self.joining.start()
        await self.desk.write(lambda journal: copies.settle(journal, self._destinations()))
        await self.ingest.recover()
        await self.release.recover()

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as group, answering(self) as control:
                crew = Crew(group)
                crew.begin(self._jobs(frozenset(self._prints), self.forwards))
                tasks = [group.create_task(self.gate.run())]
                tasks.append(group.create_task(self._reloading(crew)))
                rooms = (
                    self.release.run(),
                    self.anchor.run(),
                    self.joining.run(),
                    clock_kept(self.clock),
                    self.power.run(),
                    alive(self.desk),
                    clock_watched(self.desk, self.clock),
                    housekept(self.presence, self.anchor),
                )
                tasks += [group.create_task(room) for room in rooms]
                tasks += () if self.broker is None else [group.create_task(self.broker.run(control.live))]
                tell_systemd("READY=1")
                self._log.info("ready", log=self.config.station.log, drivers=len(self.equipment.drivers))
                await self._ending.wait()
                tell_systemd("STOPPING=1")
                self.desk.wait_no_more()
                crew.cancel()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            # Not `except*`: before Python 3.11.4 it wraps what is raised inside it into a group again.
            if (ours := errors.subgroup(AgentError)) is None:
                raise
            raise first_of(ours) from errors

    async def _close_uplinks(self) -> None:
        for loaded in self.equipment.uplinks:
            await loaded.uplink.aclose()

    def _jobs(
        self, begun: Container[tuple[str, str]], forwards: Iterable[Forward]
    ) -> dict[Hashable, Coroutine[None, None, None]]:
        """The work of these drivers and destinations."""
        jobs: dict[Hashable, Coroutine[None, None, None]] = {}
        for driver in self.equipment.drivers:
            if (key := ("driver", driver.options.name)) in begun:
                jobs[key] = supervised(driver, self, self._troubles)
        for forward in forwards:
            jobs["forward", forward.link.name] = forward.run()
        for loaded in self.equipment.uplinks:
            if ("uplink", name := loaded.options.name) in begun and isinstance(loaded.uplink, Probes):
                jobs["probe", name] = probed(loaded.uplink, name)
            if ("uplink", name) in begun and isinstance(loaded.uplink, ReceiptsLater):
                jobs["receipts", name] = receipts_come(loaded, loaded.uplink, self.desk, lambda: self._receipt_keys)
        return jobs

    async def _reloading(self, crew: Crew) -> None:
        """Take up a changed configuration whenever SIGHUP asks for it."""
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            if self._reread is None:
                continue
            tell_systemd("RELOADING=1")
            try:
                new = await asyncio.to_thread(self._reread)
                trust_of(new)
                found = renewal(self.config, self.equipment, self._prints, new, receipt_keys)
            except ConfigError as error:
                self._reloads.refused(error)
            else:
                await self._renew(found, crew)
            tell_systemd("READY=1")

    async def _renew(self, found: Renewal, crew: Crew) -> None:
        """Exchange what changed. Journal and spool stay open; what was promised is kept by them, not by tasks."""
        new, old = found.config, self.config
        if (new.traffic, new.context, new.firmware) != (old.traffic, old.context, old.firmware):
            self.gate.configure(found.config.traffic)
            await self.joining.configure(found.config.context)
            if not found.changes:
                self.config = found.config
                told = {"config": config_claims(self.config)}
                await self.desk.write(lambda journal: journal.record(Event.CONFIG_CHANGED, told))
        if found.changes:
            keys = receipt_keys(found.equipment, found.config)
            ended = {name for word, name in found.ended if word == "uplink"}
            sorts = {loaded.options.name for loaded in found.equipment.uplinks if loaded.options.role == "fallback"}
            goes_on = keys == self._receipt_keys
            kept = {one.link.name: one for one in self.forwards if goes_on and one.link.name not in ended | sorts}
            for key in found.ended:
                await crew.end(key)
            for forward in self.forwards:
                if forward.link.name not in kept:
                    await crew.end(("forward", forward.link.name))
                    forward.close()
            for loaded in self.equipment.uplinks:
                if loaded.options.name in ended:
                    await crew.end(("probe", loaded.options.name))
                    await crew.end(("receipts", loaded.options.name))
                    await loaded.uplink.aclose()
            self.config, self.equipment, self._prints = found.config, found.equipment, found.prints
            self._receipt_keys = keys
            await self._program.aclose()  # started anew, it reads whom to believe again
            self.release.believe(keys)
            drivers = {loaded.options.name: loaded.driver for loaded in self.equipment.drivers}
            self.presence.serve(drivers, sets_clocks=clocks_set(self.config))
            self.forwards = self._make_forwards(keys, kept)
            claims = {"config": config_claims(self.config)}
            await self.desk.write(lambda journal: journal.record(Event.CONFIG_CHANGED, claims))
            await self.desk.write(lambda journal: copies.settle(journal, self._destinations()))
            crew.begin(self._jobs(found.begun, [one for one in self.forwards if one.link.name not in kept]))
        self._reloads.taken(found)
