"""Every power cut at once: the disk as it was after each recorded write is built, mounted, and examined."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import apsw

from agent.journal import wal
from tests.faults.examining import Promises, examined
from tests.faults.imaging import Twin, copy_sparse, opened
from tests.faults.logwrites import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

RECOVERED = 3
"""Of so many entries, after one it is also looked at what recovery makes of the disk: it takes as long as the rest."""
TORN = 0.1
"""Of the points, how many cut the last write in two: a disk promises whole pieces, and no more."""
PAGES = 4096
"""Sums that are kept: of two logs as long as they get, each page with its head."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One moment: after this entry, of which so much was written."""

    entry: int
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Wrong:
    """What a power cut broke."""

    cut: Cut
    sentences: list[str]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A folder with `base.img`, `log.img`, and `out/` with what the camera ever held and what the DEMS has."""

    folder: Path
    file_system: str

    def cuts(self, seed: int, most: int | None = None, *, log: Path | None = None) -> list[Cut]:
        """One after each write since the start, a tenth of them in the middle of it; or so many of them."""
        chance, record = Random(seed), Record(log or self.folder / "log.img")
        found = [number for number in range(record.begin(), len(record.entries)) if record.entries[number].length]
        record.close()
        if most is not None and most < len(found):
            found = sorted(chance.sample(found, most))
        torn = [chance.random() if chance.random() < TORN else 1.0 for _ in found]
        return [Cut(number, share) for number, share in zip(found, torn, strict=True)]

    def promises(self) -> Promises:
        """What is true at any moment."""
        ever = {tuple(one) for one in json.loads((self.folder / "out/ever.json").read_text())}
        told = json.loads((self.folder / "out/arrived.json").read_text())
        arrived = {capture: [bytes.fromhex(one) for one in found] for capture, found in told.items()}
        return Promises(ever=ever, arrived=arrived)


class _Hasty(apsw.VFS):
    """SQLite's door to the system, without the waiting for a disk."""

    def __init__(self) -> None:
        self._base = apsw.vfs_names()[0]
        super().__init__("hasty", base=self._base, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: ANN401, N802 - SQLite's names
        return _HastyFile(self._base, name, flags)


class _HastyFile(apsw.VFSFile):
    def xSync(self, flags: int) -> None:  # noqa: N802
        """Nothing: what is examined is thrown away."""


@contextmanager
def hasty() -> Iterator[None]:
    """Nothing is forced to a disk by this process: each image is looked at once, and thrown away.

    And the sum over one page of a log, after the same pages, is made once: the next image has most of them, too.
    """
    door, fsync, summed = _Hasty(), os.fsync, wal._sum
    os.fsync = lambda _: None  # type: ignore[assignment]
    wal._sum = lru_cache(PAGES)(summed)
    try:
        yield
    finally:
        os.fsync, wal._sum = fsync, summed
        door.unregister()


def replay(recorded: Recorded, cuts: list[Cut]) -> list[Wrong]:
    """Examine each; the cuts are in order."""
    wrong: list[Wrong] = []
    with hasty(), tempfile.TemporaryDirectory(prefix="evidock-cut-", dir="/dev/shm") as name:  # in memory
        (top := Path(name) / "top").mkdir()
        for cut, image, promises in states(recorded, cuts, Path(name)):
            again_too = cut.entry % RECOVERED == 0
            if found := examined(image, recorded.file_system, top, promises, again_too=again_too):
                wrong.append(Wrong(cut, found))
    return wrong


def states(recorded: Recorded, cuts: list[Cut], scratch: Path) -> Iterator[tuple[Cut, Path, Promises]]:
    """Each cut with the disk that it leaves, to be done with as one likes, and what had been promised before it.

    The disk is the same file each time: what was done to it is undone, found by comparing it with what it should be.
    """
    record, promises = Record(recorded.folder / "log.img"), recorded.promises()
    heard, done = record.begin(), 0
    image = scratch / "disk.img"
    copy_sparse(recorded.folder / "base.img", image)
    with opened(image) as disk, closing(Twin(image, scratch / "point.img")) as point, opened(point.path) as last:
        for cut in cuts:
            for entry in record.entries[done : cut.entry]:
                record.apply(entry, disk)
            done, after = cut.entry, cut.entry + 1
            # What was promised after this write and before the next one counts, too, where this one was whole.
            while cut.share == 1.0 and after < len(record.entries) and not record.entries[after].length:
                after += 1
            for entry in record.entries[heard:after]:
                if entry.mark:
                    promises.hear(entry.mark)
            heard = max(heard, after)
            point.renew()
            record.apply(record.entries[cut.entry], last, cut.share)
            yield cut, point.path, promises
    record.close()
