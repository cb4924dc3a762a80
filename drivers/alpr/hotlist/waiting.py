"""Reads that the law lets a service keep, while the disk has no room for them: they wait in memory, and hold up no hit.

A read that is not answered stays at the head of its camera's queue, or of the broker's, and everything behind it waits,
hits too; and queues have ends. So it is answered, and sealed as soon as there is room. What waits is bounded: beyond
that the oldest are forgotten, as they would be were none kept. How many stands in the sums of their hour and in the
log, and a notice says so for a day: whoever searches must know that not every read is there.
"""

from __future__ import annotations

import errno
from collections import deque
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.capture import rfc3339
from agent.driver import Notice
from agent.errors import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from drivers.alpr.hotlist.counting import Counts
    from drivers.alpr.hotlist.keeping import Sealed

__all__ = ["Waiting"]

_MOST: Final = 16 << 20
"""Bytes of the reads that wait, by the length of what is sealed of them."""
_AGAIN: Final = 1.0
"""Seconds between two tries to write."""
_TOLD: Final = 86400.0
"""Seconds for which it is told that reads were forgotten, after the last one."""
_ROOM: Final = "Make room on the disk of the hotlists' folder. Hits are taken all the same."
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""What a disk says that takes nothing now. Anything else is a folder that cannot be one, and is told as a failure."""


class Waiting:
    """What is between a read and its seal."""

    def __init__(self, sealed: Sealed, counts: Counts, *, keep: timedelta) -> None:
        self._sealed, self._counts, self._keep = sealed, counts, keep
        self._reads: deque[tuple[dict[str, Any], datetime, int]] = deque()
        self._length, self._tried_at = 0, -_AGAIN
        self._why = ""
        self._forgotten, self._logged, self._forgotten_at = 0, 0, 0.0
        self._span: tuple[datetime, datetime] | None = None
        self._log = structlog.get_logger("hotlist")

    def add(self, read: dict[str, Any], at: datetime) -> None:
        """Seal one read, now or later. Raises `OSError` where the folder can never take it."""
        if not self._reads and self._is_sealed(read, at):
            return
        length = len(repr(read))
        self._reads.append((read, at, length))
        self._length += length
        self.settle(at)

    def settle(self, now: datetime) -> None:
        """Seal what waits, as far as there is room. What the policy does not keep for so long is forgotten."""
        while self._reads and monotonic() - self._tried_at >= _AGAIN and self._is_sealed(*self._reads[0][:2]):
            self._length -= self._reads.popleft()[2]
        while self._reads and (self._length > _MOST or self._reads[0][1] + self._keep <= now):
            self._forget()
        if not self._reads:
            self._say()

    def _is_sealed(self, read: dict[str, Any], at: datetime) -> bool:
        try:
            self._sealed.add(read, at)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._why, self._tried_at = in_words(error), monotonic()
            return False
        self._counts.count(read["camera"], at, "sealed")
        return True

    def _forget(self) -> None:
        read, at, length = self._reads.popleft()
        self._length -= length
        if self._forgotten == self._logged and monotonic() - self._forgotten_at > _TOLD:
            self._forgotten, self._logged, self._span = 0, 0, None
        self._forgotten, self._forgotten_at = self._forgotten + 1, monotonic()
        first, last = self._span or (at, at)
        self._span = min(first, at), max(last, at)
        self._counts.count(read["camera"], at, "not_sealed")

    def _say(self) -> None:
        """Let the log know, once nothing waits any more, what was not kept."""
        if self._forgotten > self._logged:
            self._logged = self._forgotten
            self._log.warning("reads_not_kept", count=self._forgotten, error=self._why, todo=_ROOM)

    def reads(self) -> Iterator[dict[str, Any]]:
        """What waits, the oldest first; for a search, which finds what is sealed elsewhere."""
        for read, _, _ in list(self._reads):
            yield read

    def notices(self) -> Iterator[Notice]:
        """What a person should do."""
        if self._reads:
            gone = f", {self._forgotten} were forgotten" if self._forgotten else ""
            share = f"{100 * self._length // _MOST} % of what memory has for them"
            detail = f"{len(self._reads)} reads that are to be kept wait in memory, {share}{gone}: {self._why}"
            todo = f"{_ROOM} Where memory is full, or the service ends, the oldest are forgotten."
            yield Notice("hotlist.not_sealed", "problem", "reads", detail, todo)
        elif self._span is not None and monotonic() - self._forgotten_at <= _TOLD:
            first, last = map(rfc3339, self._span)
            detail = f"{self._forgotten} reads of {first} to {last} were to be kept and were forgotten: {self._why}"
            todo = (
                "Nothing brings them back: a search finds none of them. See that the disk has room for the next ones."
            )
            yield Notice("hotlist.not_kept", "warning", "reads", detail, todo)

    def close(self) -> None:
        """The driver ends: what still finds no room is forgotten, and counted."""
        self._tried_at = -_AGAIN
        self.settle(datetime.now(UTC))
        while self._reads:
            self._forget()
        self._say()
