"""How much of a capture one request carries."""

from __future__ import annotations

from typing import Final

from agent.uplink.tus.options import FLOOR

__all__ = ["PartLength"]

STREAK: Final = 8
"""Parts that arrive in a row before a part is made larger again."""


class PartLength:
    """Bytes of one request, for all captures of one uplink: a part is the most that a cut link can cost.

    It is halved when a body was lost whole, for a link that breaks every few seconds would otherwise never bring one
    part home, and doubled again after a streak. What a proxy refused for its size is never tried again.
    """

    def __init__(self, length: int) -> None:
        self.now = length
        self.buffered = False
        """It was told that a proxy collects bodies before it hands them on."""
        self._most = length
        self._streak = 0

    def end(self, offset: int, length: int) -> int:
        """Return where the part that begins at `offset` ends: at the next multiple, so that a resume aligns again."""
        return min((offset // self.now + 1) * self.now, length)

    def lost(self, length: int) -> None:
        """Nothing was kept of a body of so many bytes."""
        self._streak = 0
        self.now = min(self.now, _half(length))

    def refused(self, length: int) -> bool:
        """Something before the server refuses bodies of this length; False where they cannot be shorter."""
        if length <= FLOOR:
            return False
        self._streak = 0
        self._most = min(self._most, _half(length))
        self.now = min(self.now, self._most)
        return True

    def kept(self) -> None:
        """A part arrived."""
        self._streak += 1
        if self._streak >= STREAK:
            self._streak = 0
            self.now = min(self.now * 2, self._most)


def _half(length: int) -> int:
    return max(FLOOR, length // 2 // FLOOR * FLOOR)
