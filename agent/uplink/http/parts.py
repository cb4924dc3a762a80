"""How much of a capture one request carries."""

from __future__ import annotations

from typing import Final

from agent.uplink.http.options import FLOOR

__all__ = ["PartLength"]

SHARE: Final = 64
"""A part has at most this share of what came home between two cuts. Half a part is lost with each on average: less
than a hundredth of it all."""

FITTED: Final = 4 * FLOOR
"""A part is not fitted to less, for each costs a round trip and a commit; only one that never arrives gets shorter."""


QUICK: Final = 32 * 1024 * 1024
"""Bytes per second from which a link counts as quick."""


class PartLength:
    """Bytes of one request, for all captures of one uplink: a part is the most that a cut link can cost.

    After a cut it is fitted to what came home since the last one, for a link that breaks every few seconds would
    otherwise never bring one part home, or send each twice; as more comes home it grows again. What a proxy refused for
    its size is never tried again.
    """

    def __init__(self, length: int) -> None:
        self.now = length
        self.buffered = False
        """It was told that a proxy collects bodies before it hands them on."""
        self.quick = False
        """The last part went so fast that a cut would cost moments: what bounds its cost is not worth computing."""
        self._most = length
        self._home = 0

    def end(self, offset: int, length: int) -> int:
        """Return where the part that begins at `offset` ends: at the next multiple, so that a resume aligns again."""
        return min((offset // self.now + 1) * self.now, length)

    def lost(self, length: int) -> None:
        """Nothing was kept of a body of so many bytes."""
        self.quick = False
        # Bodies that were lost together tell of one cut: after the first of them nothing has come home.
        fitting = max(FITTED, self._home // SHARE // FLOOR * FLOOR) if self._home else self.now
        self._home = 0
        self.now = min(self.now, _half(length), fitting)

    def refused(self, length: int) -> bool:
        """Something before the server refuses bodies of this length; False where they cannot be shorter."""
        if length <= FLOOR:
            return False
        self._most = min(self._most, _half(length))
        self.now = min(self.now, self._most)
        return True

    def kept(self, length: int, seconds: float | None = None) -> None:
        """A part of so many bytes arrived, after so many seconds."""
        if seconds is not None and length >= FITTED:
            self.quick = length > QUICK * seconds
        self._home += length
        if self.now < self._most and self._home >= 2 * self.now * SHARE:
            self.now = min(self.now * 2, self._most)


def _half(length: int) -> int:
    return max(FLOOR, length // 2 // FLOOR * FLOOR)
