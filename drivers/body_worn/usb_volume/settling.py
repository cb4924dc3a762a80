"""Which files have stopped changing: a file is offered once it looked the same to *us* for long enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drivers.body_worn.usb_volume.walk import Entry

__all__ = ["Settling"]

LATE_SECONDS = 900.0
"""After this long a file that is still changing is reported to a person."""


class Settling:
    """The memory of one volume while it is plugged in.

    A device's clock may be years off or run backwards, so how old a file *says* it is proves nothing; only what we
    saw twice does. Kept is one number per file (a hash of path, length and time of change) with the moment at which
    that state was first seen: some hundred bytes each, thrown away with the volume. It answers only "has it changed";
    what was taken is for the journal to know.
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._since: dict[int, float] = {}
        self._waiting: dict[str, float] = {}
        self._due: float | None = None

    def settled(self, entries: Iterable[Entry], now: float) -> list[Entry]:
        """Those that have not changed for the whole time. `now` is monotonic, in seconds, taken before the look."""
        if self._settle <= 0:
            return list(entries)
        since: dict[int, float] = {}
        waiting: dict[str, float] = {}
        ready: list[Entry] = []
        due: float | None = None
        for entry in entries:
            state = hash(entry[:3])
            first = self._since.get(state, now)
            since[state] = first
            if now - first >= self._settle:
                ready.append(entry)
            else:
                waiting[entry.key] = self._waiting.get(entry.key, now)
                due = first if due is None else min(due, first)
        self._since, self._waiting, self._due = since, waiting, due
        return ready

    def due(self, now: float) -> float | None:
        """Seconds until it is worth looking again for what waits; None where nothing does."""
        return None if self._due is None else max(0.0, self._due + self._settle - now)

    def late(self, now: float) -> list[str]:
        """Keys of what has waited far too long: something writes to it without an end."""
        return [key for key, began in self._waiting.items() if now - began >= LATE_SECONDS]
