"""Files that nobody has changed since they were last read are not read again: the lab looks at the same ones each time.

The kernel notes each change of a file in its time of change, which no program sets. A file that was changed so lately
that another change could bear the same time is read again the next time, too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agent.testing.audit import digested

if TYPE_CHECKING:
    from pathlib import Path

SETTLED = 50_000_000
"""Nanoseconds: more than a tick of the clock that files are dated by."""


class Remembering:
    """What `digested` said of each file. Not for disks that are exchanged or bent below their file system."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], tuple[str, bytes, int]] = {}

    def __call__(self, path: Path) -> tuple[str, bytes, int]:
        """See `agent.testing.audit.digested`."""
        now, seen = time.time_ns(), path.stat()
        version = seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns
        if (found := self._known.get(version)) is None:
            found = digested(path)
            if seen.st_ctime_ns < now - SETTLED:
                self._known[version] = found
        return found
