"""Journal -> uplink -> receipt -> journal: what stands held is sent until the DEMS has proven that it holds it.

The journal is the queue; this room keeps nothing that a restart could lose. It owns every second try: a destination
that does not answer is left alone for a while (full jitter, at most five minutes), a capture that fails by itself
steps aside and does not keep the others waiting, and no count of failures ever drops one.

Whose turn it is, the journal tells (`agent.journal.turns`); what may go now, the gate does (`agent.gate`). A capture
that is under way gives its place to a more urgent one between two requests, never within one.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from tenacity import RetryCallState, wait_random_exponential

from agent.capture import PART_LENGTH, Receipt, Standing, Strength
from agent.custody.receipt import check_receipt
from agent.errors import AgentError, BadReceipt, JournalError, NotNow, Refusal, SpoolDamaged, UplinkDown, UplinkRefused
from agent.gate import Gate
from agent.journal import Desk, queries, turns
from agent.journal.rows import micros
from agent.sides import Sides
from agent.traffic import Traffic
from agent.uplink import Announces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from agent.capture import Holding, Priority
    from agent.gate import Charge
    from agent.journal.turns import Turn
    from agent.note import Verifier
    from agent.spool import Spool
    from agent.uplink import Uplink

__all__ = ["PAUSE_MAX", "STABLE", "Departure", "Forward", "Link"]

PAUSE_MAX: Final = 300.0
"""Seconds that we wait at most before trying a destination again on our own account."""

FIRST_PAUSE: Final = 4
"""The first pause of a destination lasts as long as the fourth of a capture, eight seconds at most: stations that lost
a DEMS together must not come back together."""

STABLE: Final = 60.0
"""Seconds that a destination must serve us before its earlier failures are forgotten."""

_RETRY_AFTER_MAX: Final = 3600.0
_PAGE: Final = 64
_IDLE: Final = 60.0
_DOUBTS_MAX: Final = 3
_AGED_REQUESTS: Final = 4
"""Requests for which one that waited too long keeps its place, whatever else comes."""
_CLOCKS_DIFFER: Final = timedelta(days=1)


@dataclass(slots=True)
class Departure:
    """One capture on its way, for whoever watches."""

    holding: Holding
    confirmed: int = 0
    resumed_at: int | None = None
    aged: bool = False
    """It goes because it has waited too long."""
    requests: int = 0
    give_way: bool = False
    """Another one goes first: this one leaves before its next request."""


@dataclass(slots=True)
class Link:
    """How the destination is, for whoever watches."""

    name: str
    up: bool = True
    problem: str | None = None
    todo: str | None = None
    again_at: float = 0.0
    """On the monotonic clock."""


@dataclass(slots=True)
class _Aside:
    tries: int
    until: float
    doubts: int = 0


class Forward:
    """Sends what is held to one destination."""

    def __init__(
        self,
        desk: Desk,
        spool: Spool,
        uplink: Uplink,
        *,
        name: str,
        in_flight: int,
        keys: Sequence[Verifier],
        gate: Gate | None = None,
    ) -> None:
        self._desk, self._spool, self._uplink = desk, spool, uplink
        self._keys = tuple(keys)
        self._in_flight = in_flight
        self._gate = gate or Gate(desk, Traffic())
        self._gate.on_change(self.nudge)
        self._ready: deque[Turn] = deque()
        self._aside: dict[str, _Aside] = {}
        self._news = asyncio.Event()
        self._served: dict[Priority, str] = {}
        self._turn = 0
        self._told = -1
        self._failures = 0
        self._up_since = -STABLE
        self._round = 0
        self._failing = Sides()
        self._log = structlog.get_logger("forward")
        self.departures: dict[str, Departure] = {}
        self.link = Link(name)

    def nudge(self, held: Holding | None = None) -> None:
        """A capture that was just held may be sent. None: the order, or what may go, may have changed."""
        if held is None:
            self._told = -1
        if held is None or self._goes_before(held):
            self._ready.clear()
        self._news.set()

    def _goes_before(self, held: Holding) -> bool:
        """Whether it may belong before something that was fetched already: by its class, or as its device's first."""
        first = self._ready[0].holding if self._ready else held
        new = all(turn.holding.origin.device != held.origin.device for turn in self._ready)
        return held.priority < first.priority or (held.priority == first.priority and new)

    def forgive(self, capture: str) -> None:
        """A person asks to try this one now."""
        self._aside.pop(capture, None)
        self.link.again_at = 0.0
        self.nudge()

    async def run(self) -> None:
        """Send, until cancelled. Raises `JournalError` only."""
        # What was under way when an earlier run was cancelled is not any more.
        self.departures.clear()
        async with asyncio.TaskGroup() as group:
            while True:
                turn = await self._next()
                if len(self.departures) >= self._in_flight:
                    self._make_way(turn.holding)
                    self._ready.appendleft(turn)  # it is still the next one, unless news say otherwise
                    await self._wait(_IDLE)
                    continue
                self._turn += 1
                self._served[turn.holding.priority] = turn.holding.origin.device
                departure = self.departures[turn.holding.id] = Departure(turn.holding, aged=turn.aged)
                group.create_task(self._one(departure))

    # -- which one ----------------------------------------------------------------------------------------------------

    async def _next(self) -> Turn:
        """Wait for the first capture in order that is neither under way nor aside."""
        while True:
            self._news.clear()
            now = monotonic()
            if now < self.link.again_at:
                await self._wait(self.link.again_at - now)
                continue
            while self._ready:
                turn = self._ready.popleft()
                if self._may_go(turn.holding.id, now):
                    return turn
            await self._tell_of_those_who_wait()
            self._ready.extend(await self._refill(now))
            if not self._ready:
                soonest = min((aside.until for aside in self._aside.values()), default=now + _IDLE)
                await self._wait(min(_IDLE, max(0.01, soonest - now)))

    def _may_go(self, capture: str, now: float) -> bool:
        aside = self._aside.get(capture)
        return capture not in self.departures and (aside is None or aside.until <= now)

    async def _refill(self, now: float) -> list[Turn]:
        """The next page of the queue: those under way or aside are stepped over, however many they are."""
        skip = self.departures.keys() | {name for name, aside in self._aside.items() if aside.until > now}
        traffic = self._gate.traffic
        order = turns.Order(
            classes=self._gate.classes(),
            newest_first=frozenset(traffic.newest_first),
            served=dict(self._served),
            aged_before=micros(datetime.now(UTC) - traffic.ageing),
            turn=self._turn,
        )
        return await self._desk.read(lambda journal: turns.turns(journal, order, skip=skip, limit=_PAGE))

    def _make_way(self, holding: Holding) -> None:
        """All places are taken: ask the least urgent for its own, if it is less urgent or its device has several."""
        going = [one for one in self.departures.values() if one.requests > _AGED_REQUESTS or not one.aged]
        if any(one.give_way for one in going):
            return
        lanes = Counter(one.holding.origin.device for one in self.departures.values())
        last = max(going, key=lambda one: (one.holding.priority, lanes[one.holding.origin.device]), default=None)
        if last is None or last.holding.priority < holding.priority:
            return
        shares = lanes[last.holding.origin.device] > 1 and not lanes[holding.origin.device]
        last.give_way = last.holding.priority > holding.priority or shares

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    # -- one capture --------------------------------------------------------------------------------------------------

    async def _tell_of_those_who_wait(self) -> None:
        """Let the DEMS know of captures whose bytes may not go yet, where it can be told; one page at a time."""
        classes = self._gate.told_classes() if isinstance(self._uplink, Announces) else ()
        if not classes or len(self.departures) >= self._in_flight:
            return
        after, name = self._told, self.link.name
        page = await self._desk.read(lambda journal: turns.untold(journal, name, classes, after=after, limit=_PAGE))
        for holding in page:
            self._told = holding.index
            if self._may_go(holding.id, monotonic()):
                self.departures[holding.id] = departure = Departure(holding)
                await self._one(departure, content=False)
                if monotonic() < self.link.again_at:
                    return

    async def _one(self, departure: Departure, *, content: bool = True) -> None:
        holding = departure.holding
        try:
            await self._try(departure, content=content)
        except JournalError:
            raise
        except Refusal as error:
            # Meanwhile a person decided something else, and that stands.
            self._log.info("overtaken", capture=holding.id, reason=str(error))
        except Exception as error:  # noqa: BLE001 - whatever one capture makes an uplink do, the others are sent
            self._step_aside(holding)
            todo = error.what_to_do if isinstance(error, AgentError) else AgentError.hint
            self._failing.broke(holding.id, repr(error), self._log.error, "not_sent", capture=holding.id, todo=todo)
        finally:
            del self.departures[holding.id]
            self._news.set()

    async def _try(self, departure: Departure, *, content: bool) -> None:
        round_, holding = self._round, departure.holding
        try:
            await self._send(departure, content=content)
        except NotNow as error:
            self._log.debug("waits", capture=holding.id, confirmed=departure.confirmed, reason=str(error))
        except UplinkDown as error:
            aside = self._step_aside(holding)
            if not error.alone:
                self._pause(error, round_)
            elif error.retry_after is not None:
                aside.until = max(aside.until, monotonic() + min(error.retry_after, _RETRY_AFTER_MAX))
        except UplinkRefused as error:
            reason = str(error)
            await self._desk.write(lambda journal: journal.refuse(holding.id, reason))
            self._log.error("refused", capture=holding.id, reason=str(error), todo=error.what_to_do)
        except BadReceipt as error:
            await self._doubt(holding, str(error))
        except SpoolDamaged as error:
            await self._look_at_spool(holding, error)

    async def _send(self, departure: Departure, *, content: bool) -> None:
        name, holding = self.link.name, departure.holding
        current, state = await self._desk.read(
            lambda journal: (journal.get(holding.id), queries.recall(journal, holding.id, name))
        )
        if current.standing is not Standing.HELD:
            return
        sending = _Sending(self._spool, self._desk, self._gate, destination=name, state=state, departure=departure)
        try:
            if not content and isinstance(self._uplink, Announces):
                await self._uplink.announce(sending)
                self._recovered()
                return
            receipt = await self._uplink.send(sending)
        finally:
            await sending.settle()
        proven = self._believe(holding, receipt)
        await self._desk.write(lambda journal: journal.receipt(holding.id, proven))
        self._aside.pop(holding.id, None)
        self._failing.works(holding.id, self._log.info, "sent_after_all", capture=holding.id)
        self._recovered()
        self._log.debug("receipted", capture=holding.id, strength=proven.strength.name.lower())

    def _believe(self, holding: Holding, receipt: Receipt) -> Receipt:
        """The receipt as far as it proves anything; raises `BadReceipt` where it proves the contrary."""
        digest = holding.digest
        if receipt.strength is Strength.SIGNED and receipt.note is not None and self._keys:
            check_receipt(
                receipt.note,
                self._keys,
                capture=holding.id,
                sha256=digest.sha256,
                length=digest.length,
                log=holding.log,
                index=holding.index,
                # Two clocks that nobody compared may differ by a day; a receipt from before it was held is another's.
                not_before=holding.held_at - _CLOCKS_DIFFER,
            )
            return Receipt(Strength.SIGNED, self.link.name, digest.length, digest.sha256, receipt.note)
        if receipt.length != digest.length:
            raise BadReceipt(f"the DEMS confirms {receipt.length} bytes of a capture of {digest.length}")
        if receipt.sha256 is not None and receipt.sha256 != digest.sha256:
            raise BadReceipt(f"the DEMS holds bytes with SHA-256 {receipt.sha256.hex()}, and not this capture")
        strength = Strength.DIGEST if receipt.strength is Strength.DIGEST and receipt.sha256 else Strength.LENGTH
        return Receipt(strength, self.link.name, digest.length, receipt.sha256)

    async def _doubt(self, holding: Holding, reason: str) -> None:
        """What came as a receipt proves nothing. Sent anew a few times; then a person must look."""
        aside = self._step_aside(holding)
        aside.doubts += 1
        self._log.error("bad_receipt", capture=holding.id, reason=reason, todo=BadReceipt.hint)
        await self._desk.write(lambda journal: queries.remember(journal, holding.id, self.link.name, None))
        if aside.doubts >= _DOUBTS_MAX:
            await self._desk.write(
                lambda journal: journal.quarantine(holding.id, f"its receipt was bad {_DOUBTS_MAX} times: {reason}")
            )

    async def _look_at_spool(self, holding: Holding, error: SpoolDamaged) -> None:
        """Is the kept file still what its name says? If not it is set aside, and taken again if it is offered."""
        self._step_aside(holding)
        self._log.error("spool_damaged", capture=holding.id, error=str(error), todo=error.what_to_do)
        sha256, length = holding.digest.sha256, holding.digest.length
        if await self._spool.run(self._spool.length, sha256) is not None:
            if await self._spool.run(self._spool.sha256_now, sha256) == sha256:
                return
            part = await self._spool.run(self._spool.set_kept_aside, sha256)
            reason = f"it lay in the spool as {sha256.hex()} of {length} bytes and is that no longer"
            await self._desk.write(
                lambda journal: journal.quarantine_part(part.digest, reason, origin=holding.origin.token, about={})
            )
        await self._desk.write(lambda journal: journal.lose(holding.id))

    # -- when again ---------------------------------------------------------------------------------------------------

    def _step_aside(self, holding: Holding) -> _Aside:
        aside = self._aside.setdefault(holding.id, _Aside(0, 0.0))
        aside.tries += 1
        aside.until = monotonic() + _jitter(aside.tries)
        return aside

    def _pause(self, error: UplinkDown, round_: int) -> None:
        """Leave the destination alone. Those that failed together count once."""
        if round_ != self._round:
            return
        self._round += 1
        self._failures += 1
        pause = _jitter(self._failures + FIRST_PAUSE - 1)
        if error.retry_after is not None:
            pause = max(pause, min(error.retry_after, _RETRY_AFTER_MAX))
        self.link.again_at = monotonic() + pause
        if self.link.up:
            self._log.warning("destination_down", destination=self.link.name, error=str(error), todo=error.what_to_do)
        self.link.up, self.link.problem, self.link.todo = False, str(error), error.what_to_do

    def _recovered(self) -> None:
        if self.link.up and monotonic() - self._up_since >= STABLE:
            self._failures = 0
        if not self.link.up:
            self._up_since = monotonic()
            self._log.info("destination_up", destination=self.link.name)
            self.link.up, self.link.problem, self.link.todo = True, None, None
            # What stepped aside because the destination was down need not wait for its own turn.
            for aside in self._aside.values():
                if not aside.doubts:
                    aside.until = 0.0


