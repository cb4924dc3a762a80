"""After every restart and every doubt, what the server holds of a capture (the draft, section 4.3: HEAD)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.uplink.http import Place, ours, remembered
from agent.uplink.ietf.fields import complete

if TYPE_CHECKING:
    from yarl import URL

    from agent.uplink.http import Answer
    from agent.uplink.ietf.trip import IetfTrip

__all__ = ["asked", "found", "gone"]


async def found(trip: IetfTrip) -> Place | None:
    """Return the upload that an earlier try began, if there is one that can be continued."""
    url = remembered(trip)
    return None if url is None else await asked(trip, url, prove=True)


async def asked(trip: IetfTrip, url: URL, *, prove: bool = False) -> Place | None:
    """Ask how much the server holds; None when a new upload is needed.

    And prove it where the server can tell, and it was not verified as it came; `prove`: in any case.
    """
    offer = await trip.door.offer()
    prove = prove or trip.to_be_proven(url)
    headers = {"Want-Repr-Digest": offer.wants} if prove else {}
    while True:
        answer = await trip.door.ask("HEAD", url, headers, verifying=trip.verifying)
        if answer.status != 423:  # noqa: PLR2004 - Locked; the draft lets the new request end the old one instead
            break
        await trip.locked(answer)
    if answer.status in {404, 410}:
        await gone(trip, answer)
        return None
    offset = answer.offset
    if answer.status not in {200, 204} or offset is None:
        trip.surprised(answer)
    place = Place(url, offset, answer, prove)
    if complete(answer) and offset < trip.length:
        # It made an end of an upload that was not whole: a failure that it told somebody who did not hear it.
        trip.log.warning("upload_ended_by_server", url=str(url), offset=offset)
        return None

    async def end(of: Place) -> None:
        ended = await trip.door.ask("DELETE", of.url)
        if ended.status not in {200, 202, 204, 404, 410}:
            trip.log.warning("upload_not_terminated", url=str(of.url), status=ended.status)

    return await ours(trip, place, end)


async def gone(trip: IetfTrip, answer: Answer) -> None:
    """Believe that an upload is gone where such a server stands: a proxy without its back end says 404 as well."""
    await trip.door.offer(anew=True)
    trip.log.warning("upload_gone", url=str(answer.url), status=answer.status)
