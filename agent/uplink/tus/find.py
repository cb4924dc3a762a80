"""After every restart and every doubt, what a tus server holds of a capture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.uplink.http.ours import ours, remembered
from agent.uplink.http.trip import Place

if TYPE_CHECKING:
    from yarl import URL

    from agent.uplink.http.answer import Answer
    from agent.uplink.tus.trip import TusTrip

__all__ = ["asked", "found", "gone"]


async def found(trip: TusTrip) -> Place | None:
    """Return the upload that an earlier try began, if there is one that can be continued."""
    url = remembered(trip)
    return None if url is None else await asked(trip, url, prove=True)


async def asked(trip: TusTrip, url: URL, *, prove: bool = False) -> Place | None:
    """Ask how much the server holds; None when a new upload is needed.

    And prove it where the server can tell, and it was not verified as it came; `prove`: in any case.
    """
    prove = prove or trip.to_be_proven(url)
    headers = {"Want-Repr-Digest": "sha-256=10"} if prove else {}
    while True:
        answer = await trip.door.ask("HEAD", url, headers, verifying=trip.verifying)
        if answer.status != 423:  # noqa: PLR2004 - Locked
            break
        await trip.locked(answer)
    # 403: tus 1.0.0 section HEAD lists it for an upload that is not there; 400: servers that dislike its name.
    if answer.status in {404, 410} or (answer.status in {400, 403} and answer.spoken):
        await gone(trip, answer)
        return None
    offset = answer.offset
    if answer.status not in {200, 204} or not answer.spoken or offset is None:
        trip.surprised(answer)

    async def end(place: Place) -> None:
        if "termination" in (await trip.door.abilities()).extensions:
            ended = await trip.door.ask("DELETE", place.url)
            if ended.status not in {204, 404, 410}:
                trip.log.warning("upload_not_terminated", url=str(place.url), status=ended.status)

    place = await ours(trip, Place(url, offset, answer, prove), end)
    if prove and place is not None and 0 < place.offset == trip.length:
        trip.door.told(place)
    return place


async def gone(trip: TusTrip, answer: Answer) -> None:
    """Believe that an upload is gone where a tus server stands: a proxy without its back end says 404 as well."""
    if not answer.spoken:
        await trip.door.abilities(anew=True)
    trip.log.warning("upload_gone", url=str(answer.url), status=answer.status)