class _Sending:
    """See `agent.uplink.Sending`."""

    def __init__(
        self, spool: Spool, desk: Desk, gate: Gate, *, destination: str, state: str | None, departure: Departure
    ) -> None:
        self._holding, self._spool, self._desk, self._gate = departure.holding, spool, desk, gate
        self._destination, self._state, self._departure = destination, state, departure
        self._charge: Charge | None = None

    @property
    def holding(self) -> Holding:
        return self._holding

    def blocks(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        return self._spool.blocks(self._holding.digest.sha256, offset, length)

    async def turn(self, length: int, /) -> None:
        if self._departure.give_way:
            raise NotNow("another capture goes first")
        await self.settle()
        self._charge = await self._gate.admit(self._holding.priority, length)
        self._departure.requests += 1

    async def outgoing(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        charge, self._charge = self._charge, None
        bucket, unsent = self._gate.bucket, length
        try:
            async with aclosing(self._spool.blocks(self._holding.digest.sha256, offset, length)) as blocks:
                async for block in blocks:
                    at = 0
                    while at < len(block):
                        piece = bucket.piece(len(block) - at)
                        await bucket.take(piece)
                        unsent -= piece
                        yield block[at : at + piece] if piece < len(block) else block
                        at += piece
        finally:
            if charge is not None:
                await self._gate.settle(charge, unsent)

    async def settle(self) -> None:
        """Give back what was counted for a request that never came to its bytes."""
        charge, self._charge = self._charge, None
        if charge is not None:
            await self._gate.settle(charge, charge.length)

    async def sha256_through(self, offset: int, /) -> bytes:
        if offset == self._holding.digest.length:
            return self._holding.digest.sha256
        if self._holding.parts and offset and offset % PART_LENGTH == 0:
            end = 32 * (offset // PART_LENGTH)
            return self._holding.parts.through[end - 32 : end]
        return await self._spool.run(self._spool.sha256_of_first, self._holding.digest.sha256, offset)

    def recall(self) -> str | None:
        return self._state

    async def remember(self, state: str | None, /) -> None:
        self._state = state
        await self._desk.write(lambda journal: queries.remember(journal, self._holding.id, self._destination, state))

    def progress(self, offset: int, /) -> None:
        if self._departure.resumed_at is None:
            self._departure.resumed_at = offset
        self._departure.confirmed = offset


def _jitter(tries: int) -> float:
    """Full jitter: anything from nothing to 2^(tries-1) seconds, at most PAUSE_MAX."""
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = tries
    return wait_random_exponential(multiplier=1, max=PAUSE_MAX)(state)
