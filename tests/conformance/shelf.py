"""An uplink as somebody else would write it, and the store that it is for: what is PUT at an offset is appended.

`PUT /shelf/<capture>?offset=N` appends a body, or says 409; `GET` says how much is there. Both answer with
`Upload-Offset`, and the PUT that brings the last byte of `length` with `Repr-Digest` over all of them. `sha256` must be
right, else everything is thrown away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.capture import Receipt, Strength
from agent.errors import BadReceipt, UplinkRefused
from agent.uplink import Finding
from agent.uplink.http import Cut, Door, HttpOptions, HttpUplink, Place, Trip, ours, repr_digest, said

if TYPE_CHECKING:
    from agent.uplink.http import Answer


class ShelfUplink(HttpUplink[Door]):
    Options = HttpOptions

    def __init__(self, options: HttpOptions) -> None:
        super().__init__(options, Door(options))

    async def carried(self, trip: Trip[Door]) -> Receipt:
        place = await self._asked(trip)
        while place.offset < trip.length or repr_digest(place.answer) is None:
            place = await self._next(trip, place)
        return Receipt(Strength.DIGEST, self.options.name, place.offset, sha256=repr_digest(place.answer))

    async def greeted(self) -> list[Finding]:
        answer = await self.door.ask("GET", self.door.url)
        if answer.status != 200:
            raise self.door.explained(answer)
        return [Finding(what="shelf", state="ok", detail="is there")]

    async def _asked(self, trip: Trip[Door]) -> Place:
        """How much is there, once whoever asked for it may be told."""
        while True:
            try:
                answer = await trip.door.ask("GET", self.door.url / trip.holding.id, verifying=trip.verifying)
            except Cut as cut:
                await trip.doubt(cut)
                continue
            place = await self._told(trip, answer)
            if place is not None:
                return place
            await trip.doubt(trip.door.explained(answer))

    async def _next(self, trip: Trip[Door], place: Place) -> Place:
        end = trip.part.end(place.offset, trip.length)
        await trip.sending.turn(end - place.offset)
        told = {"offset": place.offset, "length": trip.length, "sha256": trip.holding.digest.sha256.hex()}
        url = self.door.url / trip.holding.id % told
        try:
            answer = await trip.bring("PUT", url, {}, place.offset, end)
        except Cut as cut:
            trip.part.lost(end - place.offset)
            await trip.doubt(cut)
            return await self._asked(trip)
        after = await self._told(trip, answer)
        if after is None:
            await trip.doubt(trip.door.explained(answer))
            return await self._asked(trip)
        trip.part.kept(end - place.offset)
        return after

    async def _told(self, trip: Trip[Door], answer: Answer) -> Place | None:
        match answer.status:
            case 200 if answer.offset is not None:
                return await ours(trip, Place(answer.url.with_query(None), answer.offset, answer), self._thrown_away)
            case 403:
                raise UplinkRefused(f"the shelf refuses this capture{said(answer)}")
            case 422:
                raise BadReceipt("the shelf found other bytes than were stated")
            case 409 | 500:
                return None
        raise trip.door.explained(answer)

    async def _thrown_away(self, place: Place) -> None:
        await self.door.ask("DELETE", place.url)
