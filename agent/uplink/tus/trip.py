"""One capture on its way to a tus server."""

from __future__ import annotations

from typing import TypeAlias

from agent.uplink.http.trip import Trip
from agent.uplink.tus.door import TusDoor

__all__ = ["TusTrip"]

TusTrip: TypeAlias = Trip[TusDoor]
