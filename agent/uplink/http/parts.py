"""How much of a capture one request carries."""

from __future__ import annotations

from typing import Final

from agent.capture import PART_LENGTH
from agent.uplink.http.options import FLOOR

__all__ = ["PartLength"]

SHARE: Final = 64
"""A part has at most this share of what came home between two cuts. Half a part is lost with each on average: less
than a hundredth of it all."""

FITTED: Final = 4 * FLOOR
"""A part is not fitted to less, for each costs a round trip and a commit; only one that never arrives gets shorter."""


QUICK: Final = 32 * 1024 * 1024
"""Bytes per second from which a link counts as quick."""

AT_ONCE: Final = 1.0
"""Seconds for one request: where it takes less, the next may bring as many parts as come in that time at its rate, and
twice as many in any case; where it takes twice that, half."""
NOTHING_LOST: Final = 4.0
"""The same where its receiver keeps what it got of a request that is cut. Long ones cost nothing then but the time for
which a more urgent capture waits where all places are taken."""
STEEPEST: Final = 16
"""So many times as many parts at most: the first ones are few, and tell the rate of a link only roughly."""
TIMES: Final = 32
"""Parts of one request at most: 512 MiB. The wait for its answer is short beside its bytes then, on any link."""


class PartLength:
    """Bytes of one request, for all captures of one uplink: a part is the most that a cut link can cost.

    After a cut it is fitted to what came home since the last one, for a link that breaks every few seconds would
    otherwise never bring one part home, or send each twice; as more comes home it grows again. What a proxy refused for
    its size is never tried again.

    On a quick link each answer that is waited for costs as much as the bytes of a part. A request brings several of
    them there, where its receiver can prove them together: a second of the link is the most that a cut costs then.
    """

    def __init__(self, length: int) -> None:
        self.now = length
        self.buffered = False
        """It was told that a proxy collects bodies before it hands them on."""
        self.quick = False
        """The link is so fast that a cut costs moments: what bounds its cost is not worth computing."""
        self._most = length
        self._home = 0
        self._times, self._times_most = 1, TIMES if length == PART_LENGTH else 1

    def end(self, offset: int, length: int, *, several: bool = False) -> int:
        """Return where the request that begins at `offset` ends: at the next multiple, so that a resume aligns again.

        `several`: its receiver may be sent several parts in one request.
        """
        times = self._times if several and self.now == self._most else 1
        return min((offset // self.now + times) * self.now, length)

    def lost(self, length: int) -> None:
        """Nothing was kept of a body of so many bytes."""
        self.quick, self._times = False, 1
        # Bodies that were lost together tell of one cut: after the first of them nothing has come home.
        fitting = max(FITTED, self._home // SHARE // FLOOR * FLOOR) if self._home else self.now
        self._home = 0
        self.now = min(self.now, _half(length), fitting)

    def refused(self, length: int) -> bool:
        """Something before the server refuses bodies of this length; False where they cannot be shorter."""
        if length <= FLOOR:
            return False
        if self._times > 1:
            self._times = self._times_most = self._times // 2
            return True
        self._most = min(self._most, _half(length))
        self.now = min(self.now, self._most)
        return True

    def kept(self, length: int, seconds: float | None = None, *, abreast: int = 1, loses: bool = True) -> None:
        """A request with so many bytes arrived, after so many seconds in which so many were on their way.

        `loses`: had it been cut, its receiver would have kept nothing of it.
        """
        within = AT_ONCE if loses else NOTHING_LOST
        if seconds is not None and length >= FITTED:
            self.quick = length * abreast > QUICK * seconds
        if seconds is not None and (length > self.now * (self._times - 1) or seconds > within):
            if seconds < within:
                fitting = int(self._times * max(2, min(STEEPEST, within / max(seconds, within / STEEPEST))))
            else:
                fitting = self._times // (1 + (seconds > 2 * within))
            self._times = max(1, min(fitting, self._times_most))
        self._home += length
        if self.now < self._most and self._home >= 2 * self.now * SHARE:
            self.now = min(self.now * 2, self._most)


def _half(length: int) -> int:
    return max(FLOOR, length // 2 // FLOOR * FLOOR)
