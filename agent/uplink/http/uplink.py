"""What every uplink over HTTP is: a trip for each capture, a check that goes step by step, and one door to close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

import structlog

from agent.errors import UplinkDown
from agent.uplink.http.door import Door
from agent.uplink.http.identity import proxy_headers
from agent.uplink.http.parts import PartLength
from agent.uplink.http.trip import Trip

if TYPE_CHECKING:
    from agent.capture import Receipt
    from agent.uplink import Finding, Sending
    from agent.uplink.http.options import HttpOptions

__all__ = ["HttpUplink"]

CONFIRMED_MAX: Final = 4096
"""Uploads of which is kept how far they were confirmed, so that a server that loses bytes is noticed."""

DoorT = TypeVar("DoorT", bound=Door)


class HttpUplink(Generic[DoorT]):
    """One DEMS that takes captures over HTTP. A protocol writes `carried` and `greeted`."""

    def __init__(self, options: HttpOptions, door: DoorT) -> None:
        self.options = options
        self.door = door
        self.part = PartLength(options.part_length)
        self.log = structlog.get_logger("uplink")
        self._confirmed: dict[str, int] = {}

    async def carried(self, trip: Trip[DoorT]) -> Receipt:
        """Bring one capture to the server, continuing where an earlier try stopped. Raises as `Uplink.send` does."""
        raise NotImplementedError

    async def greeted(self) -> list[Finding]:
        """Make one round trip, and say in plain words what the server can do. Raises `UplinkDown`."""
        raise NotImplementedError

    def trip(self, sending: Sending) -> Trip[DoorT]:
        """Return a trip for one capture."""
        return Trip(self.door, sending, self.part, self.options.stall, self._confirmed)

    async def send(self, sending: Sending, /) -> Receipt:
        """Bring the capture to the DEMS, continuing where an earlier try stopped, and return what it answered.

        Raises `UplinkDown`, `UplinkRefused`, `BadReceipt`, `SpoolDamaged`, or what `Sending.turn` raised.
        """
        trip = self.trip(sending)
        try:
            receipt = await self.carried(trip)
        except UplinkDown:
            while len(self._confirmed) > CONFIRMED_MAX:
                self._confirmed.pop(next(iter(self._confirmed)))
            raise
        finally:
            await trip.close()
        if trip.confirmed_at is not None:
            self._confirmed.pop(trip.confirmed_at, None)
        return receipt

    async def check(self) -> list[Finding]:
        """Try name, connection, TLS and one round trip, and say in plain words what the server can do."""
        from agent.uplink.http.checkup import checked  # noqa: PLC0415 - X.509, for who looks at a server's certificate

        headers = proxy_headers(self.options)
        return await checked(self.door, self.greeted, wait=self.options.connect_timeout, proxy_headers=headers)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.door.aclose()
