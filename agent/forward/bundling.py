"""Small captures that follow each other in the queue go together, where the receiver takes several in one request.

Nothing of the order changes: a bundle is what would go next anyway, of one class. What comes back is verified and
journaled for each capture by itself; one that got no receipt is sent alone, where its trouble is found out and named.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from agent.errors import BadReceipt, NotNow, Refusal
from agent.forward.belief import believed
from agent.journal import queries
from agent.uplink import Bundles

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping, Sequence

    from agent.capture import Holding, Receipt
    from agent.forward.precedence import Precedence
    from agent.forward.watched import Departure
    from agent.gate import Charge, Gate
    from agent.journal import Desk, Journal
    from agent.journal.turns import Turn
    from agent.note import Verifier
    from agent.spool import Spool
    from agent.uplink import BundleRoom, Uplink

__all__ = ["AT_ONCE", "BundleSending", "Bundling", "fitting", "suits"]

AT_ONCE: Final = 2
"""Bundles on their way at once: one is read or journaled while the other is on the wire or at the receiver's disk."""
SMALL: Final = 256 * 1024
"""Bytes of a capture that goes with others; the round trip of a longer one is small beside its bytes."""


def suits(turn: Turn, alone: Container[str], room: BundleRoom | None) -> bool:
    """Whether a capture may go with others. A drill may not: it is asked for again at its own address."""
    holding = turn.holding
    if room is None:
        return False
    length = holding.digest.length
    small = 0 < length <= min(SMALL, room.length) and not turn.owed
    return small and not holding.drill and holding.id not in alone


def fitting(
    first: Turn, ready: deque[Turn], room: BundleRoom | None, alone: Container[str], free: Callable[[Turn], bool]
) -> list[Turn]:
    """Take those out of `ready` that follow the first one at once and go with it."""
    found, length = [first], first.holding.digest.length
    while room is not None and ready and len(found) < room.captures:
        turn = ready[0]
        length += turn.holding.digest.length
        same = turn.holding.priority == first.holding.priority and suits(turn, alone, room)
        if not same or length > room.length or not free(turn):
            break
        found.append(ready.popleft())
    return found


class Bundling:
    """Brings small captures together to one destination."""

    def __init__(
        self,
        desk: Desk,
        spool: Spool,
        uplink: Uplink,
        gate: Gate,
        keys: Sequence[Verifier],
        destination: str,
        *,
        precedence: Precedence,
        doubt: Callable[[Holding, str], Awaitable[None]],
    ) -> None:
        """`doubt` is told of a receipt that proves nothing."""
        self._desk, self._spool, self._gate, self._doubt = desk, spool, gate, doubt
        self._precedence = precedence
        self._uplink = uplink if isinstance(uplink, Bundles) else None
        self._keys, self._destination = keys, destination
        self._log = structlog.get_logger("forward")

    def room(self) -> BundleRoom | None:
        """What one request may bring now; None: each goes by itself."""
        return None if self._uplink is None else self._uplink.bundle_room

    async def brought(self, departures: Sequence[Departure]) -> set[str]:
        """Bring them; the ids of those of which nothing is left to do. Raises `UplinkDown`, `NotNow`."""
        if self._uplink is None:
            return set()
        ids, name = [one.holding.id for one in departures], self._destination
        fresh = await self._desk.read(lambda journal: queries.fresh(journal, ids, name))
        going = [one for one in departures if one.holding.id in fresh]
        if not going:
            return set()
        sending = BundleSending(self._spool, self._gate, self._precedence, going)
        try:
            receipts = await self._uplink.send_bundle(sending)
        finally:
            await sending.settle()
        # In a thread: a signature takes a tenth of a millisecond, and others wait for the event loop.
        proven, bad = await asyncio.to_thread(self._verified, sending.holdings, receipts)
        overtaken = await self._desk.write(lambda journal: _receipted(journal, proven))
        for holding, reason in bad:
            await self._doubt(holding, reason)
        for capture in overtaken:
            self._log.info("overtaken", capture=capture, reason="a person decided otherwise while it was sent")
        self._log.debug("receipted_together", captures=len(proven))
        return {holding.id for holding, _ in (*proven, *bad)}

    def _verified(
        self, holdings: Sequence[Holding], receipts: Mapping[str, Receipt]
    ) -> tuple[list[tuple[Holding, Receipt]], list[tuple[Holding, str]]]:
        """What is proven, and what came as a receipt and proves nothing, with the reason."""
        proven: list[tuple[Holding, Receipt]] = []
        bad: list[tuple[Holding, str]] = []
        for holding in holdings:
            if (receipt := receipts.get(holding.id)) is None:
                continue
            try:
                one = believed(holding, receipt, self._keys, self._destination, now=datetime.now(UTC))
                proven.append((holding, one))
            except BadReceipt as error:
                bad.append((holding, str(error)))
        return proven, bad


def _receipted(journal: Journal, proven: Sequence[tuple[Holding, Receipt]]) -> list[str]:
    """Write what was proven; the ids of those of which a person decided otherwise meanwhile, and that stands."""
    overtaken = []
    for holding, receipt in proven:
        try:
            journal.receipt(holding.id, receipt)
        except Refusal:  # raised before anything is written of this one
            overtaken.append(holding.id)
    return overtaken


class BundleSending:
    """See `agent.uplink.Bundle`."""

    def __init__(self, spool: Spool, gate: Gate, precedence: Precedence, departures: Sequence[Departure]) -> None:
        self._spool, self._gate, self._departures = spool, gate, departures
        self._precedence = precedence
        self.holdings: Sequence[Holding] = [one.holding for one in departures]
        self._charge: Charge | None = None
        self._spent: Charge | None = None  # what the last body was counted for, once it was read

    async def turn(self) -> None:
        """Ask whether so many bytes may go now. Raises `NotNow`."""
        if any(one.give_way for one in self._departures):
            raise NotNow("another capture goes first")
        await self.settle()
        self._spent = None
        length = sum(holding.digest.length for holding in self.holdings)
        self._charge = await self._gate.admit(self.holdings[0].priority, length, several=True)
        for one in self._departures:
            one.requests += 1

    async def contents(self) -> Sequence[bytes | None]:
        """Their bytes, from one visit to the spool."""
        wanted = [(holding.digest.sha256, holding.digest.length) for holding in self.holdings]
        return await self._spool.run(self._spool.small, wanted)

    async def outgoing(self, blocks: Sequence[bytes], /) -> AsyncIterator[bytes]:
        """The blocks at the pace of the bucket; what does not go is given back to the budget."""
        charge, self._charge = self._charge, None
        first, unsent = self._departures[0], sum(map(len, blocks))
        try:
            for block in blocks:
                async with aclosing(self._precedence.pieces(first, block, last=len(block) >= unsent)) as pieces:
                    async for piece in pieces:
                        unsent -= len(piece)
                        yield piece
        finally:
            if charge is not None:
                await self._gate.settle(charge, min(unsent, charge.length))
                self._spent = charge

    async def unsent(self) -> None:
        """Give back what was counted for a body that was read, and never left."""
        charge, self._spent = self._spent, None
        if charge is not None:
            await self._gate.settle(charge, charge.length)

    async def settle(self) -> None:
        """Give back what was counted for a request that never came to its bytes."""
        charge, self._charge = self._charge, None
        if charge is not None:
            await self._gate.settle(charge, charge.length)
