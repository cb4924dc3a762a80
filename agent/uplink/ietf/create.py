"""The beginning of an upload: careful creation, so that its URL is durable before a byte is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from agent.errors import UplinkDown, UplinkRefused
from agent.uplink.http import Cut, Place, metadata, note_in, renew_at, said
from agent.uplink.ietf.fields import Limits, complete, digest_field, disposition, limits_in, misfit
from agent.uplink.ietf.find import asked

if TYPE_CHECKING:
    from agent.capture import Holding
    from agent.uplink.http import Answer
    from agent.uplink.ietf.trip import IetfTrip

__all__ = ["created", "described"]

FOR_EVER = frozenset({400, 403, 409, 413, 415, 422, 451})
"""What such a server answers to a capture that it takes never. 409: it knows this capture with other claims."""


async def created(trip: IetfTrip, method: str) -> Place:
    """Create the upload without a byte (the draft, section 10.2), and keep its URL durably.

    An empty capture is complete with that; there are servers that refuse to create an empty upload that is not.
    """
    offer = await trip.door.offer()
    _fits(trip, offer.limits)
    if not trip.again():
        raise UplinkDown("the DEMS creates this upload again and again, and loses it each time")
    headers = described(trip.holding) | {
        "Want-Repr-Digest": offer.wants,
        "Upload-Complete": "?0" if trip.length else "?1",
        "Upload-Length": str(trip.length),
    }
    while True:
        try:
            answer = await trip.door.ask(method, trip.door.url, headers, b"", verifying=trip.verifying)
        except Cut as cut:
            # Often only an idle connection that the server had closed. At worst an empty upload is left to expire.
            await trip.doubt(cut)
            continue
        if answer.status == 400 and misfit(answer):  # noqa: PLR2004 - what we said of it changed on the way
            await trip.doubt(trip.door.explained(answer))
            continue
        if answer.status != 423:  # noqa: PLR2004 - Locked
            break
        await trip.locked(answer)
    if not 200 <= answer.status < 300 or not answer.spoken:  # noqa: PLR2004 - success
        _refused(trip, answer)
    _fits(trip, limits_in(answer) or Limits())
    return await _located(trip, answer)


def described(holding: Holding) -> dict[str, str]:
    """Return what the capture is: for the draft its type, name and digest, for a DEMS of ours our claims as well."""
    return {
        "Content-Type": holding.media_type or "application/octet-stream",
        "Content-Disposition": disposition(holding.origin.key),
        "Repr-Digest": digest_field(holding.digest.sha256),
        "Upload-Metadata": metadata(holding),
    }


def _fits(trip: IetfTrip, limits: Limits) -> None:
    if limits.max_size is not None and trip.length > limits.max_size:
        raise UplinkRefused(f"the DEMS takes at most {limits.max_size} bytes, and this capture has {trip.length}")
    if limits.max_append_size is not None and limits.max_append_size < (limits.min_append_size or 1):
        raise UplinkDown("the DEMS takes no request of any length: its limits exclude each other")


async def _located(trip: IetfTrip, answer: Answer) -> Place:
    location = answer.headers.get("Location")
    if not location and complete(answer) and not trip.length:
        return Place(answer.url, 0, answer)
    if not location:
        trip.door.surprised()
        raise UplinkDown(f"{answer.url.authority} created an upload and did not say where (no Location)")
    url = trip.door.resolved(location, answer.url)
    place = Place(url, answer.offset or 0, answer)
    await trip.sending.remember(str(url), renew_at=renew_at(answer))
    if place.offset > trip.length or (place.offset and note_in(answer) is None):
        # A server that knows a capture again had it already: how much of it is ours?
        return await asked(trip, url, prove=True) or await created(trip, answer.method)
    trip.confirm(place)
    return place


def _refused(trip: IetfTrip, answer: Answer) -> NoReturn:
    if answer.status == 431:  # noqa: PLR2004 - Request Header Fields Too Large
        raise UplinkRefused("the names of this capture and its device are longer than the DEMS takes in a header (431)")
    if answer.spoken and answer.status in FOR_EVER:
        raise UplinkRefused(f"the DEMS refuses this capture ({answer.status}){said(answer)}")
    trip.surprised(answer)
