"""A capture's bytes encrypted block by block, in one pass that proves on the way that they are as journaled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from agent.errors import SpoolDamaged
from agent.uplink.clearance.blob import block_name
from agent.uplink.clearance.options import BLOCKS_MAX
from agent.uplink.http.proofs import journaled

if TYPE_CHECKING:
    from agent.uplink import Sending
    from agent.uplink.clearance.envelope import Sealing

__all__ = ["Block", "Reading", "block_length"]

_MIB: Final = 1 << 20


def block_length(length: int, wanted: int) -> int:
    """Bytes of the capture in one block, so that there are at most 50,000."""
    least = -(-length // BLOCKS_MAX)
    return max(wanted, -(-least // _MIB) * _MIB)


@dataclass(frozen=True, slots=True)
class Block:
    """One, encrypted, as it lies in memory."""

    number: int
    end: int
    """Bytes of the capture through its end."""
    name: str
    content: bytes


class Reading:
    """Reads from the beginning: CBC chains, so that nothing can be encrypted without what lies before it."""

    def __init__(self, sending: Sending, length: int, sealing: Sealing) -> None:
        """`length`: bytes of the capture in one block."""
        self._sending, self._length, self.sealing = sending, length, sealing
        self._through = sha256()
        self.count = max(1, -(-sending.holding.digest.length // length))
        """Blocks in all. Of a capture without bytes, one: of what PKCS7 adds."""

    def plain(self, number: int) -> int:
        """Bytes of the capture in a block."""
        return min(self._length, self._sending.holding.digest.length - number * self._length)

    async def block(self, number: int, *, paced: bool) -> Block:
        """The next one. `paced`: at the pace that the policy allows, since it is sent. Raises `SpoolDamaged`."""
        offset, length = number * self._length, self.plain(number)
        source = self._sending.outgoing(offset, length) if paced else self._sending.blocks(offset, length)
        content = b"".join([block async for block in source]) if length else b""
        if len(content) != length:
            raise SpoolDamaged(f"the spool gave {len(content)} bytes of a block of {length}")
        made = await asyncio.to_thread(self._made, number, content)
        known = journaled(self._sending.holding, offset + length)
        if known is not None and known != self._through.digest():
            holding = self._sending.holding.id
            raise SpoolDamaged(f"bytes before {offset + length} of capture {holding} are not what the journal says")
        return made

    async def pass_by(self, number: int) -> None:
        """Let a block that was read unpaced go at the pace that the policy allows: it is sent after all."""
        offset, length = number * self._length, self.plain(number)
        if length:
            async for _ in self._sending.outgoing(offset, length):
                pass

    def _made(self, number: int, content: bytes) -> Block:
        self._through.update(content)
        sealed = self.sealing.sealed(content, last=number + 1 == self.count)
        return Block(number, number * self._length + len(content), block_name(number, sealed), sealed)
