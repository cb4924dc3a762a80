"""Both digests of a capture, and SHA-256 through each part's end, in the one pass in which its bytes first go by.

Two lanes that know nothing of each other, so that two threads can work on one block: each holds the interpreter's lock
for moments only (hashlib and blake3 release it while they compute).
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from blake3 import blake3

from agent.capture import PART_LENGTH, Digest, Parts

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Hasher"]


class Hasher:
    """Feed every block, in order, to both lanes; then `finish`."""

    def __init__(self) -> None:
        self._whole, self._whole_length = sha256(), 0
        self._through = bytearray()
        self._fast, self._fast_length = blake3(), 0

    def whole(self, block: bytes) -> None:
        """First lane: SHA-256 of record, noting its value at the end of each part."""
        for piece in _at_part_ends(block, self._whole_length):
            self._whole.update(piece)
            self._whole_length += len(piece)
            if self._whole_length % PART_LENGTH == 0:
                # A copy of the state costs nothing beside the hashing, and later proves a prefix to whoever holds it.
                self._through += self._whole.copy().digest()

    def fast(self, block: bytes) -> None:
        """Second lane: BLAKE3."""
        self._fast.update(block)
        self._fast_length += len(block)

    def fast_so_far(self) -> bytes:
        """BLAKE3 of everything that the second lane was fed."""
        return self._fast.digest()

    def whole_so_far(self) -> bytes:
        """SHA-256 of everything that the first lane was fed."""
        return self._whole.digest()

    def feed(self, block: bytes) -> None:
        """Both lanes, one after the other."""
        self.whole(block)
        self.fast(block)

    def finish(self) -> tuple[Digest, Parts]:
        """The digests of everything. `ValueError` when the lanes were fed different lengths."""
        length = self._whole_length
        if length != self._fast_length:
            raise ValueError("the two lanes were not fed the same bytes")
        digest = Digest(self._whole.digest(), self._fast.digest(), length)
        if length <= PART_LENGTH:
            return digest, Parts()
        through = bytes(self._through)
        return digest, Parts(through=through + digest.sha256 if length % PART_LENGTH else through)


def _at_part_ends(block: bytes, offset: int) -> Iterator[bytes | memoryview]:
    """The block in pieces that do not cross the end of a part; none of an empty one, which ends no part twice."""
    if not block:
        return
    room = PART_LENGTH - offset % PART_LENGTH
    if len(block) <= room:
        yield block
        return
    view = memoryview(block)
    while view:
        yield view[:room]
        view, room = view[room:], PART_LENGTH
