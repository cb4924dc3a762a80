"""Captures that failed: each keeps no other waiting for a while, and one that fails again and again fails by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.forward import pausing

__all__ = ["DAY", "MOMENT", "Aside", "Asides"]

OWN_FAULT: Final = 2
"""Failures of a capture after which another one, while others get through, is laid to the capture alone."""
LONG: Final = 3600.0
"""Seconds for which a capture has to fail by itself until a person is told."""
DAY: Final = 86400.0
"""Seconds for which a copy that a destination does not take keeps aside: its bytes cost as much each time."""
MOMENT: Final = 0.05
"""Seconds for which one that failed lets another try whether the destination is back."""


@dataclass(slots=True)
class Aside:
    """A capture that failed, and how long it keeps no other waiting."""

    tries: int = 0
    until: float = 0.0
    """On the monotonic clock."""
    doubts: int = 0
    after: int = 0
    """How many captures had got through when it failed last."""
    own: bool = False
    """It failed while others got through: until it comes further, its failures tell nothing of the destination."""
    alone_since: float | None = None
    """Since when it fails by itself, on the monotonic clock."""

    def fails_long(self, now: float) -> bool:
        """Whether it fails by itself for so long that somebody should look."""
        return self.alone_since is not None and now - self.alone_since >= LONG


class Asides:
    """Those of one destination, by the id of the capture."""

    def __init__(self) -> None:
        self._known: dict[str, Aside] = {}
        self._through = 0

    def may_go(self, capture: str, now: float) -> bool:
        """Whether its wait is over."""
        aside = self._known.get(capture)
        return aside is None or aside.until <= now

    def knows(self, capture: str) -> bool:
        """Whether it failed, and was not taken since."""
        return capture in self._known

    def waiting(self, now: float) -> set[str]:
        """Those whose wait is not."""
        return {name for name, aside in self._known.items() if aside.until > now}

    def soonest(self, now: float, otherwise: float) -> float:
        """When the next of them may go. Who may and does not waits for something else, which tells when it comes."""
        return min((aside.until for aside in self._known.values() if aside.until > now), default=otherwise)

    def step(self, capture: str, now: float, *, anew: bool = False, own: bool = False, alone: bool = False) -> Aside:
        """It failed. `anew`: it came further than before, so what failed was not its own doing; `own`: it was.

        `alone`: it has to wait, whoever's doing that was, and others have not.
        """
        aside = self._known.setdefault(capture, Aside())
        since = now if anew or aside.alone_since is None else aside.alone_since
        aside.alone_since = since if own or alone else None
        aside.tries, aside.own = (1, False) if anew else (aside.tries + 1, own)
        aside.until, aside.after = now + pausing.jitter(aside.tries), self._through
        return aside

    def shelve(self, capture: str, now: float, seconds: float = DAY) -> None:
        """The destination does not take it, and is asked whether it still does not once a day: in so many seconds."""
        aside = self._known.setdefault(capture, Aside())
        aside.own, aside.until, aside.after = True, now + seconds + pausing.jitter(aside.tries + 1), self._through

    def fails_alone(self, capture: str, *, up: bool) -> bool:
        """Whether one more failure tells of this capture, and nothing of a destination that took others meanwhile."""
        aside = self._known.get(capture)
        if aside is None:
            return False
        return aside.own or (up and aside.tries >= OWN_FAULT and aside.after < self._through)

    def through(self, *captures: str) -> None:
        """They were taken."""
        for capture in captures:
            self._known.pop(capture, None)
        self._through += len(captures)

    def forgive(self, capture: str) -> None:
        """A person asks to try this one now."""
        self._known.pop(capture, None)

    def back(self) -> None:
        """The destination is back: what stepped aside because of it need not wait for its own turn."""
        for aside in self._known.values():
            if not aside.doubts and not aside.own:
                aside.until = 0.0
