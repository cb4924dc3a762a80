"""One capture as its uplink sees it: its bytes, what the journal knows of them, and the gate before each request."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from agent.capture import PART_LENGTH
from agent.errors import NotNow
from agent.journal import contexts, queries
from agent.traffic import Paced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from agent.capture import Holding, Priority
    from agent.forward.precedence import Precedence
    from agent.forward.watched import Departure
    from agent.gate import Charge, Gate
    from agent.journal import Desk
    from agent.spool import Spool
    from agent.uplink import Leaving, UplinkOptions

__all__ = ["ForwardSending"]


class ForwardSending:
    """See `agent.uplink.Sending`."""

    def __init__(
        self,
        spool: Spool,
        desk: Desk,
        gate: Gate,
        precedence: Precedence,
        departure: Departure,
        *,
        to: UplinkOptions,
        state: str | None,
        served: Callable[[], None],
    ) -> None:
        """`served` is told each time that the receiver has confirmed more."""
        self._served, self._network = served, to.network
        self._holding, self._spool, self._desk, self._gate = departure.holding, spool, desk, gate
        self._precedence = precedence
        self._destination, self._state, self._departure = to.name, state, departure
        self._charge: Charge | None = None
        self._spent: Charge | None = None  # what the last body was counted for, once it was read

    @property
    def holding(self) -> Holding:
        """What the journal says of it."""
        return self._holding

    def blocks(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        """Its bytes from the spool."""
        return self._spool.blocks(self._holding.digest.sha256, offset, length)

    async def turn(self, length: int, /) -> None:
        """Ask whether so many bytes may go now. Raises `NotNow`."""
        if self._departure.give_way:
            raise NotNow("another capture goes first")
        await self.settle()
        self._spent = None
        self._charge = await self._gate.admit(self._holding.priority, length, network=self._network)
        self._departure.requests += 1

    async def outgoing(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        """The same bytes at the pace of the bucket, behind what is more urgent; what does not go is given back."""
        charge, self._charge = self._charge, None
        unsent = length
        try:
            async with aclosing(self._spool.blocks(self._holding.digest.sha256, offset, length)) as blocks:
                async for block in blocks:
                    last = len(block) >= unsent
                    async with aclosing(self._precedence.pieces(self._departure, block, last=last)) as pieces:
                        async for piece in pieces:
                            unsent -= len(piece)
                            yield piece
        finally:
            if charge is not None:
                await self._gate.settle(charge, unsent)
                self._spent = charge

    @asynccontextmanager
    async def leaving(self, offset: int, length: int, /) -> AsyncIterator[Leaving]:
        """The same for a thread; what does not go is given back here too."""
        charge, self._charge = self._charge, None
        async with self._spool.leaving(self._holding.digest.sha256, offset, length) as file:
            paced = Paced(file, self._gate.bucket, length)
            try:
                yield paced
            finally:
                paced.stop()
                if charge is not None:
                    await self._gate.settle(charge, paced.left)
                    self._spent = charge

    async def unsent(self, length: int, /) -> None:
        """Give back what was counted for a body that was read, and never left."""
        charge, self._spent = self._spent, None
        if charge is not None:
            await self._gate.settle(charge, length)

    async def settle(self) -> None:
        """Give back what was counted for a request that never came to its bytes."""
        charge, self._charge = self._charge, None
        if charge is not None:
            await self._gate.settle(charge, charge.length)

    async def sha256_through(self, offset: int, /) -> bytes:
        """SHA-256 of the first bytes: from the journal at the end of a part, else computed from the spool."""
        if offset == self._holding.digest.length:
            return self._holding.digest.sha256
        if self._holding.parts and offset and offset % PART_LENGTH == 0:
            end = 32 * (offset // PART_LENGTH)
            return self._holding.parts.through[end - 32 : end]
        return await self._spool.run(self._spool.sha256_of_first, self._holding.digest.sha256, offset)

    async def class_kept(self) -> Priority:
        """Its class, whatever order of sending a person gave it."""
        return await self._desk.read(lambda journal: contexts.class_of(journal, self._holding.id))

    def recall(self) -> str | None:
        """What was remembered last."""
        return self._state

    async def remember(self, state: str | None, /, *, renew_at: datetime | None = None) -> None:
        """Keep it in the journal, for this destination."""
        self._state = state
        capture, destination = self._holding.id, self._destination
        await self._desk.write(lambda journal: queries.remember(journal, capture, destination, state, renew_at))

    def progress(self, offset: int, /) -> None:
        """Tell those who watch."""
        if self._departure.resumed_at is None:
            self._departure.resumed_at = offset
        elif offset > self._departure.confirmed:
            self._served()
        self._departure.confirmed = offset
