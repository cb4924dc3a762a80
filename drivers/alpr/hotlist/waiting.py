"""Reads that the law lets a service keep, while the disk has no room for them: they wait in memory, and hold up no hit.

A read that is not answered stays at the head of its camera's queue, or of the broker's, and everything behind it waits,
hits too; and queues have ends. So it is answered, and sealed as soon as there is room. What waits is bounded: beyond
that the oldest are forgotten, as they would be were none kept, and their number is told.
"""

from __future__ import annotations

import errno
from collections import deque
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

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
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""What a disk says that takes nothing now. Anything else is a folder that cannot be one, and is told as a failure."""


class Waiting:
    """What is between a read and its seal."""

    def __init__(self, sealed: Sealed, counts: Counts, *, keep: timedelta) -> None:
        self._sealed, self._counts, self._keep = sealed, counts, keep
        self._reads: deque[tuple[dict[str, Any], datetime, int]] = deque()
        self._length, self._forgotten, self._tried_at = 0, 0, -_AGAIN
        self._why = ""

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
        self._forgotten += 1
        self._counts.count(read["camera"], at, "not_sealed")

    def reads(self) -> Iterator[dict[str, Any]]:
        """What waits, the oldest first; for a search, which finds what is sealed elsewhere."""
        for read, _, _ in list(self._reads):
            yield read

    def notices(self) -> Iterator[Notice]:
        """What a person should do."""
        if self._reads:
            gone = f", {self._forgotten} were forgotten" if self._forgotten else ""
            detail = f"{len(self._reads)} reads that are to be kept wait in memory{gone}: {self._why}"
            todo = "Make room on the disk of the hotlists' folder. Hits are taken all the same."
            yield Notice("hotlist.not_sealed", "problem", "reads", detail, todo)

    def close(self) -> None:
        """The driver ends: what still finds no room is forgotten, and counted."""
        self._tried_at = -_AGAIN
        self.settle(datetime.now(UTC))
        while self._reads:
            self._forget()
