"""A capture's bytes part by part, each with its digests, proven on the way to be what the journal says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import md5, sha256
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from agent.errors import SpoolDamaged
from agent.uplink.s3.options import PARTS_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.uplink import Sending

__all__ = ["Part", "Reading", "part_length"]

_MIB: Final = 1 << 20


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
    """Reads a capture from its beginning, and proves at its end that it is what the journal says.

    So nothing is completed at the store that is not, whatever the spool's disk did. SHA-256 is what the store is told
    of each part; of everything it is BLAKE3 that is compared, for SHA-256 of everything would cost as much once more.
    What is one part needs no second digest at all.
    """

    def __init__(self, sending: Sending, length: int) -> None:
        self._sending, self._holding = sending, sending.holding
        self._length = length
        """Bytes of one part."""
        self._whole = blake3()
        self.digests: dict[int, bytes] = {}
        """SHA-256 of each part so far, by number."""

    async def part(self, number: int, *, paced: bool) -> Part:
        """The next part. `paced`: at the pace that the policy allows, since it is sent. Raises `SpoolDamaged`."""
        offset, whole = (number - 1) * self._length, self._holding.digest
        length = min(self._length, whole.length - offset)
        source = self._sending.outgoing(offset, length) if paced else self._sending.blocks(offset, length)
        content = await _gathered(source)
        if len(content) != length:
            raise SpoolDamaged(f"the spool gave {len(content)} bytes of a part of {length}")
        digest, proven = await asyncio.to_thread(self._hashed, content, last=offset + length == whole.length)
        if not proven:
            raise SpoolDamaged(f"capture {self._holding.id} in the spool is not what the journal says")
        self.digests[number] = digest
        return Part(number, offset, content, digest)

    def _hashed(self, content: bytes, *, last: bool) -> tuple[bytes, bool]:
        digest, whole = sha256(content).digest(), self._holding.digest
        if len(content) == whole.length:
            return digest, digest == whole.sha256
        self._whole.update(content)
        return digest, not last or self._whole.digest() == whole.blake3

    def composite(self) -> bytes:
        """What a store gives as SHA-256 of an object of parts: SHA-256 of the digests of its parts, joined."""
        return sha256(b"".join(self.digests[number] for number in sorted(self.digests))).digest()


async def _gathered(source: AsyncIterator[bytes]) -> bytes:
    return b"".join([block async for block in source])
