"""Whether a driver gave back every file that it opened on its device."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_WITHIN = 10.0
"""Seconds in which a thread that nobody waits for any more has ended what it began."""


@contextmanager
def given_back(below: Path) -> Iterator[None]:
    """After the block nothing below this folder is open in this process that was not open before."""
    before = _open(below)
    yield
    ends = time.monotonic() + _WITHIN
    while left := _open(below) - before:
        assert time.monotonic() < ends, left
        time.sleep(0.01)


def _open(below: Path) -> set[str]:
    found = set()
    for fd in Path("/proc/self/fd").iterdir():
        try:
            path = fd.readlink()
        except OSError:
            continue
        if path.is_relative_to(below):
            found.add(str(path))
    return found
