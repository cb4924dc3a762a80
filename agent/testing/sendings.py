"""A capture that a station holds, ready to be handed to an uplink outside of `forward`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agent.errors import NotNow
from agent.journal import contexts
from agent.testing.devices import BenchDevice
from agent.traffic import Bucket, Paced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from agent.capture import Holding, Priority
    from agent.testing.station import Station
    from agent.uplink import Leaving

__all__ = ["HeldSending", "held_sending"]


class HeldSending:
    """See `agent.uplink.Sending`; what is remembered lives as long as this object."""

    def __init__(self, station: Station, holding: Holding) -> None:
        self._station, self._holding = station, holding
        self.state: str | None = None
        self.renew_at: datetime | None = None
        self.confirmed: list[int] = []
        self.turns: int | None = None
        """How many requests may still bring bytes; None: as many as want to."""
        self.outgone = 0
        """Bytes of all bodies that were begun."""
        self.unasked: list[int] = []
        """Bytes of each body that was begun without a turn of its own, or is longer than that."""
        self._granted = 0

    @property
    def holding(self) -> Holding:
        """What the journal says of it."""
        return self._holding

    def blocks(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        """Its bytes from the spool."""
        return self._station.spool.blocks(self._holding.digest.sha256, offset, length)

    async def turn(self, length: int, /) -> None:
        """Raises `NotNow` where something else wants to go."""
        if self.turns == 0:
            raise NotNow("another capture goes first")
        if self.turns is not None:
            self.turns -= 1
        self._granted = length

    def outgoing(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        """The same, as fast as they can be read."""
        if length > self._granted:
            self.unasked.append(length)
        self._granted = 0
        self.outgone += length
        return self.blocks(offset, length)

    @asynccontextmanager
    async def leaving(self, offset: int, length: int, /) -> AsyncIterator[Leaving]:
        """The same, for a thread."""
        if length > self._granted:
            self.unasked.append(length)
        self._granted = 0
        self.outgone += length
        async with self._station.spool.leaving(self._holding.digest.sha256, offset, length) as file:
            paced = Paced(file, Bucket(), length)
            try:
                yield paced
            finally:
                paced.stop()

    async def unsent(self, _: int, /) -> None:
        """Nothing is counted here."""

    async def sha256_through(self, offset: int, /) -> bytes:
        """SHA-256 of its first bytes, computed from the spool."""
        spool = self._station.spool
        return await spool.run(spool.sha256_of_first, self._holding.digest.sha256, offset)

    async def class_kept(self) -> Priority:
        """Its class, by the journal."""
        return await self._station.desk.read(lambda journal: contexts.class_of(journal, self._holding.id))

    def recall(self) -> str | None:
        """What was remembered last."""
        return self.state

    async def remember(self, state: str | None, /, *, renew_at: datetime | None = None) -> None:
        """Keep it."""
        self.state, self.renew_at = state, renew_at

    def progress(self, offset: int, /) -> None:
        """Note it."""
        self.confirmed.append(offset)


async def held_sending(station: Station, data: bytes, key: str = "CLIP0001.MP4") -> HeldSending:
    """Let a station hold a capture, and return it ready to be sent."""
    device = BenchDevice(f"bench:{len(station.devices)}")
    device.record(key, data)
    await station.dock(device)
    return HeldSending(station, (await station.holdings())[0])
