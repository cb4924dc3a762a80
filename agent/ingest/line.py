"""Whose turn it is where room is short: devices come in the order in which they were refused first.

What leaves the spool makes room for a capture or two at a time. Without an order whoever looks most often gets it, and
a bay may wait for as long as others have something to give.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.errors import SpoolFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.spool import Room

__all__ = ["Line"]

_KEPT: Final = 30.0
"""Seconds for which the place of a device is kept that does not ask again: it may have been taken out."""
_FRESH: Final = 0.1
"""Seconds for which the disk is not asked again how much room it has; what was let in meanwhile is taken off."""
_SHARE: Final = 16
"""Who wants more than this part of the whole spool at once is passed by: others would wait for it for too long."""


@dataclass(slots=True)
class _Place:
    length: int
    asked_at: float


class Line:
    """The devices that were refused, the first of them first. One capture taken, a device goes to the end."""

    def __init__(self, room: Callable[[], Room], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = room, clock
        self._places: dict[str, _Place] = {}
        self._told, self._asked_at, self._let_in = room(), float("-inf"), 0

    def require(self, device: str, length: int) -> None:
        """Raise `SpoolFull` unless `length` bytes fit above the watermark, beside what those before it wait for."""
        now = self._clock()
        room = self._room(length, now)
        for gone in [name for name, place in self._places.items() if place.asked_at < now - _KEPT]:
            del self._places[gone]
        before = 0
        for other, place in self._places.items():
            if other == device:
                break
            before += place.length
        if before + length <= room.usable:
            self._places.pop(device, None)
            self._let_in += length
            return
        if (mine := self._places.get(device)) is not None:
            mine.asked_at = now
        elif length <= (room.total - room.watermark) // _SHARE:
            self._places[device] = _Place(length, now)
        said = f"{length} bytes are needed and {room.usable} are left above the watermark of {room.watermark}"
        raise SpoolFull(said if length > room.usable else f"{said}, for which others have waited longer")

    def _room(self, length: int, now: float) -> Room:
        """Room on the disk, as it was told a moment ago where `length` bytes fit beyond doubt: every capture asks."""
        fresh = 0 <= now - self._asked_at < _FRESH and self._let_in + length <= self._told.usable
        if self._places or not fresh:
            self._told, self._asked_at, self._let_in = self._ask(), now, 0
        return self._told
