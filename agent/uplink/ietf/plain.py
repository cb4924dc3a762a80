"""A capture in one conventional request, for a server that does not resume: PUT below the URL, named by the capture.

A PUT of the same bytes to the same name is idempotent (RFC 9110 section 9.2.2), so a lost answer doubles nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import UplinkDown, UplinkRefused
from agent.uplink.http import Cut, Place, said
from agent.uplink.ietf.create import described
from agent.uplink.ietf.door import is_page
from agent.uplink.ietf.fields import digest_field

if TYPE_CHECKING:
    from agent.uplink.ietf.trip import IetfTrip

__all__ = ["put"]

FOR_EVER = frozenset({400, 413, 415, 422, 451})
"""What is said of a capture. 403 and 409 (RFC 4918 section 9.7.1: no folder is there) are said of the place."""


_DOWN = {403: "does not permit us to store there", 409: "has no folder to store it in"}
_ADMINISTRATOR = "The administrator of the DEMS must look at the place that `url` names, and at what we may do there."


async def put(trip: IetfTrip) -> Place:
    """Send everything. Raises `UplinkDown` or `UplinkRefused`."""
    url = trip.door.url / trip.holding.id
    # `Upload-Complete` invites the server to resume after all (the draft, section 10.1.1); others ignore it.
    headers = described(trip.holding) | {
        "Content-Digest": digest_field(trip.holding.digest.sha256),
        "Want-Repr-Digest": "sha-256=10",
        "Upload-Complete": "?1",
        "Upload-Length": str(trip.length),
    }
    while True:
        await trip.sending.turn(trip.length)
        trip.sending.progress(0)
        try:
            answer = await trip.bring("PUT", url, headers, 0, trip.length)
        except Cut as cut:
            await trip.doubt(cut)
            continue
        if answer.status in {201, 204} or (answer.status == 200 and not is_page(answer)):  # noqa: PLR2004 - OK
            trip.sending.progress(trip.length)
            return Place(url, trip.length, answer)
        if answer.status in FOR_EVER:
            raise UplinkRefused(f"the DEMS refuses this capture ({answer.status}){said(answer)}")
        if (what := _DOWN.get(answer.status)) is not None:
            raise UplinkDown(f"{url.authority} {what} ({answer.status}){said(answer)}", hint=_ADMINISTRATOR)
        trip.surprised(answer)
