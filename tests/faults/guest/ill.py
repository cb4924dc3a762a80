"""In a machine: which sectors of its disk fail, and which of them a file system gives to the bytes of files."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from pathlib import Path

TOP = Path("/mnt/d")
"""Where the disk is mounted."""
WELL, ILL = "linear /dev/ubda {}", "flakey /dev/ubda {} 0 1000 1 error_writes"
FILL, REST = 0.9, 64 * 1024
"""Of the free room, how much a file takes to learn where bytes of files are put; and how many bytes may be left."""


def table(ill: list[tuple[int, int]], size: int) -> str:
    """A mapping on which these ranges of sectors take no writes."""
    lines, at = [], 0
    for begin, end in [*ill, (size, size)]:
        for one, upto, kind in ((at, begin, WELL), (begin, end, ILL)):
            if one < upto:
                lines.append(f"{one} {upto - one} {kind.format(one)}")
        at = end
    return "\n".join(lines)


def room_for_bytes() -> list[tuple[int, int]]:
    """Ranges of sectors where this file system puts what files hold, as files show that take all but a rest of them.

    One file alone takes the longest pieces, and leaves a piece in which the journal comes to lie.
    """
    found, paths = list[tuple[int, int]](), list[Path]()
    while (free := int(os.statvfs(TOP).f_bavail * os.statvfs(TOP).f_frsize * FILL)) > REST:
        paths.append(path := TOP / f"room-{len(paths)}")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        try:
            os.posix_fallocate(fd, 0, free)
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            break
        finally:
            os.close(fd)
        found += extents(path)
    for path in paths:
        path.unlink()
    os.sync()
    return sorted(found)


def extents(path: Path) -> list[tuple[int, int]]:
    """Ranges of sectors that hold a file's bytes."""
    # "  0:        0..    2047:      34816..     36863:   2048: ..." in the blocks of the file system
    said = subprocess.run(["filefrag", "-v", str(path)], check=True, capture_output=True, text=True).stdout
    unit = int(re.search(r"blocks? of (\d+) bytes", said)[1]) // 512
    found = re.findall(r"^ *\d+: +\d+\.\. *\d+: +(\d+)\.\. *(\d+):", said, re.MULTILINE)
    return sorted((int(begin) * unit, (int(end) + 1) * unit) for begin, end in found)
