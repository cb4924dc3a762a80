"""A small disk of its own for a station, which somebody else fills to the last block and empties again."""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.faults.machine import disk
from tests.faults.mounting import may_mount, mounted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LENGTH = 48 << 20
FORMAT = ("ext4", "-b", "4096", "-m", "0")


class Disk:
    """One that is mounted at `top`."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def fill(self, *, but: int = 0) -> None:
        """Somebody else takes every block that is left, but for so many bytes."""
        fd = os.open(self.top / "others", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for length in (1 << 20, 4096, 1):
                try:
                    while os.write(fd, b"x" * length):
                        os.fsync(fd)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
            os.ftruncate(fd, max(0, os.fstat(fd).st_size - but))
            os.fsync(fd)
        finally:
            os.close(fd)

    def become_read_only(self) -> None:
        """As a disk that has failed, or that is write-protected."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.top)], check=True)

    def give_back(self) -> None:
        """All of it."""
        (self.top / "others").unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Skips where nothing can be mounted."""
    if not may_mount():
        pytest.skip("mounting needs root and loop devices")
    (top := folder / "disk").mkdir()
    try:
        image = disk(folder / "disk.img", LENGTH, *FORMAT)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no ext4 can be made here: {error}")
    with mounted(image, FORMAT[0], top):
        yield Disk(top)
