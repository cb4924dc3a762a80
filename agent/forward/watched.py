"""What those who watch may see of a destination, and of each capture on its way there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.capture import Holding

__all__ = ["Departure", "Link"]


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
    requests: int = 0
    give_way: bool = False
    """Another one goes first: this one leaves before its next request."""

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
    serves: bool = True
    """It is given what stands held: the primary always, a fallback while the primary is down, a copy never."""
