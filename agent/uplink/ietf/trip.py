"""One capture on its way to a server that speaks resumable uploads."""

from __future__ import annotations

from typing import TypeAlias

from agent.uplink.http import Trip
from agent.uplink.ietf.door import IetfDoor

__all__ = ["IetfTrip"]

IetfTrip: TypeAlias = Trip[IetfDoor]
