"""The uplink `ietf`: captures by Resumable Uploads for HTTP, the protocol that the IETF makes of tus.

What is implemented is draft-ietf-httpbis-resumable-upload-12 (interop version 9) with the digest fields of RFC 9530. An
upload is created without a byte (careful creation), so its URL is durable before anything is sent, and no interim
response (104) is needed: proxies and many servers drop those. `create` makes the upload, `upload` appends part after
part, `find` asks after every restart and every doubt. What a complete upload proves is told as everywhere: a signed
receipt, a `Repr-Digest` that is ours, or a length.

A server that does not offer it (OPTIONS without `Upload-Limit`) is a `NotResumable`, which says what to do: it may
speak tus, for which a second `[[uplink]]` stands in; or it takes plain requests (`without = "send"`, `plain`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import BadReceipt
from agent.uplink import Back
from agent.uplink.http import HttpUplink, Trip, receipt_of, repr_digest
from agent.uplink.ietf.canary import tried
from agent.uplink.ietf.checkup import greeted
from agent.uplink.ietf.create import created
from agent.uplink.ietf.door import IetfDoor, NotResumable
from agent.uplink.ietf.find import asked
from agent.uplink.ietf.options import IetfOptions
from agent.uplink.ietf.plain import put
from agent.uplink.ietf.renew import renewed
from agent.uplink.ietf.upload import brought

if TYPE_CHECKING:
    from yarl import URL

    from agent.capture import Holding, Receipt
    from agent.uplink import Finding, Sending
    from agent.uplink.http import Place

__all__ = ["IetfOptions", "IetfUplink", "NotResumable"]


class IetfUplink(HttpUplink[IetfDoor]):
    """One DEMS that speaks resumable uploads, with or without digests and signed receipts."""

    Options = IetfOptions

    def __init__(self, options: IetfOptions) -> None:
        """Raises `ConfigError` where a certificate or a secret cannot be read."""
        super().__init__(options, IetfDoor(options))
        self._ietf = options
        self._method, self._without = options.method, options.without
        self._drills: dict[str, URL] = {}

    async def carried(self, trip: Trip[IetfDoor]) -> Receipt:
        """Bring one capture to the server, continuing where an earlier try stopped.

        The URL of an upload stays remembered after its end: until the receipt stands in the journal, only it can tell a
        restarted agent that nothing is left to send.
        """
        try:
            await trip.door.offer()
            place = await brought(trip, self._method)
        except NotResumable:
            if self._without == "wait":
                raise
            place = await put(trip)
            return await self._receipt(trip, place)
        if trip.holding.drill:
            self._drills = {trip.holding.id: place.url}
        return await self._receipt(trip, place)

    async def _receipt(self, trip: Trip[IetfDoor], place: Place) -> Receipt:
        theirs = repr_digest(place.answer)
        if theirs is not None and theirs != trip.holding.digest.sha256:
            # The answer to the last bytes tells it before anybody asked with HEAD.
            raise BadReceipt("the DEMS has every byte and tells another digest than the journal")
        return await receipt_of(
            trip, place, lambda: asked(trip, place.url), destination=self.options.name, wait=self.options.receipt_wait
        )

    async def read_back(self, holding: Holding, /) -> Back:
        """See `agent.uplink.ReadsBack`: of the last drill. What lies at an upload's URL has no meaning in the draft."""
        url = self._drills.get(holding.id)
        if url is None:
            return Back(why="it was not brought there since the start")
        answer = await self.door.ask("HEAD", url, {"Want-Repr-Digest": "sha-256=10"})
        whole = answer.offset == holding.digest.length
        return Back(sha256=repr_digest(answer) if whole else None, why="resumable uploads give nothing back")

    async def announce(self, sending: Sending, /) -> None:
        """Create the upload, without a byte, or keep it up where that was done: the DEMS knows what is here.

        Raises `UplinkDown` or `UplinkRefused`.
        """
        trip = self.trip(sending)
        await (created(trip, self._method) if sending.recall() is None else renewed(trip, self._method))

    async def probe(self) -> None:
        """Try whether the server refuses bytes with a wrong digest. Raises `UplinkDown`."""
        try:
            if not await tried(self.door, self._method):
                self.log.warning("checksums_ignored", destination=self.options.name)
        except NotResumable:
            if self._without == "wait":
                raise

    async def greeted(self) -> list[Finding]:
        """Ask what it offers, and try what nobody should be believed. Raises `UplinkDown`."""
        return await greeted(self.door, self._ietf)
