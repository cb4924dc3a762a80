"""Part after part until the server has everything and has processed it: one PATCH each (the draft, section 4.4).

A HEAD after whatever is not plainly a yes; with the last bytes `Upload-Complete: ?1`, and the answer to that is the one
of the resource that processes the whole: also where it is a no.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from agent.errors import UplinkDown, UplinkRefused
from agent.uplink.http import (
    FLOOR,
    RECEIPT,
    Cut,
    Place,
    journaled,
    note_in,
    repr_digest,
    retry_after,
    said,
    wrong,
)
from agent.uplink.ietf.create import created
from agent.uplink.ietf.fields import PARTIAL, Limits, complete, digest_field, limits_in, misfit
from agent.uplink.ietf.find import asked, found, gone

if TYPE_CHECKING:
    from agent.uplink.http import Answer, Proof
    from agent.uplink.ietf.trip import IetfTrip

__all__ = ["brought"]


async def brought(trip: IetfTrip, method: str) -> Place:
    """Return the upload when it is complete, with the answer that says so."""
    place = await found(trip) or await created(trip, method)
    while not _done(trip, place):
        place = await _next(trip, place, method)
    if place.answer.method == "HEAD" and not place.proven and note_in(place.answer) is None:
        place = await asked(trip, place.url, prove=True) or place
    if place.answer.method == "HEAD" and note_in(place.answer) is None and repr_digest(place.answer) is None:
        return await _told_again(trip, place)
    return place


async def _told_again(trip: IetfTrip, place: Place) -> Place:
    """Ask for the answer to the whole, which was lost: HEAD says that there was one, and not whether it was a yes.

    A server may replay it to an append of nothing (section 4.4.2); one that does not leaves us with what HEAD said.
    """
    headers = {"Content-Type": PARTIAL, "Upload-Offset": str(place.offset), "Upload-Complete": "?1"}
    try:
        answer = await trip.door.ask("PATCH", place.url, headers, b"", verifying=trip.verifying)
    except Cut:
        return place
    if not complete(answer):
        return place
    _processed(answer)
    if answer.headers.get(RECEIPT) == "refused":
        await wrong(trip, answer, 0, trip.length, None)
    if not 200 <= answer.status < 300:  # noqa: PLR2004 - success
        trip.surprised(answer)
    return Place(place.url, place.offset, answer)


def _done(trip: IetfTrip, place: Place) -> bool:
    return place.offset == trip.length and (complete(place.answer) is True or note_in(place.answer) is not None)


async def _next(trip: IetfTrip, place: Place, method: str) -> Place:
    """Send one part and return where the upload stands then, however it went."""
    limits = (limits_in(place.answer) or Limits()).over((await trip.door.offer()).limits)
    end = _end(trip, place.offset, limits)
    if end == place.offset < trip.length:
        raise UplinkDown(f"{place.url.authority} takes no request of any length: its limits exclude each other")
    await trip.sending.turn(end - place.offset)
    headers = {
        "Content-Type": PARTIAL,
        "Upload-Offset": str(place.offset),
        "Upload-Complete": "?1" if end == trip.length else "?0",
    }
    proof = None
    if await trip.door.checks():
        then, least = _end(trip, end, limits), (await trip.door.offer()).stretch
        if await trip.stretched(headers, place.offset, end, least, then=then):
            proof = trip.proofs.known(place.offset, end, through=False)
        else:
            proof = await trip.proofs.of(place.offset, end)
            await trip.proofs.prepare(end, then)
        if proof is not None:
            headers["Content-Digest"] = digest_field(proof.digest)
    if end == trip.length:
        headers["Upload-Length"] = str(trip.length)  # who is cut off takes less for the whole otherwise
        headers["Want-Repr-Digest"] = (await trip.door.offer()).wants
    began = monotonic()
    try:
        answer = await trip.bring("PATCH", place.url, headers, place.offset, end)
    except Cut as cut:
        await trip.doubt(cut)
        after = await asked(trip, place.url) or await created(trip, method)
        if after.url == place.url and after.offset <= place.offset and cut.handed:
            trip.part.lost(end - place.offset)
        return after
    if _taken(trip, answer, end):
        after = Place(place.url, end, answer)
        trip.kept(end - place.offset, began)
        trip.confirm(after)
        return after
    if complete(answer):
        _processed(answer)
    await _not_taken(trip, place, answer, end, proof)
    # Where bytes were called wrong, it may be those before that are wrong by now, in the server's store.
    return await asked(trip, place.url, prove=misfit(answer)) or await created(trip, method)


def _end(trip: IetfTrip, offset: int, limits: Limits) -> int:
    return limits.end(offset, trip.part.end(offset, trip.length), trip.length)


def _taken(trip: IetfTrip, answer: Answer, end: int) -> bool:
    """Whether it is plainly a yes; a digest of all so far, which some tell unasked, is compared where ours is known."""
    if not 200 <= answer.status < 300 or complete(answer) is not (end == trip.length):  # noqa: PLR2004 - success
        return False
    theirs, known = repr_digest(answer), journaled(trip.holding, end)
    return answer.offset in {None, end} and (theirs is None or known is None or theirs == known)


def _processed(answer: Answer) -> None:
    """Every byte arrived, and whoever processes the whole refused it: resuming would not help."""
    if answer.status < 400 or RECEIPT in answer.headers:  # noqa: PLR2004 - a yes; or bytes that are not what we stated
        return
    if answer.status < 500:  # noqa: PLR2004 - the client's side
        raise UplinkRefused(f"the DEMS has every byte and refuses this capture ({answer.status}){said(answer)}")
    raise UplinkDown(
        f"the DEMS has every byte and could not process them ({answer.status}){said(answer)}",
        alone=True,
        retry_after=retry_after(answer),
    )


async def _not_taken(trip: IetfTrip, place: Place, answer: Answer, end: int, proof: Proof | None) -> None:
    """Return when the server may be asked where the upload stands; raise when there is no sense in it now."""
    offset = place.offset
    if answer.headers.get(RECEIPT) == "refused" or (400 <= answer.status < 500 and misfit(answer)):  # noqa: PLR2004
        await wrong(trip, answer, offset, end, proof)
        return
    match answer.status:
        case 404 | 410:
            await gone(trip, answer)
            await trip.doubt(trip.door.explained(answer))  # HEAD may say that it is there after all
        case 413:
            limits = limits_in(answer) or Limits()
            if limits.max_append_size is not None and limits.max_append_size < end - offset:
                trip.door.limited(limits)
                await trip.doubt(trip.door.explained(answer))  # what HEAD says of it may be something else
            elif not trip.part.refused(end - offset):
                raise UplinkDown(
                    f"{answer.url.authority} refuses even {FLOOR} bytes in one request (413)",
                    hint="The limit for bodies, of the DEMS or of a proxy, must be raised: to 16 MiB at least.",
                )
        case 423:
            await trip.locked(answer)
        case 200 | 201 | 204 | 400 | 408 | 409 | 500 | 502 | 504:
            await trip.doubt(trip.door.explained(answer))
        case _:
            trip.surprised(answer)
