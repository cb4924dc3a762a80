"""What broke is said once, and once that it works again: a log that repeats itself is not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["MOST", "Sides"]

MOST: Final = 10_000
"""Sides that are remembered as broken; of those beyond nothing is said, for the first ones tell enough."""


class Sides:
    """Which sides are broken, and why."""

    def __init__(self) -> None:
        self._broken: dict[Hashable, str] = {}

    def broke(self, side: Hashable, why: str, say: Callable[..., Any], event: str, **told: object) -> None:
        """It does not work, for this reason; said where it worked before, or broke for another reason."""
        if self._broken.get(side) == why or (side not in self._broken and len(self._broken) >= MOST):
            return
        self._broken[side] = why
        say(event, error=why, **told)

    def works(self, side: Hashable, say: Callable[..., Any], event: str, **told: object) -> None:
        """It works; said where it was broken before."""
        if self._broken and self._broken.pop(side, None) is not None:
            say(event, **told)

    def forget(self, concerns: Callable[[Any], bool]) -> None:
        """Some sides are no longer there at all."""
        for side in [side for side in self._broken if concerns(side)]:
            del self._broken[side]

    def broken(self) -> dict[Hashable, str]:
        """What is broken now, and why."""
        return dict(self._broken)
