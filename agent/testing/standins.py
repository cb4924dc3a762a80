"""What stands in for parts of the daemon where only the status service is tried: drivers, and devices as last seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agent.capture import Device, Json
    from agent.driver import DriverOptions

__all__ = ["Equipped", "Loaded", "Seen"]


@dataclass
class Loaded:
    """See `agent.station.running.Loaded`."""

    options: DriverOptions
    driver: object


@dataclass
class Equipped:
    """See `agent.station.running.Equipped`."""

    drivers: list[Loaded]


@dataclass
class Seen:
    """See `agent.station.running.Seen`."""

    device: Device
    first_at: datetime
    last_at: datetime
    present: bool
    index: Mapping[str, Json] | None = None
    clock: Mapping[str, Json] | None = None
