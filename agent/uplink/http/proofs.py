"""What is stated of each part, so that a server can refuse one that arrived as something else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from agent.capture import PART_LENGTH
from agent.errors import SpoolDamaged

if TYPE_CHECKING:
    from agent.capture import Holding
    from agent.uplink import Sending

__all__ = ["Proof", "Proofs", "hashed", "journaled"]

_HASH: Final = 32
_LOT: Final = 8
"""Blocks that are hashed in one visit to a thread."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request states of its body: SHA-256."""

    digest: bytes
    through: bool = False
    """Of everything from the first byte of the capture through the end of the body, and not of the body alone."""


def journaled(holding: Holding, end: int) -> bytes | None:
    """Return the SHA-256 of everything before `end` where the journal knows it: of the whole, or through a part."""
    if end == holding.digest.length:
        return holding.digest.sha256
    count, rest = divmod(end, PART_LENGTH)
    if rest or not 0 < count <= len(holding.parts) or end > holding.digest.length:
        return None
    return holding.parts.through[(count - 1) * _HASH : count * _HASH]


class Fed(Protocol):
    """A digest under way, of any sort."""

    def update(self, data: bytes, /) -> object:
        """Take more bytes."""


async def hashed(sending: Sending, offset: int, end: int, *states: Fed) -> bytes:
    """Return the SHA-256 of a stretch of the kept file as it reads now; other states are fed with it too."""
    state = sha256()
    lot: list[bytes] = []

    def update() -> None:
        fed: tuple[Fed, ...] = (state, *states)
        for one in fed:
            for block in lot:
                one.update(block)

    async for block in sending.blocks(offset, end - offset):
        lot.append(block)
        if len(lot) == _LOT:
            await asyncio.to_thread(update)
            lot = []
    update()
    return state.digest()


class Proofs:
    """What is stated of each part of one capture, for a server that refuses a part which is something else.

    The journal's digest where it serves: nothing is hashed then. A server that looks at one body at a time gets a
    digest made here while the part before travels, and the same bytes are then sent out of the page cache. Made here
    it would be right for a spool that rotted too, so what was read is compared with the journal at each part's end.
    """

    def __init__(self, sending: Sending) -> None:
        self._sending, self._holding = sending, sending.holding
        self._ahead: tuple[tuple[int, int], asyncio.Task[bytes]] | None = None
        self._read, self._through = sha256(), 0

    async def of(self, offset: int, end: int, *, through: bool = False) -> Proof:
        """Return what to state of a stretch; `through`: its receiver may be told the digest through its end.

        Raises `SpoolDamaged`.
        """
        known = self.known(offset, end, through=through)
        if known is not None:
            return known
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == (offset, end):
            return Proof(await ahead[1])
        await _given_up(ahead)
        return Proof(await self._made(offset, end))

    async def prepare(self, offset: int, end: int, *, through: bool = False) -> None:
        """Begin with the stretch that comes next, where it has to be hashed."""
        if offset < end and self.known(offset, end, through=through) is None:
            await self.close()
            self._ahead = (offset, end), asyncio.create_task(self._made(offset, end))

    async def close(self) -> None:
        """End what is under way."""
        ahead, self._ahead = self._ahead, None
        await _given_up(ahead)

    def known(self, offset: int, end: int, *, through: bool) -> Proof | None:
        """Return what can be stated of a stretch without reading it."""
        digest = journaled(self._holding, end)
        if digest is None:
            return None
        whole = offset == 0 and end == self._holding.digest.length
        return Proof(digest, through=through) if through or whole else None

    async def _made(self, offset: int, end: int) -> bytes:
        if self._through != offset:  # after a resume: from where it stands only the whole is compared, by its receiver
            return await hashed(self._sending, offset, end)
        read = self._read.copy()
        digest = await hashed(self._sending, offset, end, read)
        known = journaled(self._holding, end)
        if known is not None and known != read.digest():
            raise SpoolDamaged(f"bytes before {end} of capture {self._holding.id} are not what the journal says")
        self._read, self._through = read, end
        return digest


async def _given_up(ahead: tuple[tuple[int, int], asyncio.Task[bytes]] | None) -> None:
    if ahead is not None:
        ahead[1].cancel()
        await asyncio.wait({ahead[1]})
        if not ahead[1].cancelled():
            ahead[1].exception()  # looked at: nobody needs these bytes any more
