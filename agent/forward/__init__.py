"""Journal -> uplink -> receipt -> journal: what stands held is sent until the DEMS has proven that it holds it.

The journal is the queue; this room keeps nothing that a restart could lose. It owns every second try: a destination
that does not answer is left alone for a while (full jitter, at most five minutes), a capture that fails by itself
steps aside and does not keep the others waiting, and no count of failures ever drops one.

Whose turn it is, the journal tells (`agent.journal.turns`); what may go now, the gate does (`agent.gate`). A capture
under way gives its place to a more urgent one between two requests, and gives way to it within one (`precedence`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import Standing
from agent.damage import looked_at
from agent.errors import AgentError, BadReceipt, JournalError, NotNow, Refusal, SpoolDamaged, UplinkDown, UplinkRefused
from agent.forward import bundling
from agent.forward.aside import MOMENT, Asides
from agent.forward.belief import believed
from agent.forward.bundling import Bundling
from agent.forward.declined import Declined
from agent.forward.pausing import RETRY_AFTER_MAX, Pausing
from agent.forward.precedence import Precedence
from agent.forward.sending import ForwardSending
from agent.forward.telling import Telling
from agent.forward.unsent import Unsent
from agent.forward.watched import Departure, Link, away_since, kept, make_way
from agent.gate import Gate
from agent.journal import Desk, copies, queries, renewals, turns
from agent.journal.rows import micros
from agent.traffic import Traffic
from agent.uplink import Announces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.capture import Holding, Priority
    from agent.journal import Journal
    from agent.journal.turns import Turn
    from agent.note import Verifier
    from agent.spool import Spool
    from agent.uplink import Uplink, UplinkOptions

__all__ = ["Departure", "Forward", "Link"]

_PAGE: Final = 128
_IDLE: Final = 60.0
TRY: Final = 10.0
"""Seconds for which one capture alone tries whether a destination is back, or what it took on before comes through."""


class Forward:
    """Sends what is held to one destination."""

    def __init__(
        self,
        desk: Desk,
        spool: Spool,
        uplink: Uplink,
        options: UplinkOptions,
        *,
        keys: Sequence[Verifier],
        gate: Gate | None = None,
        instead_of: Forward | None = None,
    ) -> None:
        """`instead_of`: the primary, where this is its fallback."""
        self._desk, self._spool, self._uplink = desk, spool, uplink
        self._keys, self._in_flight = tuple(keys), options.in_flight
        self._options = options
        self._gate = gate or Gate(desk, Traffic())
        self._gate.on_change(self.nudge)
        self._ready: deque[Turn] = deque()
        self._aside = Asides()
        self._news = asyncio.Event()
        self._served: dict[Priority, str] = {}
        self._begun: dict[turns.Begun, None] = {}
        """Recordings that are finished before anything else of their class, in the order in which they were begun."""
        self._places = self._bundles = 0  # requests on their way: a bundle is one, whatever it holds
        self._alone: set[str] = set()  # what failed in a bundle, or fails by itself, goes in none
        self._turn, self._tried_at = 0, 0.0
        self._unsent = Unsent(options.name)
        self.notices = self._unsent.notices
        self._declined = Declined(desk, self._aside, self._unsent, options.name)
        self._log = structlog.get_logger("forward")
        self.departures: dict[str, Departure] = {}
        self._precedence = Precedence(self.departures, self._gate.bucket)
        self._instead_of, self._after = instead_of, options.after
        self._fallbacks: list[Forward] = []
        if instead_of is not None:
            instead_of._fallbacks.append(self)  # noqa: SLF001 - its own kind
        self._queue: set[str] = instead_of._queue if instead_of is not None else set()  # noqa: SLF001 - its own kind
        """What of the queue is under way, here or at the destination that this one serves for."""
        self.link = Link(options.name, role=options.role, network=options.network, serves=options.role == "primary")
        doubt, words = self._declined.doubted, (desk, spool, uplink, self._gate, self._keys, options.name)
        self._bundling = Bundling(*words, precedence=self._precedence, doubt=doubt)
        self._pausing = Pausing(self.link, on_change=self._tell_fallbacks, on=(self._gate.link, self._gate.portal))
        self._telling = Telling(desk, self._gate, self.link, free=self._may_go, tell=self._announced)

    def nudge(self, held: Holding | None = None) -> None:
        """A capture that was just held may be sent. None: the order, or what may go, may have changed."""
        if held is None:
            self._telling.anew()
            if self._options.network and self._pausing.elsewhere((self._gate.link, self._gate.portal)):
                self._aside.back()
        if held is None or self._goes_before(held):
            self._ready.clear()
        self._news.set()

    def _goes_before(self, held: Holding) -> bool:
        """Whether it may belong before what was fetched: by its class, its device, or its recording that was begun."""
        first = self._ready[0].holding if self._ready else held
        new = all(turn.holding.origin.device != held.origin.device for turn in self._ready)
        new = new or turns.begun_of(held) in self._begun
        return held.priority < first.priority or (held.priority == first.priority and new)

    def forgive(self, capture: str) -> None:
        """A person asks to try this one now."""
        self._aside.forgive(capture)
        self._declined.forgive(capture)
        self.link.again_at = 0.0
        self.nudge()

    def close(self) -> None:
        """It sends no more, for another took its place: nobody has to tell it anything."""
        self._gate.forget(self.nudge)
        if self._instead_of is not None and self in self._instead_of._fallbacks:  # noqa: SLF001 - its own kind
            self._instead_of._fallbacks.remove(self)  # noqa: SLF001

    async def run(self) -> None:
        """Send, until cancelled. Raises `JournalError` only."""
        # What was under way when an earlier run was cancelled is not any more.
        self._queue.difference_update(self.departures)
        self.departures.clear()
        self._begun = dict.fromkeys(await self._desk.read(turns.begun_last))
        self._places = self._bundles = 0
        async with asyncio.TaskGroup() as group:
            while True:
                turn = await self._next(group)
                room = self._bundling.room() if self.link.up else None
                together = bundling.suits(turn, self._alone, room)
                going = self.departures.values()
                full = self._places + kept(going, turn.holding, self._in_flight) >= self._in_flight
                if full:
                    make_way(going, turn.holding)
                patience = 0.0 if self.link.up or not self._places else self._tried_at + TRY - monotonic()
                if full or patience > 0 or (together and self._bundles >= bundling.AT_ONCE):
                    self._ready.appendleft(turn)  # it is still the next one, unless news say otherwise
                    await self._wait(_IDLE if full or patience <= 0 else patience)
                    continue
                self._tried_at = monotonic()
                mates = (self._ready, room, self._alone, self._is_free)
                several = bundling.fitting(turn, *mates) if together else [turn]
                self._places, self._bundles = self._places + 1, self._bundles + together
                gone = [self._departs(one, together=together) for one in several]
                group.create_task(self._one(gone[0]) if len(gone) == 1 else self._several(gone))

    def _departs(self, turn: Turn, *, together: bool) -> Departure:
        self._turn += 1
        self._served[turn.holding.priority] = turn.holding.origin.device
        departure = Departure(turn.holding, aged=turn.aged, owed=turn.owed, together=together)
        self.departures[turn.holding.id] = departure
        if (begun := turns.begun_of(turn.holding)) is not None:
            self._begun[begun] = None
        if not turn.owed:
            self._queue.add(turn.holding.id)
        return departure

    def _is_free(self, turn: Turn) -> bool:
        return turn.holding.id not in self._queue and self._may_go(turn.holding.id, monotonic())

    # -- which one ----------------------------------------------------------------------------------------------------

    async def _next(self, group: asyncio.TaskGroup) -> Turn:
        """Wait for the first capture in order that is neither under way nor aside."""
        while True:
            self._news.clear()
            now = monotonic()
            if now < self.link.again_at:
                await self._wait(self.link.again_at - now)
                continue
            if (serves := self._serves(now)) != self.link.serves:
                self.link.serves = serves
                self._ready.clear()
                if serves:
                    self._log.warning("serves", destination=self.link.name)
                else:
                    self._log.warning("serves_no_more", destination=self.link.name)
            while self._ready:
                turn = self._ready.popleft()
                if self._may_go(turn.holding.id, now) and (turn.owed or turn.holding.id not in self._queue):
                    return turn
            if isinstance(self._uplink, Announces) and self.link.serves:
                await self._telling.told(group, busy=self._places > 0)
            self._ready.extend(await self._refill(now))
            if not self._ready:
                soonest = self._aside.soonest(now, now + _IDLE)
                if not self.link.serves and (since := self._primary_down_since()) is not None:
                    soonest = min(soonest, since + self._after)
                await self._wait(min(_IDLE, max(0.01, soonest - now)))

    def _serves(self, now: float) -> bool:
        """Whether this destination is given what stands held."""
        if self.link.role != "fallback":
            return self.link.role == "primary"
        since = self._primary_down_since()
        return since is not None and now - since >= self._after

    def _primary_down_since(self) -> float | None:
        # One that wants a network itself is of no use where there is none.
        offline_since = None if self._options.network else self._gate.offline_since
        return None if self._instead_of is None else away_since(self._instead_of.link, offline_since)

    def _may_go(self, capture: str, now: float) -> bool:
        return capture not in self.departures and self._aside.may_go(capture, now)

    async def _refill(self, now: float) -> list[Turn]:
        """The next page of the queue: those under way or aside are stepped over, however many they are."""
        skip = self.departures.keys() | self._aside.waiting(now)
        traffic = self._gate.traffic
        order = turns.Order(
            classes=self._gate.classes(network=self._options.network),
            newest_first=frozenset(traffic.newest_first),
            served=dict(self._served),
            aged_before=micros(datetime.now(UTC) - traffic.ageing),
            turn=self._turn,
            begun=tuple(self._begun),
        )
        name, queue = self.link.name, skip | self._queue if self.link.serves else None

        def look(journal: Journal) -> tuple[list[Turn], tuple[turns.Begun, ...], list[str]]:
            begun, free = turns.going_on(journal, order.begun, skip if queue is None else queue)
            now = replace(order, begun=free)
            found = [] if queue is None else turns.turns(journal, now, skip=queue, limit=_PAGE)
            found = found or turns.turns(journal, order, skip=skip, limit=_PAGE, owed_to=name)
            return found, begun, self._unsent.gone(journal)

        found, begun, gone = await self._desk.read(look)
        self._unsent.forget(gone)
        self._begun = dict.fromkeys(begun)
        return found

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    # -- one capture --------------------------------------------------------------------------------------------------

    async def _announced(self, holding: Holding) -> bool:
        """Tell of one whose bytes may not go yet. Whether nothing is left to tell."""
        self.departures[holding.id] = departure = Departure(holding, content=False)
        await self._one(departure)
        return not self._aside.knows(holding.id)

    async def _one(self, departure: Departure) -> None:
        holding = departure.holding
        try:
            await self._try(departure)
        except JournalError:
            raise
        except Refusal as error:
            # Meanwhile a person decided something else, and that stands.
            self._log.info("overtaken", capture=holding.id, reason=str(error))
        except Exception as error:  # noqa: BLE001 - whatever one capture makes an uplink do, the others are sent
            self._aside.step(holding.id, monotonic())
            self._unsent.failed(holding.id, error)
        finally:
            if not self._aside.knows(holding.id):  # one that failed by itself would take others with it
                self._alone.discard(holding.id)
            self._ended(departure)

    def _ended(self, *departures: Departure) -> None:
        self._places -= departures[0].content
        if departures[0].together:
            self._bundles -= 1
            self._ready.clear()  # what came meanwhile goes together
        for one in departures:
            del self.departures[one.holding.id]
            if one.content:
                self._queue.discard(one.holding.id)
        self._news.set()

    async def _several(self, departures: Sequence[Departure]) -> None:
        """Small ones in one request. Whatever of it fails for one alone, that one finds out by itself afterwards."""
        round_, alone = self._pausing.round, {one.holding.id for one in departures}
        try:
            alone -= (done := await self._bundling.brought(departures))
            self._aside.through(*done)
            self._recovered()
        except NotNow as error:
            self._log.debug("bundle_waits", captures=len(departures), reason=str(error))
            alone = set() if any(one.give_way for one in departures) else alone
        except UplinkDown as error:
            if not any(self._is_its_own(one, error) for one in departures):
                alone = set()
                for one in departures:
                    self._aside.step(one.holding.id, monotonic())
                self._pausing.failed(error, round_, advanced=False)
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, each by itself may do better
            self._log.error("bundle_failed", error=repr(error), captures=len(departures), todo=AgentError.hint)
        finally:
            self._alone |= alone
            self._ended(*departures)

    async def _try(self, departure: Departure) -> None:
        round_, holding = self._pausing.round, departure.holding
        try:
            await self._send(departure)
        except NotNow as error:
            self._log.debug("waits", capture=holding.id, confirmed=departure.confirmed, reason=str(error))
        except UplinkDown as error:
            self._alone |= {holding.id} if (own := self._is_its_own(departure, error)) else set()
            now, anew = monotonic(), departure.advanced
            aside = self._aside.step(holding.id, now, anew=anew, own=own, alone=error.alone)
            if aside.fails_long(now):
                self._unsent.failed(holding.id, error)
            if not own and not error.alone:
                self._pausing.failed(error, round_, advanced=departure.advanced)
                aside.until = max(aside.until, self.link.again_at + MOMENT)
            elif error.retry_after is not None:
                aside.until = max(aside.until, now + min(error.retry_after, RETRY_AFTER_MAX))
        except UplinkRefused as error:
            await self._declined.refused(holding, error, owed=departure.owed)
        except BadReceipt as error:
            await self._declined.doubted(holding, str(error), owed=departure.owed)
        except SpoolDamaged as error:
            await self._look_at_spool(holding, error)

    async def _send(self, departure: Departure) -> None:
        name, holding = self.link.name, departure.holding
        current, state, owed = await self._desk.read(
            lambda journal: (
                journal.get(holding.id),
                queries.recall(journal, holding.id, name),
                departure.owed and copies.owes(journal, holding.id, name),
            )
        )
        if not owed if departure.owed else current.standing is not Standing.HELD:
            return
        waits, state = self._declined.said_before(holding, state, owed=departure.owed)
        if waits:
            return
        words = (self._spool, self._desk, self._gate, self._precedence, departure)
        sending = ForwardSending(*words, to=self._options, state=state, served=self._recovered)
        try:
            if not departure.content and isinstance(self._uplink, Announces):
                await self._uplink.announce(sending)
                self._recovered()
                return
            receipt = await self._uplink.send(sending)
        finally:
            await sending.settle()
        proven = believed(holding, receipt, self._keys, self.link.name, now=datetime.now(UTC))

        def act(journal: Journal) -> None:
            if departure.owed:
                copies.copied(journal, holding.id, proven)
            else:
                journal.receipt(holding.id, proven)
            renewals.settled(journal, holding.id, name)

        await self._desk.write(act)
        self._aside.through(holding.id)
        self._unsent.sent(holding.id)
        self._recovered()
        self._log.debug("receipted", capture=holding.id, strength=proven.strength.name.lower())

    async def _look_at_spool(self, holding: Holding, error: SpoolDamaged) -> None:
        """Is the kept file still what its name says? If not it is set aside, and taken again if it is offered."""
        self._aside.step(holding.id, monotonic())
        self._log.error("spool_damaged", capture=holding.id, error=str(error), todo=error.what_to_do)
        await looked_at(self._desk, self._spool, holding)

    # -- when again ---------------------------------------------------------------------------------------------------

    def _tell_fallbacks(self) -> None:
        for fallback in self._fallbacks:
            fallback.nudge()

    def _is_its_own(self, departure: Departure, error: UplinkDown) -> bool:
        """Whether it tells nothing of the destination, which takes others, and this one not for the third time."""
        told = error.retry_after is not None or departure.advanced
        return not told and self._aside.fails_alone(departure.holding.id, up=self.link.up)

    def _recovered(self) -> None:
        if self._pausing.served():
            self._aside.back()
            self._news.set()
