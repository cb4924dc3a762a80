"""Of several receivers behind one gpsd, which one gives the position: two in turn would be one car at two places."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from drivers.in_car.gnss.telling import LOST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Choice"]

_HERE_SECONDS: Final = 60.0
"""For which a receiver counts as one that gpsd has, after it was heard."""


class Choice:
    """The first that is heard gives it, until it has been without a fix for a while; then whichever has one."""

    def __init__(self, wanted: Sequence[str] = ()) -> None:
        """`wanted`: paths of those that count; empty: every one does."""
        self._wanted = frozenset(wanted)
        self._heard: dict[str, float] = {}
        self._fixed_at = 0.0
        self.chosen: str | None = None
        """Which it is; None: none was heard yet."""

    def gives(self, path: str, *, fixed: bool) -> bool:
        """A receiver spoke: whether what it says is the position."""
        if self._wanted and path not in self._wanted:
            return False
        now = asyncio.get_running_loop().time()
        self._heard[path] = now
        self._heard = {one: at for one, at in self._heard.items() if now - at < _HERE_SECONDS}
        if self.chosen is None or (fixed and path != self.chosen and now - self._fixed_at >= LOST_SECONDS):
            self.chosen, self._fixed_at = path, now
        elif path == self.chosen and fixed:
            self._fixed_at = now
        return path == self.chosen

    @property
    def others(self) -> list[str]:
        """Who else was heard lately."""
        return sorted(path for path in self._heard if path != self.chosen)
