"""An upload that was announced and waits for its turn: its place at the server is kept up, or made again.

An append of nothing tells the server that somebody still means the upload; whether its `max-age` begins anew then is
the server's matter. One that is over is created again, so that the DEMS goes on knowing what waits here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.uplink.http import Cut, renew_at
from agent.uplink.ietf.create import created
from agent.uplink.ietf.fields import PARTIAL
from agent.uplink.ietf.find import found

if TYPE_CHECKING:
    from agent.uplink.ietf.trip import IetfTrip

__all__ = ["renewed"]


async def renewed(trip: IetfTrip, method: str) -> None:
    """See to it that the upload stands. Raises `UplinkDown` or `UplinkRefused`."""
    place = await found(trip)
    if place is None:
        await created(trip, method)
        return
    if place.offset == trip.length:
        await trip.sending.remember(str(place.url))  # its turn says that it is complete, or hears that it is
        return
    headers = {"Content-Type": PARTIAL, "Upload-Offset": str(place.offset), "Upload-Complete": "?0"}
    answer = place.answer
    try:
        touched = await trip.door.ask("PATCH", place.url, headers, b"")
    except Cut as cut:
        await trip.doubt(cut)
    else:
        answer = touched if 200 <= touched.status < 300 and touched.spoken else answer  # noqa: PLR2004 - success
    await trip.sending.remember(str(place.url), renew_at=renew_at(answer))
