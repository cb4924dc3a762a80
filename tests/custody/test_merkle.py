from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from agent.merkle import (
    EMPTY_ROOT,
    TILE_WIDTH,
    BadProof,
    Frontier,
    TileReader,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    subtree_root,
)

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).parent / "vectors"
ENTRIES = [b"entry %d" % n for n in range(600)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


# The definitions of RFC 9162 section 2.1, as they are written there: slow, and plain enough to be read against it.


def mth(leaves: list[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = largest_power_below(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = largest_power_below(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], *, known: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if known else [mth(leaves)]
    k = largest_power_below(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], known=known), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], known=False), mth(leaves[:k])]


def largest_power_below(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def reader(level: int, index: int) -> bytes:
    span = LEAVES[index << level : (index + 1) << level]
    assert len(span) == 1 << level, "only complete subtrees may be asked for"
    return mth(span)


def tiles_of(leaves: list[bytes]) -> Callable[[int, int, int], bytes]:
    """Tiles as c2sp.org/tlog-tiles defines them: hash i of tile n at level l covers 256**l leaves."""

    def tile(level: int, index: int, width: int) -> bytes:
        span = TILE_WIDTH**level
        first = index * TILE_WIDTH
        return b"".join(mth(leaves[at * span : (at + 1) * span]) for at in range(first, first + width))

    return tile


def refused(check: Callable[..., None], *claim: object) -> bool:
    try:
        check(*claim)
    except BadProof:
        return True
    return False


def test_the_hashes_are_those_of_the_standard() -> None:
    assert leaf_hash(b"") == sha256(b"\x00").digest()
    assert node_hash(LEAVES[0], LEAVES[1]) == sha256(b"\x01" + LEAVES[0] + LEAVES[1]).digest()
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_frontier_has_the_root_of_every_size() -> None:
    frontier = Frontier()
    for size, leaf in enumerate(LEAVES):
        assert frontier.size == size
        if size < 70 or size % 37 == 0:
            assert frontier.root() == mth(LEAVES[:size])
            assert Frontier.at(size, reader).root() == frontier.root()
        frontier.append(leaf)


def test_a_copy_of_the_frontier_grows_on_its_own() -> None:
    frontier = Frontier()
    frontier.extend(LEAVES[:7])
    other = frontier.copy()
    other.extend(LEAVES[7:9])
    assert (frontier.size, frontier.root()) == (7, mth(LEAVES[:7]))
    assert (other.size, other.root()) == (9, mth(LEAVES[:9]))


def test_a_frontier_whose_source_fails_holds_what_it_was_given() -> None:
    frontier = Frontier()
    with pytest.raises(ZeroDivisionError):
        frontier.extend(LEAVES[n] if n < 5 else bytes(1 // 0) for n in range(9))
    assert (frontier.size, frontier.root()) == (5, mth(LEAVES[:5]))


def test_a_frontier_stays_small() -> None:
    frontier = Frontier()
    frontier.extend(LEAVES)
    assert len(frontier._edge) == len(LEAVES).bit_count()


@pytest.mark.parametrize("width", [0, 1, 2, 3, 5, 44, 255, 256])
def test_the_root_of_a_tile(width: int) -> None:
    assert subtree_root(b"".join(LEAVES[:width])) == mth(LEAVES[:width])


@pytest.mark.parametrize("length", [1, 31, 33, 257 * 32])
def test_what_is_no_tile_has_no_root(length: int) -> None:
    with pytest.raises(ValueError, match="not the hashes of one tile"):
        subtree_root(bytes(length))


def test_every_inclusion_proof_of_every_small_tree() -> None:
    for size in range(1, 34):
        root = mth(LEAVES[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, reader)
            assert proof == path(index, LEAVES[:size])
            check_inclusion(index, size, LEAVES[index], proof, root)
            for other in range(size):  # the same proof proves nothing else
                if other != index:
                    assert refused(check_inclusion, other, size, LEAVES[index], proof, root)
            for n in range(len(proof)):
                assert refused(check_inclusion, index, size, LEAVES[index], proof[:n], root)


def test_every_consistency_proof_of_every_small_tree() -> None:
    for new in range(34):
        new_root = mth(LEAVES[:new])
        for old in range(new + 1):
            old_root = mth(LEAVES[:old])
            proof = consistency_proof(old, new, reader)
            assert proof == (subproof(old, LEAVES[:new], known=True) if old else [])
            check_consistency(old, new, old_root, new_root, proof)
            for n in range(len(proof)):
                assert refused(check_consistency, old, new, old_root, new_root, proof[:n])
                bent = [*proof]
                bent[n] = bytes(32)
                assert refused(check_consistency, old, new, old_root, new_root, bent)
            if old:
                assert refused(check_consistency, old, new, bytes(32), new_root, proof)
                assert refused(check_consistency, old, new, old_root, bytes(32), proof)
            assert refused(check_consistency, old, new, old_root, new_root, [*proof, bytes(32)])


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_proofs_of_larger_trees(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, reader)
    assert proof == path(index, LEAVES[:size])
    check_inclusion(index, size, LEAVES[index], proof, mth(LEAVES[:size]))
    old = data.draw(st.integers(1, size))
    proof = consistency_proof(old, size, reader)
    assert proof == subproof(old, LEAVES[:size], known=True)
    check_consistency(old, size, mth(LEAVES[:old]), mth(LEAVES[:size]), proof)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 2**62), st.data())
def test_a_proof_of_any_size_needs_few_hashes(size: int, data: st.DataObject) -> None:
    asked = 0

    def counting(level: int, index: int) -> bytes:
        nonlocal asked
        asked += 1
        assert (index + 1) << level <= size
        return leaf_hash(b"%d %d" % (level, index))

    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(0, size))
    assert len(inclusion_proof(index, size, counting)) <= size.bit_length()
    assert len(consistency_proof(old, size, counting)) <= size.bit_length() + 1
    assert asked <= 4 * size.bit_length() + 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 600), st.data())
