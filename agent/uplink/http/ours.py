"""Whether the upload that a server tells of, after a restart or a doubt, is this capture's, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import BadReceipt, UplinkDown
from agent.uplink.http.answer import repr_digest
from agent.uplink.http.claims import named_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from yarl import URL

    from agent.uplink.http.door import Door
    from agent.uplink.http.trip import Place, Trip

__all__ = ["ours", "remembered"]


def remembered(trip: Trip[Door]) -> URL | None:
    """Return where an earlier try began; None where there is none that can be continued."""
    url = trip.sending.recall()
    if url is None:
        return None
    try:
        return trip.door.resolved(url, trip.door.url)
    except UplinkDown as error:
        # The address of the DEMS was changed since: what was begun at the old one is begun anew.
        trip.log.warning("upload_left_behind", url=url, reason=str(error))
        return None


async def ours(trip: Trip[Door], place: Place, end: Callable[[Place], Awaitable[None]]) -> Place | None:
    """Return the place where it is this capture's, as far as its server can tell; None when a new upload is needed.

    `end` gives an upload of ours up, where the protocol has that. Raises `BadReceipt` where a new one cannot help.
    """
    length = place.answer.headers.get("Upload-Length")
    named = named_in(place.answer, "capture")
    if length not in {None, str(trip.length)} or named not in {None, trip.holding.id}:
        # Somebody else's: it is neither continued nor terminated.
        trip.log.error("upload_of_another_capture", url=str(place.url), its_length=length, its_capture=named)
        return None
    if place.offset > trip.length:
        raise BadReceipt(f"the DEMS says that it holds {place.offset} bytes of a capture of {trip.length}")
    theirs = repr_digest(place.answer)
    if theirs == trip.holding.digest.sha256 and place.offset < trip.length:
        theirs = None  # it repeats what we stated of the whole, and has read nothing
    if theirs is not None and place.offset and theirs != await _sha256_through(trip, place.offset):
        await _give_up(trip, place, end)
        return None
    trip.confirm(place)
    return place


async def _sha256_through(trip: Trip[Door], offset: int) -> bytes:
    if offset == trip.length:
        return trip.holding.digest.sha256
    return await trip.sending.sha256_through(offset)


async def _give_up(trip: Trip[Door], place: Place, end: Callable[[Place], Awaitable[None]]) -> None:
    """Leave an upload whose bytes are proven not to be ours; `BadReceipt` where that cannot help."""
    trip.log.error("upload_holds_other_bytes", url=str(place.url), offset=place.offset)
    if place.offset == trip.length or trip.replaced:
        # What is finished is evidence to the DEMS, and what is there again after it was given up, it means to keep.
        raise BadReceipt(
            f"the DEMS holds {place.offset} bytes under capture {trip.holding.id} that are not this capture's",
            hint="The administrator of the DEMS must look at this upload. The capture stays here and on the device.",
        )
    trip.replaced = True
    await end(place)
