"""What our own clocks say, and how far they can be believed: every journal entry carries this claim.

The kernel's own discipline (`adjtimex`, read-only, no rights needed) says whether something steers the clock and the
largest error it admits. Order never rests on the wall clock: boot id and CLOCK_BOOTTIME stand beside it.

The call that asks is also the one that sets, so a hardened unit forbids it. Then a process of its own, which can set
nothing, asks and leaves the kernel's word in a file: `python -m agent.clock FILE` (evidock-clock.service).
"""

from __future__ import annotations

import ctypes
import json
import sys
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
_STA_NANO: Final = 0x2000
_TIME_ERROR: Final = 5

TOLD: Final = Path("/run/evidock-clock/word")
"""Where evidock-clock.service leaves the kernel's word."""
_EVERY: Final = 15.0
"""Seconds between two words."""
TIMESYNCD: Final = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd touches this file each time it has set the clock right."""
_STALE_US: Final = 60_000_000
_ROUNDING_US: Final = 1000
_DRIFT_PPM: Final = 500
"""How far a clock may run off, as the kernel itself assumes for `maxerror` (adjtimex(2))."""


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


@dataclass(frozen=True, slots=True)
class Word:
    """What the kernel says of the wall clock."""

    synchronised: bool
    uncertainty_us: int | None
    offset_us: int | None = None
    """What is left of the last correction (`offset` of adjtimex(2))."""


def kernel_word() -> Word | None:
    """Ask the kernel (adjtimex(2)); None where we may not."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        return None
    synchronised = state != _TIME_ERROR and not timex.status & _STA_UNSYNC
    if not synchronised:
        return Word(synchronised=False, uncertainty_us=None)
    return Word(True, timex.maxerror, timex.offset // (1000 if timex.status & _STA_NANO else 1))  # noqa: FBT003


def told_word(path: Path) -> Word | None:
    """Read what `tell` wrote in this boot and not long ago; the clock may have drifted meanwhile."""
    try:
        said = json.loads(path.read_bytes())
        age_us = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(said["boottime_ns"])) // 1000
        if not 0 <= age_us < _STALE_US:
            return None
        if not said["synchronised"]:
            return Word(synchronised=False, uncertainty_us=None)
        drift_us, offset_us = age_us * _DRIFT_PPM // 1_000_000, said.get("offset_us")
        return Word(True, int(said["uncertainty_us"]) + drift_us, None if offset_us is None else int(offset_us))  # noqa: FBT003
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tell(path: Path) -> None:
    """Write the kernel's word to `path`, whole, for whoever may not ask. `OSError` where it cannot."""
    word = kernel_word() or Word(synchronised=False, uncertainty_us=None)
    said = {
        "boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        "offset_us": word.offset_us,
        "synchronised": word.synchronised,
        "uncertainty_us": word.uncertainty_us,
    }
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(said) + "\n", encoding="ascii")
    new.rename(path)


class Clock:
    """Reads the station's clocks. Cheap: the kernel's discipline is asked at most once a second."""

    def __init__(self, told: Path = TOLD, timesyncd: Path = TIMESYNCD) -> None:
        self._told, self._timesyncd = told, timesyncd
        self._asked_at = -1.0
        self._word = Word(synchronised=False, uncertainty_us=None)
        self._last_sync_at: datetime | None = None

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
            source="kernel" if self._word.synchronised else "none",
            synchronised=self._word.synchronised,
            uncertainty_us=self._word.uncertainty_us,
            offset_us=self._word.offset_us,
            last_sync_at=self._last_sync_at,
        )

    def heard(self, synced_at: datetime | None) -> None:
        """Whoever keeps the clock says when he set it right last; what is earlier than is known counts for nothing."""
        if synced_at is not None and (self._last_sync_at is None or synced_at > self._last_sync_at):
            self._last_sync_at = synced_at

    def _ask(self) -> None:
        word = kernel_word() or told_word(self._told) or Word(synchronised=False, uncertainty_us=None)
        before, self._word = self._word, word
        if self._asked_at >= 0 and _was_set_right(before, word):
            self._last_sync_at = datetime.now(UTC)
        try:
            touched = datetime.fromtimestamp(self._timesyncd.stat().st_mtime, UTC)
        except (OSError, ValueError):
            return
        self.heard(touched)


def _was_set_right(before: Word, now: Word) -> bool:
    """Between two corrections the largest error only grows; where it shrank, the clock has just been set right."""
    if before.uncertainty_us is None or now.uncertainty_us is None:
        return now.synchronised and not before.synchronised
    return now.uncertainty_us < before.uncertainty_us - _ROUNDING_US


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


if __name__ == "__main__":
    while True:
        tell(Path(sys.argv[1]))
        time.sleep(_EVERY)
