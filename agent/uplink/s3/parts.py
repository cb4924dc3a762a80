"""A capture's bytes part by part, each with its digests, proven on the way to be what the journal says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import md5, sha256
from typing import TYPE_CHECKING, Final

from agent.capture import PART_LENGTH
from agent.errors import SpoolDamaged
from agent.uplink.s3.options import PARTS_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.uplink import Sending

__all__ = ["Part", "Reading", "part_length"]

_MIB: Final = 1 << 20
_HASH: Final = 32


def part_length(length: int, wanted: int) -> int:
    """Bytes of one part, so that there are at most 10,000."""
    least = -(-length // PARTS_MAX)
    return max(wanted, -(-least // _MIB) * _MIB)


@dataclass(frozen=True, slots=True)
class Part:
    """One part, as it lies in memory."""

    number: int
    """From 1, as S3 counts."""
    offset: int
    content: bytes
    sha256: bytes

    @property
    def md5(self) -> str:
        """The tag that a store without check sums gives a part: a check of the way, and no proof of anything."""
        return md5(self.content, usedforsecurity=False).hexdigest()


class Reading:
    """Reads a capture from its beginning; the digest of everything so far is compared wherever the journal knows it.

    So nothing is completed at the store that is not what the journal says, whatever the spool's disk did.
    """

    def __init__(self, sending: Sending, length: int) -> None:
        self._sending, self._holding = sending, sending.holding
        self._length = length
        """Bytes of one part."""
        self._through = sha256()
        self.digests: dict[int, bytes] = {}
        """SHA-256 of each part so far, by number."""

    async def part(self, number: int, *, paced: bool) -> Part:
        """The next part. `paced`: at the pace that the policy allows, since it is sent. Raises `SpoolDamaged`."""
        offset = (number - 1) * self._length
        length = min(self._length, self._holding.digest.length - offset)
        source = self._sending.outgoing(offset, length) if paced else self._sending.blocks(offset, length)
        content = await _gathered(source)
        if len(content) != length:
            raise SpoolDamaged(f"the spool gave {len(content)} bytes of a part of {length}")
        digest = await asyncio.to_thread(self._hashed, content)
        known = self._journaled(offset + length)
        if known is not None and known != self._through.digest():
            raise SpoolDamaged(
                f"bytes before {offset + length} of capture {self._holding.id} are not what the journal says"
            )
        self.digests[number] = digest
        return Part(number, offset, content, digest)

    def _hashed(self, content: bytes) -> bytes:
        self._through.update(content)
        return sha256(content).digest()

    def _journaled(self, end: int) -> bytes | None:
        holding = self._holding
        if end == holding.digest.length:
            return holding.digest.sha256
        count, rest = divmod(end, PART_LENGTH)
        if rest or not 0 < count <= len(holding.parts):
            return None
        return holding.parts.through[(count - 1) * _HASH : count * _HASH]

    def composite(self) -> bytes:
        """What a store gives as SHA-256 of an object of parts: SHA-256 of the digests of its parts, joined."""
        return sha256(b"".join(self.digests[number] for number in sorted(self.digests))).digest()


async def _gathered(source: AsyncIterator[bytes]) -> bytes:
    return b"".join([block async for block in source])
