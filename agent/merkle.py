"""The tree over the journal's entries: its root, and the proofs that an entry stands in it and that it only grew.

RFC 6962 section 2.1 and RFC 9162 section 2.1 with SHA-256:

    leaf = SHA-256(0x00 || entry)      node = SHA-256(0x01 || left || right)      split at the largest power of two < n

A hash is 32 bytes everywhere. *Level* L and *index* i name the complete subtree over the leaves from i * 2**L up to
(i + 1) * 2**L; it never changes again, which is why tiles of such hashes can be kept and served as files. Whatever
needs stored hashes takes a reader `hashes(level, index)` and asks it for O(log n) of them; nothing here does I/O.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from hashlib import sha256
from typing import Final, Self, TypeAlias

__all__ = [
    "EMPTY_ROOT",
    "HASH_LENGTH",
    "TILE_HEIGHT",
    "TILE_WIDTH",
    "BadProof",
    "Frontier",
    "Hashes",
    "TileReader",
    "Tiles",
    "check_consistency",
    "check_inclusion",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "subtree_root",
]

HASH_LENGTH: Final = 32
TILE_HEIGHT: Final = 8  # levels of the tree in one tile: fixed by tlog-tiles
TILE_WIDTH: Final = 1 << TILE_HEIGHT
EMPTY_ROOT: Final = sha256(b"").digest()  # RFC 9162 section 2.1.1

Hashes: TypeAlias = Callable[[int, int], bytes]
"""`hashes(level, index)`: the hash of one complete subtree."""
Tiles: TypeAlias = Callable[[int, int, int], bytes]
"""`tile(level, index, width)`: the first `width` hashes of tile `index` at *tile* level `level`, 32 * width bytes."""


class BadProof(ValueError):
    """What was presented does not prove what it claims; `str()` says why in one sentence."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf whose content is `entry`, of any length."""
    # The two prefixes part leaves from nodes: without them an entry could be made that passes for a whole subtree.
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two hashes."""
    return sha256(b"\x01" + left + right).digest()


def subtree_root(hashes: bytes) -> bytes:
    """Return the root over neighbouring subtrees of equal height, given as up to 256 concatenated hashes: a tile's.

    Raises `ValueError` when the length is no multiple of 32 or beyond one tile.
    """
    if len(hashes) % HASH_LENGTH or len(hashes) > TILE_WIDTH * HASH_LENGTH:
        raise ValueError(f"{len(hashes)} bytes are not the hashes of one tile")
    while len(hashes) > HASH_LENGTH:
        # A hash without a neighbour goes up as it is: that is the same tree as RFC 9162 draws by splitting from above.
        hashes = _level_above(hashes) + hashes[len(hashes) & -(2 * HASH_LENGTH) :]
    return hashes or EMPTY_ROOT


def _level_above(hashes: bytes) -> bytes:
    """Return the nodes above each pair of concatenated hashes; a last one without neighbour has no node yet."""
    starts = range(0, len(hashes) - HASH_LENGTH, 2 * HASH_LENGTH)
    return b"".join([sha256(b"\x01" + hashes[at : at + 2 * HASH_LENGTH]).digest() for at in starts])


class Frontier:
    """The right edge of a growing tree: all that appending and the root need, at most 64 hashes however large it is.

    It holds the root of each complete subtree that the binary digits of `size` name, the largest first: 5 = 4 + 1.
    """

    __slots__ = ("_edge", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._edge: list[bytes] = []

    @classmethod
    def at(cls, size: int, hashes: Hashes) -> Self:
        """Return the edge of a tree of `size` leaves that stands in a store already: after a restart, at O(log n)."""
        made = cls()
        made._size, made._edge = size, [hashes(level, index) for level, index in _complete(0, size)]
        return made

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    def append(self, leaf: bytes) -> None:
        """Add one leaf by its hash."""
        self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaves by their hashes, in order. Whatever `leaves` raises, those that it gave are added."""
        edge, size = self._edge, self._size
        try:
            for leaf in leaves:
                node, carry = leaf, size
                while carry & 1:  # as in counting: each digit that turns over joins two equal subtrees
                    node = sha256(b"\x01" + edge.pop() + node).digest()
                    carry >>= 1
                edge.append(node)
                size += 1
        finally:
            self._size = size

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        return _fold(self._edge) if self._edge else EMPTY_ROOT

    def copy(self) -> Frontier:
        """Return another edge that grows on its own: to try leaves whose transaction may fail."""
        made = Frontier()
        made._size, made._edge = self._size, self._edge.copy()
        return made


