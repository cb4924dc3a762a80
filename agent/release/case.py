"""What is known of a capture that its device still has and offers, and on what its release depends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.capture import Holding
    from agent.release.recordings import Waits

__all__ = ["Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """What the journal knows of an origin that is offered."""

    holding: Holding | None
    doubted: bool = False
    ripe: bool = False
    """The grace period is over, and every destination that the policy names has proven that it holds it."""
    proof: bytes | None = None
    leaf: bytes = b""
    waits: Waits | None = None
    """Why it has to wait for others of its recording."""
    undated: bool = False
    """Its receipt came while nobody kept the clock right, or is of the future; no entry says since when it is here."""
