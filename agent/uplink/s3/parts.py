"""A capture's bytes part by part: digests first, proven to be what the journal says, and the bytes as they are sent.

A store wants the digest of a part before its first byte. So each part is read twice: once to be hashed, and, out of the
page cache most often, once more on its way to the socket. In memory lie a few blocks, however long a part is.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import md5, sha256
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from agent.errors import SpoolDamaged
from agent.uplink.http.body import Body
from agent.uplink.http.proofs import hashed
from agent.uplink.s3.options import PARTS_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.uplink import Sending

__all__ = ["Outgoing", "Part", "Reading", "part_length"]

_MIB: Final = 1 << 20


def part_length(length: int, wanted: int) -> int:
    """Bytes of one part, so that there are at most 10,000."""
    least = -(-length // PARTS_MAX)
    return max(wanted, -(-least // _MIB) * _MIB)


@dataclass(frozen=True, slots=True)
class Part:
    """One part, and what is stated of it."""

    number: int
    """From 1, as S3 counts."""
    offset: int
    length: int
    sha256: bytes


class Reading:
    """Reads a capture from its beginning, and proves at its end that it is what the journal says.

    So nothing is completed at the store that is not, whatever the spool's disk did. SHA-256 is what the store is told
    of each part; of everything it is BLAKE3 that is compared, for SHA-256 of everything would cost as much once more.
    """

    def __init__(self, sending: Sending, length: int) -> None:
        self._sending, self._holding = sending, sending.holding
        self._length = length
        """Bytes of one part."""
        self._whole = blake3()
        self.digests: dict[int, bytes] = {}
        """SHA-256 of each part so far, by number."""

    async def part(self, number: int) -> Part:
        """The next part. Raises `SpoolDamaged`."""
        offset, whole = (number - 1) * self._length, self._holding.digest
        length = min(self._length, whole.length - offset)
        digest = await hashed(self._sending, offset, offset + length, self._whole)
        if offset + length == whole.length and self._whole.digest() != whole.blake3:
            raise SpoolDamaged(f"capture {self._holding.id} in the spool is not what the journal says")
        self.digests[number] = digest
        return Part(number, offset, length, digest)

    async def tag(self, part: Part) -> str:
        """MD5, the tag that a store without check sums gives a part: a check of the way, and no proof of anything."""
        state = md5(usedforsecurity=False)
        await hashed(self._sending, part.offset, part.offset + part.length, state)
        return state.hexdigest()

    def composite(self) -> bytes:
        """What a store gives as SHA-256 of an object of parts: SHA-256 of the digests of its parts, joined."""
        return sha256(b"".join(self.digests[number] for number in sorted(self.digests))).digest()


class Outgoing:
    """The bytes of one request, at the pace that the policy allows; made anew where they are sent a second time."""

    def __init__(self, sending: Sending, part: Part, stall: float, *, prove: bool, stated: bool) -> None:
        """`prove`: hash what goes, so that the last block goes only if all are what is stated of them.

        `stated`: it goes with its digest, or not at all.
        """
        self._sending, self._part, self._stall, self._prove = sending, part, stall, prove
        self.stated = stated
        self._begun: _Begun | None = None
        self.length = part.length

    async def begin(self) -> None:
        """Read the first block: what was admitted by `Sending.turn` is this request from now on, and no later one."""
        source = self._sending.outgoing(self._part.offset, self.length)
        self._begun = _Begun(source, await anext(source, b""))

    def body(self) -> Body:
        """For one request."""
        begun, self._begun = self._begun, None
        blocks: AsyncIterator[bytes] = begun or self._sending.outgoing(self._part.offset, self.length)
        return Body(_proven(blocks, self._part) if self._prove else blocks, self.length, self._stall)

    async def aclose(self) -> None:
        """Give back what was admitted, where no request came to it."""
        begun, self._begun = self._begun, None
        if begun is not None:
            await begun.aclose()


class _Begun:
    """A source of which the first block was read already."""

    def __init__(self, source: AsyncIterator[bytes], first: bytes) -> None:
        self._source, self._first = source, first

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        return first or await anext(self._source)

    async def aclose(self) -> None:
        """Close the source."""
        if (aclose := getattr(self._source, "aclose", None)) is not None:
            await aclose()


async def _proven(blocks: AsyncIterator[bytes], part: Part) -> AsyncIterator[bytes]:
    """The same, the last of them only once all together have the digest that was stated. Raises `SpoolDamaged`."""
    state, held = sha256(), b""
    try:
        async for block in blocks:
            if held:
                yield held
            state.update(block)
            held = block
        if state.digest() != part.sha256:
            raise SpoolDamaged(f"the spool gave other bytes than are stated, from byte {part.offset} on")
        if held:
            yield held
    finally:
        if (aclose := getattr(blocks, "aclose", None)) is not None:
            await aclose()