def test_one_changed_bit_is_found(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    parts = [LEAVES[index], mth(LEAVES[:size]), *inclusion_proof(index, size, reader)]
    which = data.draw(st.integers(0, len(parts) - 1))
    bit = data.draw(st.integers(0, 255))
    parts[which] = (int.from_bytes(parts[which]) ^ 1 << bit).to_bytes(32)
    leaf, root, *proof = parts
    with pytest.raises(BadProof, match="another root"):
        check_inclusion(index, size, leaf, proof, root)


def test_what_cannot_be_proved() -> None:
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(ValueError, match="no leaf"):
            inclusion_proof(index, size, reader)
        with pytest.raises(BadProof, match="no leaf"):
            check_inclusion(index, size, LEAVES[0], [], LEAVES[0])
    for old, new in ((4, 3), (-1, 3)):
        with pytest.raises(ValueError, match="does not begin"):
            consistency_proof(old, new, reader)
        with pytest.raises(BadProof, match="does not begin"):
            check_consistency(old, new, LEAVES[0], LEAVES[0], [])


def test_an_empty_tree_is_the_beginning_of_every_tree() -> None:
    check_consistency(0, 5, EMPTY_ROOT, mth(LEAVES[:5]), [])
    check_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    with pytest.raises(BadProof, match="empty tree"):
        check_consistency(0, 5, LEAVES[0], mth(LEAVES[:5]), [])
    with pytest.raises(BadProof, match="empty tree"):
        check_consistency(0, 0, EMPTY_ROOT, LEAVES[0], [])
    with pytest.raises(BadProof, match="1 hashes where 0"):
        check_consistency(0, 5, EMPTY_ROOT, mth(LEAVES[:5]), [LEAVES[0]])


def test_a_hash_of_another_length_is_refused() -> None:
    with pytest.raises(BadProof, match="32 bytes"):
        check_inclusion(0, 2, LEAVES[0], [b"short"], mth(LEAVES[:2]))
    with pytest.raises(BadProof, match="32 bytes"):
        check_inclusion(0, 1, b"ten bytes.", [], b"ten bytes.")


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 300, 511, 512, 600])
def test_a_tile_reader_gives_every_complete_subtree(size: int) -> None:
    hashes = TileReader(tiles_of(LEAVES[:size]), size)
    for level in range(size.bit_length()):
        for index in range(size >> level):
            if level > 3 or index % 11 == 0 or index == (size >> level) - 1:
                assert hashes(level, index) == reader(level, index)
        with pytest.raises(ValueError, match="no complete subtree"):
            hashes(level, size >> level)


@pytest.mark.parametrize(("level", "index"), [(-1, 0), (0, -1), (0, 600), (10, 0)])
def test_a_tile_reader_has_no_other_subtree(level: int, index: int) -> None:
    with pytest.raises(ValueError, match="no complete subtree"):
        TileReader(tiles_of(LEAVES), 600)(level, index)


def test_a_tile_reader_reads_a_tile_once_and_forgets_the_oldest() -> None:
    asked: list[tuple[int, int, int]] = []
    tile = tiles_of(LEAVES)

    def counting(level: int, index: int, width: int) -> bytes:
        asked.append((level, index, width))
        return tile(level, index, width)

    hashes = TileReader(counting, 600, keep=2)
    for level in range(8):
        hashes(level, 0)
    assert asked == [(0, 0, 256)]
    hashes(0, 256)
    hashes(0, 0)
    hashes(8, 1)  # a third tile: that of leaf 256 was used longest ago
    assert asked == [(0, 0, 256), (0, 1, 256), (1, 0, 2)]
    hashes(0, 1)
    hashes(0, 257)
    assert asked[3:] == [(0, 1, 256)]