def inclusion_proof(index: int, size: int, hashes: Hashes) -> list[bytes]:
    """Return the proof that leaf `index` stands in the tree of the first `size` leaves, its sibling first.

    RFC 9162 section 2.1.3.1. Raises `ValueError` when there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of size {size}")
    return _siblings(range(index, index + 1), size, hashes)


def consistency_proof(old: int, new: int, hashes: Hashes) -> list[bytes]:
    """Return the proof that the tree of the first `new` leaves begins with the tree of the first `old` ones.

    RFC 9162 section 2.1.4.1. Empty when `old` is 0 or equal to `new`. Raises `ValueError` when `old` is beyond `new`.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of size {new} does not begin with one of size {old}")
    if old in {0, new}:
        return []
    level, index = _complete(0, old)[-1]
    proof = _siblings(range(index << level, old), new, hashes)
    # The path begins at the old tree's last complete subtree; where that is the whole old tree, the verifier has it.
    return [hashes(level, index), *proof] if index else proof


def check_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Return only when `proof` leads from the hash `leaf` at `index` to the `root` of a tree of `size` leaves.

    RFC 9162 section 2.1.3.2. Raises `BadProof` otherwise.
    """
    if not 0 <= index < size:
        raise BadProof(f"there is no leaf {index} in a tree of size {size}")
    # Below the point where the paths to this leaf and to the last one meet, each digit of the index says on which side
    # the sibling stands; above it the path follows the right edge, where only left siblings exist.
    inner = (index ^ (size - 1)).bit_length()
    _check_hashes(proof, inner + (index >> inner).bit_count())
    _check_hashes((leaf, root), 2)
    node = leaf
    for level, sibling in enumerate(proof):
        on_the_right = level >= inner or index >> level & 1
        node = node_hash(sibling, node) if on_the_right else node_hash(node, sibling)
    if node != root:
        raise BadProof(f"the proof for leaf {index} leads to another root than that of size {size}")


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Return only when `proof` shows that the tree of `new` leaves begins with that of `old` leaves.

    RFC 9162 section 2.1.4.2. An old size of 0 is consistent with every tree by an empty proof, as tlog-witness has it;
    but the root of an empty tree must then be `EMPTY_ROOT`. Raises `BadProof` otherwise.
    """
    if not 0 <= old <= new:
        raise BadProof(f"a tree of size {new} does not begin with one of size {old}")
    _check_hashes((old_root, new_root), 2)
    if (old == 0 and old_root != EMPTY_ROOT) or (new == 0 and new_root != EMPTY_ROOT):
        raise BadProof("an empty tree has one root only, and this is another")
    if old in {0, new}:
        _check_hashes(proof, 0)
        if old and old_root != new_root:
            raise BadProof(f"there are two roots for one size, {old}")
        return
    # The path starts at the last complete subtree of the old tree: `index` of its level. Where that is the whole old
    # tree, the proof leaves out its hash, which is the old root.
    skipped = (old & -old).bit_length() - 1
    index, last = (old - 1) >> skipped, (new - 1) >> skipped
    inner = (index ^ last).bit_length()
    whole = index == 0
    _check_hashes(proof, inner + (index >> inner).bit_count() + (not whole))
    before = after = old_root if whole else proof[0]
    for level, sibling in enumerate(proof if whole else proof[1:]):
        if level >= inner or index >> level & 1:  # a left sibling: both trees have it
            before, after = node_hash(sibling, before), node_hash(sibling, after)
        else:  # what grew to the right: only the new tree has it
            after = node_hash(after, sibling)
    for size, found, root in ((old, before, old_root), (new, after, new_root)):
        if found != root:
            raise BadProof(f"the proof leads to another root than that of size {size}")


