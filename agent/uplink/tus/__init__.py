"""The uplink `tus`: a capture goes part by part to a tus 1.0.0 server, and a receipt comes back.

Life of an upload: `create` makes it and keeps its URL durably; `upload` sends part after part; after a restart or any
doubt `find` asks how much is there and whether it is ours. All of them go through one `door`; what is not special to
tus lies in `agent.uplink.http`, and what the end of an upload proves too. What a server says counts only if it is
exactly what tus 1.0.0 prescribes, with its `Tus-Resumable` header: proxies and login pages say 200 as well.

An upload is known by its capture alone, through the URL that `Sending.remember` kept, never by a fingerprint of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.uplink import Back
from agent.uplink.http import HttpUplink, Trip, receipt_of
from agent.uplink.tus.back import shown
from agent.uplink.tus.bundle import brought_together, room
from agent.uplink.tus.canary import tried
from agent.uplink.tus.checkup import greeted
from agent.uplink.tus.create import announced
from agent.uplink.tus.door import TusDoor
from agent.uplink.tus.find import asked
from agent.uplink.tus.options import TusOptions
from agent.uplink.tus.renew import renewed
from agent.uplink.tus.upload import brought

if TYPE_CHECKING:
    from yarl import URL

    from agent.capture import Holding, Receipt
    from agent.uplink import Bundle, BundleRoom, Finding, Sending

__all__ = ["TusOptions", "TusUplink"]


class TusUplink(HttpUplink[TusDoor]):
    """One DEMS that speaks tus 1.0.0, with or without checksums and signed receipts."""

    Options = TusOptions

    def __init__(self, options: TusOptions) -> None:
        """Raises `ConfigError` where a certificate or a secret cannot be read."""
        super().__init__(options, TusDoor(options))
        self._drills: dict[str, URL] = {}

    async def carried(self, trip: Trip[TusDoor]) -> Receipt:
        """Bring one capture to the server, continuing where an earlier try stopped.

        The note of a SIGNED receipt is as it came. The URL of an upload stays remembered after its end: until the
        receipt stands in the journal, only it can tell a restarted agent that nothing is left to send.
        """
        place = await brought(trip)
        receipt = await receipt_of(
            trip, place, lambda: asked(trip, place.url), destination=self.options.name, wait=self.options.receipt_wait
        )
        if trip.holding.drill:
            self._drills = {trip.holding.id: place.url}
        return receipt

    @property
    def bundle_room(self) -> BundleRoom | None:
        """See `agent.uplink.Bundles`."""
        return room(self.door, self.part)

    async def send_bundle(self, bundle: Bundle, /) -> dict[str, Receipt]:
        """See `agent.uplink.Bundles`."""
        return await brought_together(
            self.door, bundle, self.part, stall=self.options.stall, destination=self.options.name
        )

    async def read_back(self, holding: Holding, /) -> Back:
        """See `agent.uplink.ReadsBack`: of the last drill, and of nothing else."""
        url = self._drills.get(holding.id)
        if url is None:
            return Back(why="it was not brought there since the start")
        return await shown(self.door, url, holding, stall=self.options.stall)

    async def announce(self, sending: Sending, /) -> None:
        """Create the upload, without a byte, or keep it up where that was done: the DEMS knows what is here.

        Raises `UplinkDown` or `UplinkRefused`.
        """
        trip = self.trip(sending)
        await (announced(trip) if sending.recall() is None else renewed(trip))

    async def probe(self) -> None:
        """Try whether the server refuses a part with a wrong checksum, as it says. Raises `UplinkDown`."""
        if await tried(self.door) is False:
            self.log.warning("checksums_ignored", destination=self.options.name)

    async def greeted(self) -> list[Finding]:
        """Ask for its abilities, and try the one that nobody should be believed. Raises `UplinkDown`."""
        return await greeted(self.door)
