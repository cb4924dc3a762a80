"""Part after part until the server has everything: one PATCH each, and a HEAD after whatever is not plainly a yes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.errors import UplinkDown
from agent.uplink.tus.body import Body
from agent.uplink.tus.create import created
from agent.uplink.tus.find import asked, found, gone
from agent.uplink.tus.options import FLOOR
from agent.uplink.tus.trip import Place
from agent.uplink.tus.trouble import Cut, explained
from agent.uplink.tus.wire import BYTES_TYPE, CHECKSUM_MISMATCH, checksum, note_in
from agent.uplink.tus.wrong import wrong

if TYPE_CHECKING:
    from agent.uplink.tus.trip import Trip
    from agent.uplink.tus.wire import Answer

__all__ = ["brought"]

BUFFERED: Final = 1024 * 1024
"""Bytes handed over before a cut of which a server, unless a proxy collects bodies before it, would have kept some."""


async def brought(trip: Trip) -> Place:
    """Return the upload when it is complete: with its receipt, or told by HEAD."""
    place = await found(trip) or await created(trip)
    while True:
        while place.offset < trip.length:
            place = await _next(trip, place)
        if note_in(place.answer) is not None or place.answer.method == "HEAD":
            return place
        # The last answer spoke of one request; what the server holds of the whole, only HEAD tells.
        place = await asked(trip, place.url) or await created(trip)


async def _next(trip: Trip, place: Place) -> Place:
    """Send one part and return where the upload stands then, however it went."""
    end = trip.part.end(place.offset, trip.length)
    await trip.sending.turn(end - place.offset)
    headers = {
        "Content-Type": BYTES_TYPE,
        "Content-Length": str(end - place.offset),
        "Upload-Offset": str(place.offset),
    }
    abilities = await trip.door.abilities()
    proof = await trip.proofs.of(abilities, place.offset, end)
    if proof is not None:
        headers["Upload-Checksum"] = checksum(proof.digest, proof.algorithm)
        await trip.proofs.prepare(abilities, end, trip.part.end(end, trip.length))
    verifying = trip.verifying if end == trip.length else 0.0
    blocks = trip.sending.outgoing(place.offset, end - place.offset)
    body = Body(blocks, end - place.offset, trip.stall, verifying=verifying)
    try:
        answer = await trip.door.ask("PATCH", place.url, headers, body)
    except Cut as cut:
        return await _after_cut(trip, place, body, cut, checked=proof is not None)
    if answer.status == 204 and answer.tus and answer.offset == end:  # noqa: PLR2004 - No Content
        after = Place(place.url, end, answer)
        trip.part.kept(end - place.offset)
        trip.confirm(after)
        return after
    if answer.status == CHECKSUM_MISMATCH and answer.tus:
        await wrong(trip, answer, place.offset, end, proof)
    else:
        await _not_taken(trip, answer, end - place.offset)
    return await asked(trip, place.url) or await created(trip)


async def _after_cut(trip: Trip, place: Place, body: Body, cut: Cut, *, checked: bool) -> Place:
    if checked and body.handed:
        # A part with a checksum that it has not whole, a server must drop (tus 1.0.0, Checksum): nobody needs to ask.
        trip.part.lost(body.length)
    await trip.doubt(cut)
    after = await asked(trip, place.url) or await created(trip)
    if not checked and after.url == place.url and after.offset <= place.offset and body.handed:
        if body.handed > BUFFERED and not trip.part.buffered:
            trip.part.buffered = True  # without one it should keep what it got
            trip.log.warning("proxy_buffers_uploads", handed=body.handed, kept=after.offset - place.offset)
        trip.part.lost(body.length)
    return after


async def _not_taken(trip: Trip, answer: Answer, length: int) -> None:
    """Return when the server may be asked where the upload stands; raise when there is no sense in it now."""
    match answer.status:
        case 404 | 410:
            await gone(trip, answer)
            await trip.doubt(explained(answer))  # HEAD may say that it is there after all
        case 413 if not answer.tus:
            if not trip.part.refused(length):
                raise UplinkDown(
                    f"a proxy before {answer.url.authority} refuses even {FLOOR} bytes in one request (413)",
                    hint="Its limit for bodies must be raised: at least to 16 MiB (nginx: client_max_body_size).",
                )
        case 423:
            await trip.locked(answer)
        case 204 | 403 | 409 | 413 if answer.tus:
            await trip.doubt(explained(answer))
        case 408 | 409 | 500 | 502 | 504:
            await trip.doubt(explained(answer))
        case _:
            trip.surprised(answer)
