"""Where a read could be written without our doing: swap and core dumps. What can be turned off is, the rest is told."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

__all__ = ["leaks", "no_cores"]

_SWAPS = Path("/proc/swaps")
_CGROUP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")


def no_cores() -> None:
    """Give up dumping core, for this process and those that it starts."""
    with suppress(OSError, ValueError):  # a unit may have done so, and forbid the call
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def leaks() -> list[tuple[str, str]]:
    """(what, what to do) of every way on which a read could reach a disk."""
    found = []
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
        found.append(("this process may dump core", "Set LimitCORE=0 in the unit: the drop-in hotlists.conf does."))
    if _swaps() and not _kept_from_swap():
        found.append(("memory of this process may be swapped", "Install the drop-in hotlists.conf (MemorySwapMax=0)."))
    return found


def _swaps() -> bool:
    """Whether this machine has any swap that is not memory."""
    try:
        lines = _SWAPS.read_text("ascii", "replace").splitlines()[1:]
    except OSError:
        return False
    return any(not line.startswith("/dev/zram") for line in lines)


def _kept_from_swap() -> bool:
    """Whether the group of this process, or one above it, may use none (cgroup v2)."""
    try:
        told = _CGROUP.read_text("ascii", "replace").rpartition("::")[2].strip()
    except OSError:
        return False
    folder = _CGROUPS / told.lstrip("/")
    for place in (folder, *folder.parents):
        with suppress(OSError):
            if (place / "memory.swap.max").read_text("ascii").strip() == "0":
                return True
        if place == _CGROUPS:
            break
    return False
