"""What our own clocks say, and how far they can be believed: every journal entry carries this claim.

The kernel's own discipline (`adjtimex`, read-only, no rights needed) says whether something steers the clock and the
largest error it admits. Order never rests on the wall clock: boot id and CLOCK_BOOTTIME stand beside it.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.capture import Json, Stamp

if TYPE_CHECKING:
    from agent.driver import ClockReading

__all__ = ["EARLIEST", "Clock", "Comparison", "Step", "boot_id", "compare"]

EARLIEST: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""A station's clock before this is wrong for certain: it began at 1970 or lost its battery."""

_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5


class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h>; only the fields up to `maxerror` and `status` are read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


@cache
def boot_id() -> str:
    """The kernel's random name for this boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


class Clock:
    """Reads the station's clocks. Cheap: the kernel's discipline is asked at most once a second."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._asked_at = -1.0
        self._synchronised = False
        self._uncertainty_us: int | None = None

    def stamp(self) -> Stamp:
        """One moment, as all our clocks tell it."""
        now = time.monotonic()
        if not 0 <= now - self._asked_at < 1:
            self._ask()
            self._asked_at = now
        return Stamp(
            at=datetime.now(UTC),
            boot_id=boot_id(),
            mono_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            source="kernel" if self._synchronised else "none",
            synchronised=self._synchronised,
            uncertainty_us=self._uncertainty_us,
        )

    def _ask(self) -> None:
        timex = _Timex()
        state = self._libc.adjtimex(ctypes.byref(timex))
        if state < 0:
            self._synchronised, self._uncertainty_us = False, None
            return
        self._synchronised = state != _TIME_ERROR and not timex.status & _STA_UNSYNC
        self._uncertainty_us = timex.maxerror if self._synchronised else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A device's clock against ours, once."""

    offset: timedelta
    """Device minus ours."""
    uncertainty: timedelta
    """The offset may be wrong by this much either way: half the time that asking took, the device's resolution, and
    what our own clock admits."""
    ours: Stamp

    @property
    def claims(self) -> dict[str, Json]:
        """As it stands in the journal, in microseconds."""
        microsecond = timedelta(microseconds=1)
        return {
            "clock": self.ours.claims,
            "offset_us": self.offset // microsecond,
            "uncertainty_us": self.uncertainty // microsecond,
        }


def compare(before: Stamp, reading: ClockReading, after: Stamp) -> Comparison:
    """Compare a device's clock, read between two of our stamps, with the middle of the two.

    How long asking took is told by CLOCK_BOOTTIME, which nobody sets.
    """
    took = timedelta(microseconds=max(0, after.mono_ns - before.mono_ns) // 1000)
    own = timedelta(microseconds=after.uncertainty_us or 0)
    return Comparison(reading.at - (before.at + took / 2), took / 2 + reading.resolution + own, after)


class Step:
    """Notices that our wall clock was set: by comparing it with the clock that nobody sets."""

    def __init__(self, first: Stamp, *, least: timedelta = timedelta(seconds=1)) -> None:
        self._last, self._least = first, least

    def since(self, now: Stamp) -> timedelta | None:
        """How far the clock was set since the last look, where it was; slow corrections stay below `least`."""
        passed = timedelta(microseconds=(now.mono_ns - self._last.mono_ns) // 1000)
        stepped = now.at - self._last.at - passed
        self._last = now
        return stepped if abs(stepped) >= self._least else None