class TileReader:
    """A reader of complete subtrees over tiles: inner nodes are computed from the tile below which they stand.

    `tile` gives the bytes of a tile (c2sp.org/tlog-tiles, "Merkle Tree"); `size` is the number of leaves: it says how
    wide the last tiles are. The `keep` tiles last used stay in memory, 16 KiB each. For one task at a time.
    """

    def __init__(self, tile: Tiles, size: int, *, keep: int = 64) -> None:
        self._tile, self._size, self._keep = tile, size, keep
        self._kept: OrderedDict[tuple[int, int, int], list[bytes]] = OrderedDict()

    def at(self, size: int) -> TileReader:
        """Return a reader of the same log at another size; both share the tiles in memory."""
        other = TileReader(self._tile, size, keep=self._keep)
        other._kept = self._kept
        return other

    def __call__(self, level: int, index: int) -> bytes:
        """Return the hash of the complete subtree `index` at `level`.

        Raises `ValueError` when the tree does not hold that subtree, and `BadProof` when a tile has not its length.
        """
        if level < 0 or index < 0 or (index + 1) << level > self._size:
            raise ValueError(f"a tree of size {self._size} has no complete subtree {index} at level {level}")
        tile_level, inside = divmod(level, TILE_HEIGHT)
        tile_index = index >> (TILE_HEIGHT - inside)
        levels = self._levels(tile_level, tile_index)
        while len(levels) <= inside:  # computed once, when first asked for: all of a full tile cost 254 hashes
            levels.append(_level_above(levels[-1]))
        at = (index - (tile_index << (TILE_HEIGHT - inside))) * HASH_LENGTH
        return levels[inside][at : at + HASH_LENGTH]

    def _levels(self, level: int, index: int) -> list[bytes]:
        """Return the levels inside a tile as far as they are computed, the lowest first."""
        width = min(TILE_WIDTH, (self._size >> (TILE_HEIGHT * level)) - index * TILE_WIDTH)
        key = (level, index, width)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        blob = self._tile(level, index, width)
        if len(blob) != width * HASH_LENGTH:
            raise BadProof(f"tile {index} of level {level} should hold {width} hashes, but has {len(blob)} bytes")
        levels = self._kept[key] = [blob]
        while len(self._kept) > self._keep:
            self._kept.popitem(last=False)
        return levels


def _complete(low: int, high: int) -> list[tuple[int, int]]:
    """Return (level, index) of the complete subtrees that make up the leaves [low, high), the largest first."""
    found: list[tuple[int, int]] = []
    while low < high:
        level = (high - low).bit_length() - 1
        found.append((level, low >> level))
        low += 1 << level
    return found


def _siblings(span: range, size: int, hashes: Hashes) -> list[bytes]:
    """Return what stands beside the way from one complete subtree, given by its leaves, up to the root of the tree."""
    beside: list[bytes] = []
    low, high = 0, size
    while high - low > len(span):
        middle = low + (1 << (high - low - 1).bit_length() - 1)  # the largest power of two below the width
        if span.start < middle:
            beside.append(_fold([hashes(*one) for one in _complete(middle, high)]))
            high = middle
        else:
            beside.append(hashes(*_complete(low, middle)[0]))
            low = middle
    return beside[::-1]


def _fold(roots: Sequence[bytes]) -> bytes:
    """Return the root above complete subtrees, given the largest first: the smallest hang lowest on the right."""
    return reduce(lambda node, left: node_hash(left, node), reversed(roots))


def _check_hashes(hashes: Sequence[bytes], expected: int) -> None:
    """Raise `BadProof` unless there are exactly `expected` hashes, all of 32 bytes: before a single one is computed."""
    if len(hashes) != expected:
        raise BadProof(f"the proof has {len(hashes)} hashes where {expected} are needed")
    if any(len(one) != HASH_LENGTH for one in hashes):
        raise BadProof(f"a hash is not {HASH_LENGTH} bytes long")
