"""The custody log inside the journal: leaves in order, the tree over them, and nothing that could be rewritten.

Appending costs two hashes on average and two rows. Full tiles of 256 hashes are stored as they complete; of the last,
partial ones the lowest is stored hash by hash, and the higher are kept in memory and made again from those below. So
each leaf has its hash beside it from the moment in which it was written, and one that the disk changes is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import JournalError
from agent.merkle import HASH_LENGTH, TILE_WIDTH, Frontier, TileReader, leaf_hash, subtree_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

__all__ = ["Leaves"]

_FULL = TILE_WIDTH * HASH_LENGTH


class Leaves:
    """The leaves of one log. Every change happens inside a transaction of the caller's."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._tails: list[bytearray] = []
        self._frontier = Frontier()
        self.reload()

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._frontier.size

    def root(self) -> bytes:
        """Root of the tree over all leaves (RFC 9162 section 2.1.1)."""
        return self._frontier.root()

    def append(self, leaf: bytes, capture: int | None) -> None:
        """Add a leaf after the last one, with the row of the capture that it speaks of."""
        self._connection.execute("INSERT INTO entry VALUES (?, ?, ?)", (self.size, capture, leaf))
        hashed = leaf_hash(leaf)
        self._connection.execute("INSERT INTO tail VALUES (?, ?)", (self.size, hashed))
        self._frontier.append(hashed)
        level, position = 0, self.size - 1
        while True:
            if level == len(self._tails):
                self._tails.append(bytearray())
            tail = self._tails[level]
            tail += hashed
            if len(tail) < _FULL:
                return
            index = position // TILE_WIDTH
            full = bytes(tail)
            self._connection.execute("INSERT INTO tile VALUES (?, ?, ?)", (level, index, full))
            if level == 0:
                self._connection.execute("DELETE FROM tail")
            tail.clear()
            hashed, level, position = subtree_root(full), level + 1, index

    def tile(self, level: int, index: int, width: int) -> bytes:
        """The first `width` hashes of a tile (c2sp.org/tlog-tiles), 32 * width bytes.

        Raises `JournalError` when the tree has no such tile.
        """
        found = self._connection.execute("SELECT hashes FROM tile WHERE level = ? AND idx = ?", (level, index)).get
        if found is None and level < len(self._tails):
            found = bytes(self._tails[level])
        if found is None or len(found) < width * HASH_LENGTH:
            raise JournalError(f"the custody log has no tile {index} of level {level} with {width} hashes")
        return bytes(found[: width * HASH_LENGTH])

    def reader(self, size: int | None = None) -> TileReader:
        """A reader of subtree hashes for proofs at `size` leaves (default: all)."""
        return TileReader(self.tile, self.size if size is None else size)

    def leaf(self, seq: int) -> bytes:
        """One leaf, byte for byte."""
        found = self._connection.execute("SELECT leaf FROM entry WHERE seq = ?", (seq,)).get
        if found is None:
            raise JournalError(f"the custody log has no entry {seq}")
        return bytes(found)

    def between(self, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        """(seq, leaf) for first <= seq < end, in order, one at a time."""
        yield from self._connection.execute("SELECT seq, leaf FROM entry WHERE seq >= ? AND seq < ?", (first, end))

    def _tail(self, first: int, end: int) -> list[bytes]:
        """The hashes of the leaves after the last full tile.

        A journal of an older version has none: they are made of the leaves, once. Raises `JournalError` where a leaf is
        not that of its hash: the disk changed one of the two, and nothing may be written after it.
        """
        rows: list[tuple[int, bytes]] = self._connection.execute("SELECT seq, hash FROM tail").fetchall()  # type: ignore[assignment]
        stored = dict(rows)
        found = {seq: leaf_hash(leaf) for seq, leaf in self.between(first, end)}
        for seq, hashed in found.items():
            if stored.get(seq, hashed) != hashed:
                raise JournalError(
                    f"entry {seq} of the custody log does not agree with the hash that it was written with"
                )
        if not stored and found and self._connection.get_autocommit():
            with self._connection:
                self._connection.executemany("INSERT INTO tail VALUES (?, ?)", found.items())
        return list(found.values())

    def reload(self) -> None:
        """Make the tree in memory what the rows say: at the start, and after a transaction was undone."""
        newest = self._connection.execute("SELECT max(seq) FROM entry").get
        size = 0 if newest is None else newest + 1
        self._restore(size)
        self._frontier = Frontier.at(size, TileReader(self.tile, size))

    def _restore(self, size: int) -> None:
        """Make the partial tiles again: the lowest from its hashes, each higher one from the full tiles below it."""
        self._tails = [bytearray().join(self._tail(size - size % TILE_WIDTH, size))]
        level, full = 0, size // TILE_WIDTH
        while full:
            tail = bytearray()
            for index in range(full - full % TILE_WIDTH, full):
                tail += subtree_root(self.tile(level, index, TILE_WIDTH))
            self._tails.append(tail)
            level, full = level + 1, full // TILE_WIDTH
