"""When a destination that failed is tried again: full jitter, at most five minutes, one outage counted once."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from tenacity import RetryCallState, wait_random_exponential

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.errors import UplinkDown
    from agent.forward.watched import Link

__all__ = ["FIRST_PAUSE", "PAUSE_MAX", "RETRY_AFTER_MAX", "STABLE", "Pausing", "jitter"]

PAUSE_MAX: Final = 300.0
"""Seconds that we wait at most before trying a destination again on our own account."""

FIRST_PAUSE: Final = 4
"""The first pause of a destination lasts as long as the fourth of a capture, eight seconds at most: stations that lost
a DEMS together must not come back together."""

STABLE: Final = 60.0
"""Seconds without a failure, from when it took something on, after which a destination's earlier ones are forgotten."""

RETRY_AFTER_MAX: Final = 3600.0
"""Seconds that a DEMS may ask us to wait; more is cut to this."""


class Pausing:
    """The pauses of one destination; what stands in `link` is seen by those who watch."""

    def __init__(self, link: Link, *, on_change: Callable[[], None], on: object = None) -> None:
        """`on_change`: it went down, or came up again; `on`: the network that the station is on."""
        self.link, self._network = link, on
        self.round = 0
        """Grows with each failure that counts; who began in an earlier round fails together with the others."""
        self.failures = 0
        """Since the last minute without one."""
        self._in_row = 0
        self._broke = False
        self._asked_until = 0.0  # on the monotonic clock: what the destination asked for is kept, whatever it takes
        self._up_since = -STABLE
        self._on_change = on_change
        self._log = structlog.get_logger("forward")

    def failed(self, error: UplinkDown, round_: int, *, advanced: bool) -> None:
        """Leave it alone for a while. `round_`: the one in which the attempt began.

        `advanced`: a capture came further before. If it was the way that failed then, links break that come back in a
        moment, and a destination that takes bytes did not fail: what is on its way waits a second at first, and longer
        each time that nothing comes through. None of these counts: a link that breaks every few seconds has no minute
        without a failure, and what it carries in between would wait longer and longer.
        """
        if round_ != self.round:
            self._asked_too(error)
            return
        self.round += 1
        self._forget()
        if self.link.up:
            self._in_row, self._broke = 0, advanced and error.way
        self._in_row += 1
        if not self._broke or (self._in_row > 1 and not error.way):
            self.failures += 1
        if self._broke:
            pause = jitter(self._in_row if self._in_row == 1 else max(self._in_row, self.failures))
        else:
            pause = jitter(self.failures + FIRST_PAUSE - 1)
        # The jitter comes after what was asked for: who were told the same number would come back together.
        self.link.again_at = monotonic() + min(error.retry_after or 0.0, RETRY_AFTER_MAX) + pause
        self._asked_until = 0.0 if error.retry_after is None else self.link.again_at
        if self.link.up:
            self._log.warning("destination_down", destination=self.link.name, error=str(error), todo=error.what_to_do)
            self.link.down_since = monotonic()
            self._on_change()
        self.link.up, self.link.problem, self.link.todo = False, str(error), error.what_to_do

    def _asked_too(self, error: UplinkDown) -> None:
        """One more answer in an outage that was counted: it may ask for more time than the first."""
        until = monotonic() + min(error.retry_after or 0.0, RETRY_AFTER_MAX)
        if not self.link.up and until > self.link.again_at:
            self.link.again_at = self._asked_until = until + jitter(self.failures + FIRST_PAUSE - 1)

    def served(self) -> bool:
        """It took something: whatever waits may go at once. True: it had been down.

        How often it failed is forgotten only after a minute without a failure: one that takes a request and fails at
        the next is left alone for longer each time, however often it comes back in between. So of a pause that is not
        over yet, for what was on its way all the time came through, the first alone ends with it.
        """
        self._forget()
        if self.link.up:
            return False
        self._up_since = monotonic()
        if self.failures <= 1 and not self._broke:
            self.link.again_at = min(self.link.again_at, self._asked_until)
        self._log.info("destination_up", destination=self.link.name)
        self.link.up, self.link.problem, self.link.todo, self.link.down_since = True, None, None, None
        self._on_change()
        return True

    def elsewhere(self, network: object) -> bool:
        """Whether the station is on another network now: what failed on the last one tells nothing of this one.

        So it is tried soon, and not together with all whose network came back in the same moment.
        """
        if network == self._network:
            return False
        self._network, self.failures, self._in_row = network, 0, 0
        soon = max(self._asked_until, monotonic() + jitter(FIRST_PAUSE))
        self.link.again_at = min(self.link.again_at, soon)
        return True

    def _forget(self) -> None:
        if self.link.up and monotonic() - self._up_since >= STABLE:
            self.failures = 0


def jitter(tries: int) -> float:
    """Full jitter: anything from nothing to 2^(tries-1) seconds, at most PAUSE_MAX."""
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = tries
    return wait_random_exponential(multiplier=1, max=PAUSE_MAX)(state)
