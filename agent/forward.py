"""Journal -> uplink -> receipt -> journal: what stands held is sent until the DEMS has proven that it holds it.

The journal is the queue; this room keeps nothing that a restart could lose. It owns every second try: a destination
that does not answer is left alone for a while (full jitter, at most five minutes), a capture that fails by itself
steps aside and does not keep the others waiting, and no count of failures ever drops one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from tenacity import RetryCallState, wait_random_exponential

from agent.capture import PART_LENGTH, Priority, Receipt, Standing, Strength
from agent.custody.receipt import check_receipt
from agent.errors import AgentError, BadReceipt, JournalError, Refusal, SpoolDamaged, UplinkDown, UplinkRefused
from agent.journal import Desk, queries
from agent.sides import Sides

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from agent.capture import Holding
    from agent.note import Verifier
    from agent.spool import Spool
    from agent.uplink import Uplink

__all__ = ["PAUSE_MAX", "Departure", "Forward", "Link"]

PAUSE_MAX: Final = 300.0
"""Seconds that we wait at most before trying a destination again on our own account."""

_RETRY_AFTER_MAX: Final = 3600.0
_PAGE: Final = 64
_IDLE: Final = 60.0
_DOUBTS_MAX: Final = 3
_CLOCKS_DIFFER: Final = timedelta(days=1)


@dataclass(slots=True)
class Departure:
    """One capture on its way, for whoever watches."""

    holding: Holding
    confirmed: int = 0
    resumed_at: int | None = None


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
        self, desk: Desk, spool: Spool, uplink: Uplink, *, name: str, in_flight: int, keys: Sequence[Verifier]
    ) -> None:
        self._desk, self._spool, self._uplink = desk, spool, uplink
        self._keys = tuple(keys)
        self._in_flight = in_flight
        self._places = asyncio.Semaphore(in_flight)
        self._ready: deque[Holding] = deque()
        self._aside: dict[str, _Aside] = {}
        self._news = asyncio.Event()
        self._failures = 0
        self._round = 0
        self._failing = Sides()
        self._log = structlog.get_logger("forward")
        self.departures: dict[str, Departure] = {}
        self.link = Link(name)

    def nudge(self, priority: Priority | None = None) -> None:
        """Something may be ready to be sent. None: the order may have changed."""
        if priority is None or (self._ready and priority < self._ready[0].priority):
            self._ready.clear()
        self._news.set()

    def forgive(self, capture: str) -> None:
        """A person asks to try this one now."""
        self._aside.pop(capture, None)
        self.link.again_at = 0.0
        self.nudge()

    async def run(self) -> None:
        """Send, until cancelled. Raises `JournalError` only."""
        # What was under way when an earlier run was cancelled is not any more.
        self.departures.clear()
        self._places = asyncio.Semaphore(self._in_flight)
        async with asyncio.TaskGroup() as group:
            while True:
                await self._places.acquire()
                holding = await self._next()
                self.departures[holding.id] = Departure(holding)
                group.create_task(self._one(holding))

    # -- which one ----------------------------------------------------------------------------------------------------

    async def _next(self) -> Holding:
        """Wait for the first capture in order that is neither under way nor aside."""
        while True:
            self._news.clear()
            now = monotonic()
            if now < self.link.again_at:
                await self._wait(self.link.again_at - now)
                continue
            while self._ready:
                holding = self._ready.popleft()
                if self._may_go(holding.id, now):
                    return holding
            self._ready.extend(await self._refill(now))
            if not self._ready:
                soonest = min((aside.until for aside in self._aside.values()), default=now + _IDLE)
                await self._wait(min(_IDLE, max(0.01, soonest - now)))

    def _may_go(self, capture: str, now: float) -> bool:
        aside = self._aside.get(capture)
        return capture not in self.departures and (aside is None or aside.until <= now)

    async def _refill(self, now: float) -> list[Holding]:
        """The next page of the queue that has anything to send: those aside are stepped over, however many they are."""
        after = (-1, -1)
        while True:
            page = await self._desk.read(lambda journal, after=after: queries.queue(journal, _PAGE, after))  # type: ignore[misc]
            if not page:
                return []
            if ready := [holding for holding in page if self._may_go(holding.id, now)]:
                return ready
            after = (int(page[-1].priority), page[-1].index)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    # -- one capture --------------------------------------------------------------------------------------------------

    async def _one(self, holding: Holding) -> None:
        try:
            await self._try(holding)
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
            self._places.release()
            self._news.set()

    async def _try(self, holding: Holding) -> None:
        round_ = self._round
        try:
            await self._send(holding)
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

    async def _send(self, holding: Holding) -> None:
        name = self.link.name
        current, state = await self._desk.read(
            lambda journal: (journal.get(holding.id), queries.recall(journal, holding.id, name))
        )
        if current.standing is not Standing.HELD:
            return
        departure = self.departures[holding.id]
        sending = _Sending(holding, self._spool, self._desk, destination=name, state=state, departure=departure)
        receipt = await self._uplink.send(sending)
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
        pause = _jitter(self._failures)
        if error.retry_after is not None:
            pause = max(pause, min(error.retry_after, _RETRY_AFTER_MAX))
        self.link.again_at = monotonic() + pause
        if self.link.up:
            self._log.warning("destination_down", destination=self.link.name, error=str(error), todo=error.what_to_do)
        self.link.up, self.link.problem, self.link.todo = False, str(error), error.what_to_do

    def _recovered(self) -> None:
        self._failures = 0
        if not self.link.up:
            self._log.info("destination_up", destination=self.link.name)
            self.link.up, self.link.problem, self.link.todo = True, None, None
            # What stepped aside because the destination was down need not wait for its own turn.
            for aside in self._aside.values():
                if not aside.doubts:
                    aside.until = 0.0


class _Sending:
    """See `agent.uplink.Sending`."""

    def __init__(
        self, holding: Holding, spool: Spool, desk: Desk, *, destination: str, state: str | None, departure: Departure
    ) -> None:
        self._holding, self._spool, self._desk = holding, spool, desk
        self._destination, self._state, self._departure = destination, state, departure

    @property
    def holding(self) -> Holding:
        return self._holding

    def blocks(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        return self._spool.blocks(self._holding.digest.sha256, offset, length)

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
    """Full jitter: anything from nothing to 2^tries seconds, at most PAUSE_MAX."""
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = tries
    return wait_random_exponential(multiplier=1, max=PAUSE_MAX)(state)
