"""Both digests of a capture, and those of its parts, in the one pass in which its bytes first go by.

Three lanes that know nothing of each other, so that three threads can work on one block: each holds the interpreter's
lock for moments only (hashlib and blake3 release it while they compute).
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
    """Feed every block, in order, to each of the three lanes; then `finish`. Without `parts` the second one is idle."""

    def __init__(self, *, parts: bool = True) -> None:
        self._by_parts = parts
        self._whole, self._whole_length = sha256(), 0
        self._through = bytearray()
        self._part, self._part_length = sha256(), 0
        self._parts = bytearray()
        self._fast, self._fast_length = blake3(), 0

    def whole(self, block: bytes) -> None:
        """First lane: SHA-256 of record, noting its value at the end of each part."""
        for piece in _at_part_ends(block, self._whole_length):
            self._whole.update(piece)
            self._whole_length += len(piece)
            if self._whole_length % PART_LENGTH == 0:
                # A copy of the state costs nothing beside the hashing, and later proves a prefix to whoever holds it.
                self._through += self._whole.copy().digest()

    def part(self, block: bytes) -> None:
        """Second lane: SHA-256 of each part by itself. The first part needs none of its own: it is a prefix."""
        if not self._by_parts:
            self._part_length += len(block)
            return
        for piece in _at_part_ends(block, self._part_length):
            if self._part_length >= PART_LENGTH:
                self._part.update(piece)
            self._part_length += len(piece)
            if self._part_length % PART_LENGTH == 0 and self._part_length > PART_LENGTH:
                self._parts += self._part.digest()
                self._part = sha256()

    def fast(self, block: bytes) -> None:
        """Third lane: BLAKE3."""
        self._fast.update(block)
        self._fast_length += len(block)

    def fast_so_far(self) -> bytes:
        """BLAKE3 of everything that the third lane was fed."""
        return self._fast.digest()

    def feed(self, block: bytes) -> None:
        """All three lanes, one after another."""
        self.whole(block)
        self.part(block)
        self.fast(block)

    def finish(self) -> tuple[Digest, Parts]:
        """The digests of everything. `ValueError` when the lanes were fed different lengths."""
        length = self._whole_length
        if not length == self._part_length == self._fast_length:
            raise ValueError("the three lanes were not fed the same bytes")
        digest = Digest(self._whole.digest(), self._fast.digest(), length)
        if length <= PART_LENGTH or not self._by_parts:
            return digest, Parts()
        parts, through = bytes(self._through[:32]) + bytes(self._parts), bytes(self._through)
        if length % PART_LENGTH:
            parts += self._part.digest()
            through += digest.sha256
        return digest, Parts(parts, through)


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
