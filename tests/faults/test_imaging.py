"""A copy that is made the same again is the same, whatever was done to it, and to what it is a copy of."""

from __future__ import annotations

import ctypes
import os
from contextlib import closing
from random import Random
from typing import TYPE_CHECKING

from tests.faults.imaging import PIECE, Twin, opened

if TYPE_CHECKING:
    from pathlib import Path

LENGTH = 64 * PIECE + 4096
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2


def test_a_renewed_twin_is_what_its_source_is(tmp_path: Path) -> None:
    chance, libc = Random(1), ctypes.CDLL(None)
    libc.fallocate.argtypes = ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64
    (source := tmp_path / "source").touch()
    os.truncate(source, LENGTH)
    with closing(Twin(source, tmp_path / "twin")) as twin:
        for _ in range(60):
            for path in (source, twin.path):
                with opened(path) as fd:
                    at = chance.randrange(LENGTH // 4096) * 4096
                    if chance.random() < 0.3:
                        libc.fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, at, min(2 * PIECE, LENGTH - at))
                    else:
                        os.pwrite(fd, chance.randbytes(min(chance.choice((1, 4096, 2 * PIECE)), LENGTH - at)), at)
            twin.renew()
            assert twin.path.read_bytes() == source.read_bytes()
