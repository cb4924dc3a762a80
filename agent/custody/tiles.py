"""The journal as static files: where each tile lies, which ones a tree of some size has, and how entries are bundled.

c2sp.org/tlog-tiles. A tile holds up to 256 hashes of one level, a bundle the up to 256 entries below a tile of level 0:

    tile/0/000            the hashes of the leaves 0 to 255
    tile/0/001.p/44       the 44 that follow, in a tree of 300
    tile/1/000.p/1        the root over tile/0/000
    tile/entries/000      the entries 0 to 255, each behind its length as two bytes, big-endian

They are made from the journal's rows and never the other way round. A full one never changes; a partial one may be
deleted once the full one is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from agent.merkle import TILE_HEIGHT, TILE_WIDTH
from agent.note import NUMBER_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ENTRY_MAX", "BadTile", "Tile", "new_tiles", "read_bundle", "write_bundle"]

ENTRY_MAX: Final = 65_535
"""Bytes of an entry: its length must fit two bytes."""

_LEVEL_MAX: Final = 63
_PATH: Final = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


class BadTile(ValueError):
    """A path or a bundle that is not of the format."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Which hashes, or which entries, one file holds."""

    level: int | None
    """The tile level, of 8 levels of the tree each; None for the entries themselves."""
    index: int
    width: int = TILE_WIDTH
    """How many it holds: fewer than 256 in a partial one."""

    @property
    def path(self) -> str:
        """Where it lies below the log's prefix."""
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        # Every part but the last has an x, so that a file of one tile is never a folder of others.
        place = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{'entries' if self.level is None else self.level}/{place}{partial}"

    @classmethod
    def parse(cls, path: str) -> Self:
        """Return the tile that lies at `path`, or raise `BadTile`."""
        if not (match := _PATH.fullmatch(path)):
            raise BadTile("this is not the path of a tile")
        level = None if match["level"] == "entries" else int(match["level"])
        made = cls(level, int(re.sub("[x/]", "", match["index"])), int(match["width"] or TILE_WIDTH))
        # Only the one spelling: no leading x000, no partial tile of full width.
        if made.path != path or (level or 0) > _LEVEL_MAX or made.index > NUMBER_MAX:
            raise BadTile("this is not the path of a tile")
        return made


def new_tiles(old: int, size: int) -> Iterator[Tile]:
    """Yield what must be written when a log of `old` leaves has grown to `size`, entries first; from 0, all there is.

    The lower level comes before the one above it, so that whoever finds a tile finds what stands below it.
    """
    for level in (None, *range(_LEVEL_MAX + 1)):
        shift = TILE_HEIGHT * (level or 0)
        before, after = old >> shift, size >> shift
        if before >= after:  # nothing new here, and so nothing above either
            return
        for index in range(before // TILE_WIDTH, -(-after // TILE_WIDTH)):
            yield Tile(level, index, min(TILE_WIDTH, after - index * TILE_WIDTH))


def write_bundle(entries: Iterable[bytes]) -> bytes:
    """Return the bytes of an entry bundle. Raises `BadTile` for an entry that is too long, and for too many."""
    entries = list(entries)
    if len(entries) > TILE_WIDTH:
        raise BadTile(f"{len(entries)} entries do not fit one bundle")
    if any(len(entry) > ENTRY_MAX for entry in entries):
        raise BadTile(f"an entry is longer than {ENTRY_MAX} bytes")
    return b"".join(len(entry).to_bytes(2) + entry for entry in entries)


def read_bundle(bundle: bytes, width: int) -> list[bytes]:
    """Return the entries of a bundle that holds `width` of them, or raise `BadTile`."""
    entries: list[bytes] = []
    at = 0
    while at < len(bundle) and len(entries) < width:
        end = at + 2 + int.from_bytes(bundle[at : at + 2])
        entries.append(bundle[at + 2 : end])
        at = end
    if at != len(bundle) or len(entries) != width:
        raise BadTile(f"this is not a bundle of {width} entries")
    return entries
