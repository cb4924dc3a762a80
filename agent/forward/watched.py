"""What those who watch may see of a destination, and of each capture on its way there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.journal import turns

if TYPE_CHECKING:
    from collections.abc import Collection

    from agent.capture import Holding

__all__ = ["Departure", "Link", "away_since", "kept", "make_way"]

_AGED_REQUESTS: Final = 4
"""Requests for which one that waited too long keeps its place, whatever else comes."""
_MANY: Final = 8
"""Places of which the last one is kept for what is more urgent: the others' requests may last for minutes."""


@dataclass(slots=True)
class Departure:
    """One capture on its way, for whoever watches."""

    holding: Holding
    confirmed: int = 0
    resumed_at: int | None = None
    aged: bool = False
    """It goes because it has waited too long."""
    owed: bool = False
    """It is a copy, or what another destination took in this one's place."""
    together: bool = False
    """It is one of the small ones, of which others that come meanwhile go together."""
    content: bool = True
    """Its bytes go; else the destination is told of it, which takes no place."""
    requests: int = 0
    give_way: bool = False
    """Another one goes first: this one leaves before its next request."""
    handed: int = 0
    """Bytes that the network took."""
    first_at: float | None = None
    """When it was given the first of them, on the monotonic clock; None where there is one piece only."""
    moved_at: float = 0.0
    """When it took the last of them, on the monotonic clock."""
    given_at: float | None = None
    """When it was given what it has in hand, on the monotonic clock."""
    piece: int = 64 * 1024
    """Bytes that are handed over at once, by how quickly the last ones were taken."""

    @property
    def advanced(self) -> bool:
        """Whether the destination confirmed more of it than it had at the beginning."""
        return self.resumed_at is not None and self.confirmed > self.resumed_at


@dataclass(slots=True)
class Link:
    """How the destination is, for whoever watches."""

    name: str
    up: bool = True
    problem: str | None = None
    todo: str | None = None
    again_at: float = 0.0
    """On the monotonic clock."""
    down_since: float | None = None
    """On the monotonic clock."""
    role: str = "primary"
    network: bool = True
    """It is reached over one."""
    serves: bool = True
    """It is given what stands held: the primary always, a fallback while the primary is down, a copy never."""


def away_since(link: Link, offline_since: float | None) -> float | None:
    """Since when it cannot be reached: it does not answer, or there is no network, without which nobody asks it."""
    offline = offline_since if link.network else None
    return min((since for since in (link.down_since, offline) if since is not None), default=None)


def kept(departures: Collection[Departure], holding: Holding, places: int) -> int:
    """How many of so many places this capture may not take: it is no more urgent than all that are on their way."""
    return places >= _MANY and all(one.holding.priority <= holding.priority for one in departures if one.content)


def make_way(departures: Collection[Departure], holding: Holding) -> None:
    """All places are taken: ask the least urgent for its own, if it is less urgent or its device has several."""
    going = [one for one in departures if one.content and (one.requests > _AGED_REQUESTS or not one.aged)]
    if any(one.give_way for one in going):
        return
    lanes = Counter(one.holding.origin.device for one in departures)
    last = max(going, key=lambda one: (one.holding.priority, lanes[one.holding.origin.device]), default=None)
    if last is None or last.holding.priority < holding.priority:
        return
    recording = turns.begun_of(last.holding)
    mates = recording is not None and sum(turns.begun_of(one.holding) == recording for one in going) > 1
    shares = lanes[last.holding.origin.device] > 1 and not lanes[holding.origin.device] and not mates
    last.give_way = last.holding.priority > holding.priority or shares
