"""After every restart and every doubt, what the server holds of a capture, and whether it is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import BadReceipt, UplinkDown
from agent.uplink.tus.trip import Place
from agent.uplink.tus.wire import named_in, repr_digest

if TYPE_CHECKING:
    from yarl import URL

    from agent.uplink.tus.trip import Trip
    from agent.uplink.tus.wire import Answer

__all__ = ["asked", "found", "gone"]


async def found(trip: Trip) -> Place | None:
    """Return the upload that an earlier try began, if there is one that can be continued."""
    remembered = trip.sending.recall()
    if remembered is None:
        return None
    try:
        url = trip.door.resolved(remembered, trip.door.url)
    except UplinkDown as error:
        # The address of the DEMS was changed since: what was begun at the old one is begun anew.
        trip.log.warning("upload_left_behind", url=remembered, reason=str(error))
        return None
    return await asked(trip, url)


async def asked(trip: Trip, url: URL) -> Place | None:
    """Ask how much the server holds, and prove it where the server can tell; None when a new upload is needed."""
    while True:
        answer = await trip.door.ask("HEAD", url, {"Want-Repr-Digest": "sha-256=10"}, verifying=trip.verifying)
        if answer.status != 423:  # noqa: PLR2004 - Locked
            break
        await trip.locked(answer)
    # 403: tus 1.0.0 section HEAD lists it for an upload that is not there; 400: servers that dislike its name.
    if answer.status in {404, 410} or (answer.status in {400, 403} and answer.tus):
        await gone(trip, answer)
        return None
    offset = answer.offset
    if answer.status not in {200, 204} or not answer.tus or offset is None:
        trip.surprised(answer)
    return await _ours(trip, Place(url, offset, answer))


async def gone(trip: Trip, answer: Answer) -> None:
    """Believe that an upload is gone where a tus server stands: a proxy without its back end says 404 as well."""
    if not answer.tus:
        await trip.door.abilities(anew=True)
    trip.log.warning("upload_gone", url=str(answer.url), status=answer.status)


async def _ours(trip: Trip, place: Place) -> Place | None:
    length = place.answer.headers.get("Upload-Length")
    named = named_in(place.answer, "capture")
    if length not in {None, str(trip.length)} or named not in {None, trip.holding.id}:
        # Somebody else's: it is neither continued nor terminated.
        trip.log.error("upload_of_another_capture", url=str(place.url), its_length=length, its_capture=named)
        return None
    if place.offset > trip.length:
        raise BadReceipt(f"the DEMS says that it holds {place.offset} bytes of a capture of {trip.length}")
    theirs = repr_digest(place.answer)
    if theirs is not None and place.offset and theirs != await _sha256_through(trip, place.offset):
        await _give_up(trip, place)
        return None
    trip.confirm(place)
    return place


async def _sha256_through(trip: Trip, offset: int) -> bytes:
    if offset == trip.length:
        return trip.holding.digest.sha256
    return await trip.sending.sha256_through(offset)


async def _give_up(trip: Trip, place: Place) -> None:
    """Leave an upload whose bytes are proven not to be ours; `BadReceipt` where that cannot help."""
    trip.log.error("upload_holds_other_bytes", url=str(place.url), offset=place.offset)
    if place.offset == trip.length or trip.replaced:
        # What is finished is evidence to the DEMS, and what is there again after it was given up, it means to keep.
        raise BadReceipt(
            f"the DEMS holds {place.offset} bytes under capture {trip.holding.id} that are not this capture's",
            hint="The administrator of the DEMS must look at this upload. The capture stays here and on the device.",
        )
    trip.replaced = True
    if "termination" in (await trip.door.abilities()).extensions:
        answer = await trip.door.ask("DELETE", place.url)
        if answer.status not in {204, 404, 410}:
            trip.log.warning("upload_not_terminated", url=str(place.url), status=answer.status)
