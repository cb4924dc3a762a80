"""Who has a link that is too narrow for all: less urgent captures keep to a trickle, where the urgent one gains by it.

Between two requests a less urgent capture gives its place away (`watched.make_way`); but a request may last for
minutes on a narrow link, and all that share it have equal parts. Whether holding the others back helps, nobody knows
beforehand: behind a receiver that is slow, or on a lossy link, each goes at its own speed whatever the others do. So it
is tried: the urgent one's speed beside them and without them decides for a minute, and then it is tried again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from enum import Enum, auto
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from agent.capture import Priority
    from agent.forward.watched import Departure
    from agent.traffic import Bucket

__all__ = ["Precedence"]

PRESSES: Final = 1.0
"""Seconds from the first byte of an urgent capture after which it is felt that the link is narrow."""
QUIET: Final = 3.0
"""Seconds without a byte of it after which nobody waits for it: it waits itself, for an answer."""
STUCK: Final = 15.0
"""The same while the network has a piece of it in hand, and has not asked for the next."""
LOOK, DRAIN, TRY, STANDS = 3.0, 5.0, 5.0, 60.0
"""Seconds: beside the others; until their buffers are empty; without them; and for which the outcome holds."""
WORTH: Final = 1.5
"""So many times as fast it must be without the others, else they are not held back."""

TRICKLE: Final = 8 * 1024
EVERY: Final = 5.0
"""Bytes, and seconds, with which a request that is held back shows that it lives. Proxies end requests by their rate
too: Apache's mod_reqtimeout below 500 bytes a second, IIS and Kestrel below 240."""
_AGAIN: Final = 0.25

LEAST, MOST = 16 * 1024, 512 * 1024
"""Bytes of a piece: few where a link is slow, so that who is held back is so at once, and blocks of the spool else."""
SLOW, BRISK, INSTANT = 0.25, 0.1, 0.001
"""Seconds for one piece above which the next one is half as long, and below which it is twice as long; it is as long
as it was where it found room in a buffer, which says nothing of the link."""


class _Phase(Enum):
    LOOKING = auto()
    DRAINING = auto()
    TRYING = auto()
    HELD = auto()
    SHARED = auto()


_LASTS: Final = {
    _Phase.LOOKING: LOOK,
    _Phase.DRAINING: DRAIN,
    _Phase.TRYING: TRY,
    _Phase.HELD: STANDS,
    _Phase.SHARED: STANDS,
}
_OPEN: Final = frozenset({_Phase.LOOKING, _Phase.SHARED})


class Precedence:
    """Of all captures that are on their way to one destination."""

    def __init__(
        self,
        departures: Mapping[str, Departure],
        bucket: Bucket,
        *,
        now: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`bucket`: of the whole station. `now`: seconds, of a clock that never goes back, by which `sleep` sleeps."""
        self._departures, self._bucket, self._now, self._sleep = departures, bucket, now, sleep
        self._handed: Counter[Priority] = Counter()
        self._urgent: Priority | None = None
        self._phase, self._since, self._handed_then = _Phase.LOOKING, 0.0, 0
        self._seen_at = 0.0
        self._beside = 0.0
        self._log = structlog.get_logger("forward")

    async def pieces(self, departure: Departure, block: bytes, *, last: bool) -> AsyncGenerator[bytes, None]:
        """The bytes of a block, each piece when it may go. `last`: behind this block nothing comes."""
        at = 0
        while at < len(block):
            piece = self._bucket.piece(await self._room(departure, len(block) - at))
            await self._bucket.take(piece)
            departure.given_at = given_at = self._now()
            if departure.first_at is None:
                departure.first_at = given_at
            if last and at + piece == len(block):  # nobody asks for another: that it was taken is not seen
                departure.moved_at, departure.given_at = given_at, None
            yield block[at : at + piece] if piece < len(block) else block
            self._took(departure, piece, self._now() - given_at)
            at += piece

    async def _room(self, departure: Departure, rest: int) -> int:
        """Wait while another one has the link, and return how many of so many bytes may go then."""
        waits_until = self._now() + EVERY
        while self._held(departure):
            if self._now() >= waits_until:
                return min(rest, TRICKLE)
            await self._sleep(_AGAIN)
        return min(rest, departure.piece)

    def _took(self, departure: Departure, length: int, seconds: float) -> None:
        departure.handed += length
        self._handed[departure.holding.priority] += length
        departure.moved_at, departure.given_at = self._now(), None
        if seconds > SLOW:
            departure.piece = max(LEAST, departure.piece // 2)
        elif INSTANT < seconds < BRISK and length == departure.piece:
            departure.piece = min(MOST, departure.piece * 2)

    def _held(self, departure: Departure) -> bool:
        if departure.aged:
            return False
        now, own = self._now(), departure.holding.priority
        urgent = min((one.holding.priority for one in self._departures.values() if _presses(one, now)), default=own)
        if urgent >= own:
            return False
        measures = self._phase not in (_Phase.HELD, _Phase.SHARED)
        if urgent is not self._urgent or (measures and now - self._seen_at > STUCK):
            self._urgent = urgent
            self._enter(_Phase.LOOKING, urgent, now)
        elif now - self._since >= _LASTS[self._phase]:
            self._go_on(urgent, now)
        self._seen_at = now
        return self._phase not in _OPEN

    def _go_on(self, urgent: Priority, now: float) -> None:
        speed = (self._handed[urgent] - self._handed_then) / (now - self._since)
        match self._phase:
            case _Phase.LOOKING:
                self._beside = speed
                phase = _Phase.DRAINING
            case _Phase.DRAINING:
                phase = _Phase.TRYING
            case _Phase.TRYING:
                phase = _Phase.HELD if speed >= WORTH * self._beside else _Phase.SHARED
                told = {"beside": round(self._beside), "alone": round(speed), "holds": phase is _Phase.HELD}
                self._log.info("urgent_first", priority=urgent.name.lower(), **told)
            case _:
                phase = _Phase.LOOKING
        self._enter(phase, urgent, now)

    def _enter(self, phase: _Phase, urgent: Priority, now: float) -> None:
        self._phase, self._since, self._handed_then = phase, now, self._handed[urgent]


def _presses(one: Departure, now: float) -> bool:
    """Whether its bytes are on their way, and take longer than on a quick link."""
    if one.first_at is None or now - one.first_at < PRESSES:
        return False
    return now - one.moved_at < QUIET or (one.given_at is not None and now - one.given_at < STUCK)
