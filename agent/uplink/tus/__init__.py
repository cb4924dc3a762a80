"""The uplink `tus`: a capture goes part by part to a tus 1.0.0 server, and a receipt comes back.

Life of an upload: `create` makes it and keeps its URL durably; `upload` sends part after part; after a restart or any
doubt `find` asks how much is there and whether it is ours; `receipts` says what the end of it proves. All of them go
through one `door`, where `trouble` turns what fails into a sentence. What a server says counts only if it is exactly
what tus 1.0.0 prescribes, with its `Tus-Resumable` header: proxies and login pages say 200 as well.

An upload is known by its capture alone, through the URL that `Sending.remember` kept, never by a fingerprint of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from agent.errors import UplinkDown
from agent.uplink import Back
from agent.uplink.tus.back import shown
from agent.uplink.tus.canary import tried
from agent.uplink.tus.checkup import checked
from agent.uplink.tus.create import announced
from agent.uplink.tus.door import Door
from agent.uplink.tus.identity import proxy_headers
from agent.uplink.tus.options import TusOptions
from agent.uplink.tus.parts import PartLength
from agent.uplink.tus.receipts import receipt_of
from agent.uplink.tus.trip import Trip
from agent.uplink.tus.upload import brought

if TYPE_CHECKING:
    from yarl import URL

    from agent.capture import Holding, Receipt
    from agent.uplink import Finding, Sending

__all__ = ["TusOptions", "TusUplink"]

CONFIRMED_MAX: Final = 4096
"""Uploads of which is kept how far they were confirmed, so that a server that loses bytes is noticed."""


class TusUplink:
    """One DEMS that speaks tus 1.0.0, with or without checksums and signed receipts."""

    Options = TusOptions

    def __init__(self, options: TusOptions) -> None:
        """Raises `ConfigError` where a certificate or a secret cannot be read."""
        self._options = options
        self._door = Door(options)
        self._part = PartLength(options.part_length)
        self._confirmed: dict[str, int] = {}
        self._drills: dict[str, URL] = {}
        self._log = structlog.get_logger("uplink")

    async def send(self, sending: Sending, /) -> Receipt:
        """Bring the capture to the DEMS, continuing where an earlier try stopped, and return what it answered.

        The note of a SIGNED receipt is as it came. The URL of an upload stays remembered after its end: until the
        receipt stands in the journal, only it can tell a restarted agent that nothing is left to send.
        Raises `UplinkDown`, `UplinkRefused`, `BadReceipt` or `SpoolDamaged`.
        """
        trip = Trip(self._door, sending, self._part, self._options.stall, self._confirmed)
        try:
            place = await brought(trip)
            receipt = await receipt_of(trip, place, destination=self._options.name, wait=self._options.receipt_wait)
        except UplinkDown:
            while len(self._confirmed) > CONFIRMED_MAX:
                self._confirmed.pop(next(iter(self._confirmed)))
            raise
        finally:
            await trip.proofs.close()
        self._confirmed.pop(str(place.url), None)
        if sending.holding.drill:
            self._drills = {sending.holding.id: place.url}
        return receipt

    async def read_back(self, holding: Holding, /) -> Back:
        """See `agent.uplink.ReadsBack`: of the last drill, and of nothing else."""
        url = self._drills.get(holding.id)
        if url is None:
            return Back(why="it was not brought there since the start")
        return await shown(self._door, url, holding, stall=self._options.stall)

    async def announce(self, sending: Sending, /) -> None:
        """Create the upload, without a byte, where that was not done yet: the DEMS knows what is here.

        Raises `UplinkDown` or `UplinkRefused`.
        """
        if sending.recall() is None:
            await announced(Trip(self._door, sending, self._part, self._options.stall, self._confirmed))

    async def probe(self) -> None:
        """Try whether the server refuses a part with a wrong checksum, as it says. Raises `UplinkDown`."""
        if await tried(self._door) is False:
            self._log.warning("checksums_ignored", destination=self._options.name)

    async def check(self) -> list[Finding]:
        """Try name, connection, TLS and one round trip, and say in plain words what the server can do."""
        headers = proxy_headers(self._options)
        return await checked(self._door, wait=self._options.connect_timeout, proxy_headers=headers)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._door.aclose()