def test_a_tile_reader_at_another_size_shares_full_tiles_only() -> None:
    asked: list[tuple[int, int, int]] = []
    tile = tiles_of(LEAVES)

    def counting(level: int, index: int, width: int) -> bytes:
        asked.append((level, index, width))
        return tile(level, index, width)

    hashes = TileReader(counting, 300)
    assert hashes(2, 74) == reader(2, 74)
    assert hashes(2, 1) == reader(2, 1)
    later = hashes.at(310)
    assert later(2, 76) == reader(2, 76)
    assert later(2, 1) == reader(2, 1)
    assert asked == [(0, 1, 44), (0, 0, 256), (0, 1, 54)]


def test_a_tile_of_another_length_is_refused() -> None:
    hashes = TileReader(lambda _level, _index, width: bytes(32 * width - 1), 300)
    with pytest.raises(BadProof, match="tile 1 of level 0 should hold 44 hashes, but has 1407 bytes"):
        hashes(0, 299)


# --- vectors and programs of others -----------------------------------------------------------------------------------


def outside() -> list[Any]:
    lines = (VECTORS / "merkle/vectors.jsonl").read_text().splitlines()
    return [pytest.param(vector, id=vector["file"]) for vector in map(json.loads, lines)]


# Two "roots" of this vector are equal, but ten bytes long: no hash, so we refuse.
STRICTER = {"consistency/additional/sizes-are-equal-one-and-proof-is-empty.json"}


@pytest.mark.parametrize("vector", outside())
def test_vectors_of_transparency_dev(vector: dict[str, Any]) -> None:
    proof = [b64decode(part) for part in vector["proof"] or []]
    if "leafIdx" in vector:
        index, size = vector["leafIdx"], vector["treeSize"]
        leaf, root = b64decode(vector["leafHash"] or ""), b64decode(vector["root"] or "")
        answer = refused(check_inclusion, index, size, leaf, proof, root)
    else:
        old, new = vector["size1"], vector["size2"]
        old_root, new_root = b64decode(vector["root1"] or ""), b64decode(vector["root2"] or "")
        answer = refused(check_consistency, old, new, old_root, new_root, proof)
    assert answer == (vector["wantErr"] or vector["file"] in STRICTER)


def test_pymerkle_has_the_same_roots_and_paths() -> None:
    tree = InmemoryTree(algorithm="sha256")
    for entry in ENTRIES[:300]:
        tree.append_entry(entry)
    frontier = Frontier()
    for size in range(1, 301):
        frontier.append(LEAVES[size - 1])
        assert frontier.root() == tree.get_root(size)
    for index, size in ((0, 1), (0, 300), (137, 300), (255, 256), (256, 300), (299, 300), (4, 7)):
        theirs = tree.prove_inclusion(index + 1, size).serialize()["path"]  # counts from 1, begins with the leaf itself
        assert [LEAVES[index].hex(), *(one.hex() for one in inclusion_proof(index, size, reader))] == theirs


def test_the_small_log(vectors: Path) -> None:
    folder = vectors / "small"
    entry = (folder / "entry137.json").read_bytes()
    assert leaf_hash(entry).hex() == "c90a416ee639325b6cebd087f42e6634f13b39da37316d0177524e21cae77d07"

    def tile(level: int, index: int, width: int) -> bytes:
        return (folder / f"tile/{level}/{index:03d}{f'.p/{width}' if width < TILE_WIDTH else ''}").read_bytes()

    hashes = TileReader(tile, 300)
    frontier = Frontier.at(300, hashes)
    assert frontier.root() == b64decode((folder / "checkpoint").read_text().split("\n")[2])
    assert Frontier.at(100, hashes).root() == b64decode((folder / "root-100").read_text())
    published = (folder / "entry137.tlog-proof").read_text().split("\n\n")[0].split("\n")[2:]
    assert inclusion_proof(137, 300, hashes) == [b64decode(line) for line in published]
    published = (folder / "add-checkpoint.req").read_text().split("\n\n")[0].split("\n")[1:]
    assert consistency_proof(100, 300, hashes) == [b64decode(line) for line in published]


def test_the_larger_log(samples: Path) -> None:
    folder = samples / "log"
    leaves = [leaf_hash(entry) for entry in (folder / "entries.jsonl").read_bytes().splitlines()]
    roots = [b64decode(line.split()[1]) for line in (folder / "roots.txt").read_text().splitlines()]
    frontier = Frontier()
    for size, leaf in enumerate(leaves):
        assert frontier.root() == roots[size]
        frontier.append(leaf)
    assert frontier.root() == roots[-1]
    proofs = json.loads((folder / "proofs.json").read_text())
    hashes = TileReader(tiles_of(leaves), len(leaves))
    for one in proofs["inclusion"]:
        index, size, proof = one.get("index", 0), one["size"], [b64decode(part) for part in one["proof"]]
        assert inclusion_proof(index, size, hashes) == proof
        check_inclusion(index, size, leaves[index], proof, roots[size])
    for one in proofs["consistency"]:
        old, size, proof = one["old"], one["size"], [b64decode(part) for part in one["proof"]]
        assert consistency_proof(old, size, hashes) == proof
        check_consistency(old, size, roots[old], roots[size], proof)
