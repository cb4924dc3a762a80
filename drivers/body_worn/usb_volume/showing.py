"""What the dock's screen may say of one volume: nothing of an earlier look is said of what is listed now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent.driver import Bay, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from agent.capture import Device, Json, Standing
    from agent.driver import Intake, Readable
    from drivers.body_worn.usb_volume.volume import Volume
    from drivers.body_worn.usb_volume.walk import Entry
    from drivers.body_worn.usb_volume.writing import WriteWindow

__all__ = ["Shown"]

HANGS = "it has not answered for minutes: its card or its reader hangs"
HANGS_TODO = "Take it out, wait, and put it back. If it hangs again, keep it: what was not copied is still on it."

COUNTS = ("listed", "safe", "unexplained", "aside", "refused")


class Shown:
    """One volume from when it is plugged in until it is pulled out."""

    def __init__(self, name: str, volume: Volume, window: WriteWindow) -> None:
        self._bay = Bay(name)
        self._volume, self._window = volume, window
        self._answered: frozenset[int] = frozenset()

    def bay(self) -> Bay:
        """As it stands now. One that hangs is to be pulled, writable or not: nothing else helps."""
        if self._volume.hangs:
            return replace(self._bay, complete=False, offering=False, trouble=HANGS, todo=HANGS_TODO)
        return replace(self._bay, writable=self._window.writable)

    def notices(self) -> Iterator[Notice]:
        """What a person should do about it."""
        if self._volume.hangs:
            who = "its device" if self._bay.device is None else self._bay.device.id
            yield Notice("device.hangs", "problem", f"bay {self._bay.name}", f"{who}: {HANGS}", HANGS_TODO)

    def device(self, device: Device) -> None:
        """It was recognised."""
        if self._bay.device != device:
            self._bay = replace(self._bay, device=device)

    def looked(self, entries: Iterable[Entry], ready: Iterable[Entry]) -> None:
        """Every capture was listed; those that are ready are offered next. What was not there before makes it open."""
        if {_state(entry) for entry in entries} <= self._answered:
            return
        ready = list(ready)
        self._bay = replace(
            self._bay,
            complete=False,
            offering=any(_state(entry) not in self._answered for entry in ready),
            offered_bytes=sum(entry.length for entry in ready),
            answered_bytes=0,
        )

    def counting(self, intake: Intake) -> Intake:
        """The same hand; what it answers is counted."""
        return _Counting(intake, self._count)

    def _count(self, length: int) -> None:
        self._bay = replace(self._bay, answered_bytes=self._bay.answered_bytes + length)

    def offered(self) -> None:
        """Whatever was ready has its answer."""
        self._bay = replace(self._bay, offering=False)

    def answered(self, entries: Iterable[Entry], sums: Mapping[str, Json]) -> None:
        """Everything that is listed was offered, and this came of it."""
        self._answered = frozenset(_state(entry) for entry in entries)
        counts = {name: int(str(sums[name])) for name in COUNTS}
        self._bay = replace(self._bay, complete=True, offering=False, trouble=None, todo=None, **counts)  # type: ignore[arg-type]

    def troubled(self, why: str, todo: str) -> None:
        """It cannot be read, or nobody knows what it is: until the next whole look nothing else is said of it."""
        self._answered = frozenset()
        self._bay = replace(self._bay, complete=False, offering=False, trouble=why, todo=todo)


class _Counting:
    """See `agent.driver.Intake`."""

    def __init__(self, intake: Intake, count: Callable[[int], None]) -> None:
        self._intake, self._count = intake, count
        self.sight, self.observe = intake.sight, intake.observe

    async def take(self, offer: Readable, /) -> Standing:
        standing = await self._intake.take(offer)
        self._count(offer.capture.length or 0)
        return standing


def _state(entry: Entry) -> int:
    return hash(entry[:3])
