from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.custody.tiles import ENTRY_MAX, BadTile, Tile, new_tiles, read_bundle, write_bundle
from agent.merkle import leaf_hash, subtree_root

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1, 44), "tile/0/001.p/44"),
        (Tile(1, 0, 1), "tile/1/000.p/1"),
        (Tile(0, 999), "tile/0/999"),
        (Tile(0, 1000), "tile/0/x001/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),  # the example of c2sp.org/tlog-tiles
        (Tile(None, 1234067, 8), "tile/entries/x001/x234/067.p/8"),
        (Tile(63, 0, 255), "tile/63/000.p/255"),
    ],
)
def test_paths(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert Tile.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/001",
        "tile/0/001/x002",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/04",
        "tile/0/000.p/256",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000/",
        "/tile/0/000",
        "tile/entry/000",
        "tile/0/../000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/000\n",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999",
    ],
)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(BadTile, match="path of a tile"):
        Tile.parse(path)


tiles = st.builds(Tile, st.none() | st.integers(0, 63), st.integers(0, 2**63 - 1), st.integers(1, 256))


@given(tiles)
def test_every_path_is_read_back(tile: Tile) -> None:
    assert Tile.parse(tile.path) == tile


def test_the_tiles_of_the_published_log(vectors: Path) -> None:
    folder = vectors / "small"
    paths = [tile.path for tile in new_tiles(0, 300)]
    assert paths == [
        "tile/entries/000",
        "tile/entries/001.p/44",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
    ]
    assert sorted(paths) == sorted(str(file.relative_to(folder)) for file in folder.glob("tile/**/*") if file.is_file())


def test_the_bundles_of_the_small_log(vectors: Path) -> None:
    check_bundles(vectors / "small")


def test_the_bundles_of_the_larger_log(samples: Path) -> None:
    check_bundles(samples / "log")


def check_bundles(folder: Path) -> None:
    for partial, width in (("000", 256), ("001.p/44", 44)):
        bundle = (folder / "tile/entries" / partial).read_bytes()
        entries = read_bundle(bundle, width)
        assert b"".join(map(leaf_hash, entries)) == (folder / "tile/0" / partial).read_bytes()
        assert write_bundle(entries) == bundle
    assert subtree_root((folder / "tile/0/000").read_bytes()) == (folder / "tile/1/000.p/1").read_bytes()


def test_the_example_of_the_standard() -> None:
    # c2sp.org/tlog-tiles: 70,000 leaves are 273 full tiles and one of width 112, one full one and one of 17, one of 1.
    at = {level: [tile for tile in new_tiles(0, 70_000) if tile.level == level] for level in (None, 0, 1, 2, 3)}
    for level in (None, 0):
        assert [tile.width for tile in at[level]] == [256] * 273 + [112]
    assert [tile.width for tile in at[1]] == [256, 17]
    assert [tile.width for tile in at[2]] == [1]
    assert at[3] == []


def test_a_tree_of_256_is_one_full_tile_and_one_of_width_1() -> None:
    assert [tile.path for tile in new_tiles(0, 256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]


def test_growth_brings_only_what_is_new() -> None:
    assert [tile.path for tile in new_tiles(300, 301)] == ["tile/entries/001.p/45", "tile/0/001.p/45"]
    assert [tile.path for tile in new_tiles(511, 512)] == ["tile/entries/001", "tile/0/001", "tile/1/000.p/2"]
    assert [tile.path for tile in new_tiles(512, 513)] == ["tile/entries/002.p/1", "tile/0/002.p/1"]
    assert list(new_tiles(300, 300)) == []
    assert list(new_tiles(0, 0)) == []


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))
def test_growing_in_steps_leaves_the_same_full_tiles(first: int, second: int, third: int) -> None:
    sizes = [0, first, first + second, first + second + third]
    written = {tile for old, size in pairwise(sizes) for tile in new_tiles(old, size)}
    at_once = set(new_tiles(0, sizes[-1]))
    assert at_once <= written
    assert {tile for tile in written if tile.width == 256} == {tile for tile in at_once if tile.width == 256}


@given(st.lists(st.binary(max_size=40), max_size=256))
def test_what_is_bundled_is_read(entries: list[bytes]) -> None:
    bundle = write_bundle(entries)
    assert read_bundle(bundle, len(entries)) == entries
    for width in {0, len(entries) - 1, len(entries) + 1} - {len(entries), -1}:
        with pytest.raises(BadTile):
            read_bundle(bundle, width)


def test_a_bundle_that_was_cut_is_refused() -> None:
    bundle = write_bundle([b"first", b"", b"third"])
    for length in range(len(bundle)):
        with pytest.raises(BadTile, match="not a bundle of 3 entries"):
            read_bundle(bundle[:length], 3)
    with pytest.raises(BadTile):
        read_bundle(bundle + b"\0", 3)


def test_what_does_not_fit_a_bundle() -> None:
    assert len(write_bundle([bytes(ENTRY_MAX)])) == 2 + ENTRY_MAX
    with pytest.raises(BadTile, match="longer than 65535"):
        write_bundle([bytes(ENTRY_MAX + 1)])
    with pytest.raises(BadTile, match="257 entries"):
        write_bundle([b""] * 257)
