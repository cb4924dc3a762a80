"""An upload that was announced and waits for its turn: its place at the server is kept up, or made again.

tus 1.0.0 lets an expiry move with each PATCH, and one of no bytes is a PATCH. A server whose expiry does not move is
asked again when it is over: then the upload is created anew, so that the DEMS goes on knowing what waits here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.uplink.http import Cut, renew_at
from agent.uplink.tus.create import announced
from agent.uplink.tus.find import found
from agent.uplink.tus.wire import BYTES_TYPE

if TYPE_CHECKING:
    from agent.uplink.tus.trip import TusTrip

__all__ = ["renewed"]


async def renewed(trip: TusTrip) -> None:
    """See to it that the upload stands. Raises `UplinkDown` or `UplinkRefused`."""
    place = await found(trip)
    if place is None:
        await announced(trip)
        return
    if place.offset == trip.length:
        await trip.sending.remember(str(place.url))  # complete: it does not expire, and its turn fetches the receipt
        return
    headers = {"Content-Type": BYTES_TYPE, "Upload-Offset": str(place.offset)}
    answer = place.answer
    try:
        touched = await trip.door.ask("PATCH", place.url, headers, b"")
    except Cut as cut:
        await trip.doubt(cut)
    else:
        answer = touched if touched.status == 204 and touched.spoken else answer  # noqa: PLR2004 - No Content
    await trip.sending.remember(str(place.url), renew_at=renew_at(answer))
