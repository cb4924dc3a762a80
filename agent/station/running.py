"""What the daemon shows of itself: this room lies below it and knows it by these words alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from agent.capture import Device, Json
    from agent.clock import Clock
    from agent.config import Config
    from agent.driver import DriverOptions
    from agent.forward import Forward
    from agent.gate import Gate
    from agent.ingest import Ingest
    from agent.joining import Joining
    from agent.journal import Desk
    from agent.repairs import Raised
    from agent.spool import Spool

__all__ = ["Equipped", "Loaded", "Running", "Seen"]


class Seen(Protocol):
    """A device as it was last seen."""

    device: Device
    first_at: datetime
    last_at: datetime
    present: bool
    index: Mapping[str, Json] | None
    clock: Mapping[str, Json] | None


class Loaded(Protocol):
    """A driver that was made from its table in agent.toml."""

    @property
    def options(self) -> DriverOptions:
        """Its table."""

    @property
    def driver(self) -> object:
        """The driver, which may have further abilities."""


class Equipped(Protocol):
    """Everything that agent.toml asks for."""

    @property
    def drivers(self) -> Sequence[Loaded]:
        """In the order of the file."""


class Drilling(Protocol):
    """Makes drills: see `agent.drill`."""

    def run(self, *, length: int, patience: float, actor: str) -> AsyncIterator[dict[str, Any]]:
        """Make one; each step when it is done, at last `report`."""


class Running(Protocol):
    """The daemon."""

    config: Config
    clock: Clock
    desk: Desk
    spool: Spool
    ingest: Ingest
    gate: Gate
    joining: Joining
    started_at: datetime
    raised: Raised

    async def rotate(self, *, finish: bool, actor: str, why: str) -> dict[str, str]:
        """Change the log's key: begin it, or end it. `new` and `old` public key."""

    def announcing(self) -> Mapping[str, str | bool | None] | None:
        """How it stands at the agency's broker; None where none is configured."""

    def troubles(self) -> Sequence[Mapping[str, str | None]]:
        """Repair notices that only the daemon can make: a driver that fails, a witness that is down, a policy."""

    @property
    def forwards(self) -> Sequence[Forward]:
        """One for each destination."""

    @property
    def drill(self) -> Drilling:
        """What makes drills."""

    @property
    def equipment(self) -> Equipped:
        """What was configured."""

    @property
    def devices(self) -> Mapping[str, Seen]:
        """Every device that was seen since the start, by its id."""
