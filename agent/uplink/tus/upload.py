"""Part after part until the server has everything: one PATCH each, and a HEAD after whatever is not plainly a yes."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from agent.errors import UplinkDown
from agent.uplink.http.answer import note_in
from agent.uplink.http.options import FLOOR
from agent.uplink.http.trip import Place
from agent.uplink.http.trouble import Cut
from agent.uplink.http.wrong import wrong
from agent.uplink.tus.create import created
from agent.uplink.tus.find import asked, found, gone
from agent.uplink.tus.trouble import explained
from agent.uplink.tus.wire import BYTES_TYPE, CHECKSUM_MISMATCH, stated

if TYPE_CHECKING:
    from agent.uplink.http.answer import Answer
    from agent.uplink.tus.trip import TusTrip

__all__ = ["brought"]

BUFFERED: Final = 1024 * 1024
"""Bytes handed over before a cut of which a server, unless a proxy collects bodies before it, would have kept some."""


async def brought(trip: TusTrip) -> Place:
    """Return the upload when it is complete: with its receipt, or told by HEAD."""
    place = await found(trip) or await created(trip)
    while True:
        while place.offset < trip.length:
            place = await _next(trip, place)
        if note_in(place.answer) is not None or place.proven or trip.door.says_no_more(place):
            return place
        # The last answer spoke of one request; what the server holds of the whole, and its digest, only HEAD tells.
        place = await asked(trip, place.url, prove=True) or await created(trip)


async def _next(trip: TusTrip, place: Place) -> Place:
    """Send one request and return where the upload stands then, however it went."""
    abilities, proof, stretched = await trip.door.abilities(), None, False
    # The journal has the digest through each part; where nothing is checked, a cut costs nothing of what arrived.
    several = abilities.checks_through or not abilities.checks_parts
    end = trip.part.end(place.offset, trip.length, several=several)
    await trip.sending.turn(end - place.offset)
    headers = {"Content-Type": BYTES_TYPE, "Upload-Offset": str(place.offset)}
    if abilities.checks_parts:
        through = abilities.checks_through
        stretched = await trip.stretched(headers, place.offset, end, abilities.stretch)
        if stretched:
            proof = trip.proofs.known(place.offset, end, through=through)
        else:
            proof = await trip.proofs.of(place.offset, end, through=through)
            following = trip.part.end(end, trip.length, several=several)
            await trip.proofs.prepare(end, following, through=through)
        if proof is not None:
            headers["Upload-Checksum"] = stated(proof)
    began = monotonic()
    try:
        answer = await trip.bring("PATCH", place.url, headers, place.offset, end)
    except Cut as cut:
        # A part with a checksum that it has not whole, a server must drop (tus 1.0.0, Checksum): nobody needs to ask.
        return await _after_cut(trip, place, end - place.offset, cut, dropped=proof is not None and not stretched)
    if answer.status == 204 and answer.spoken and answer.offset == end:  # noqa: PLR2004 - No Content
        after = Place(place.url, end, answer, whole=place.offset == 0 and end == trip.length)
        trip.kept(end - place.offset, began, loses=abilities.checks_parts or trip.part.buffered)
        trip.confirm(after)
        return after
    if answer.status == CHECKSUM_MISMATCH and answer.spoken:
        await wrong(trip, answer, place.offset, end, proof)
        # It may be what came before that is wrong by now, in the server's store.
        return await asked(trip, place.url, prove=True) or await created(trip)
    await _not_taken(trip, answer, end - place.offset)
    return await asked(trip, place.url) or await created(trip)


async def _after_cut(trip: TusTrip, place: Place, length: int, cut: Cut, *, dropped: bool) -> Place:
    if dropped and cut.handed:
        trip.part.lost(length)
    await trip.doubt(cut)
    after = await asked(trip, place.url) or await created(trip)
    if not dropped and after.url == place.url and after.offset <= place.offset and cut.handed:
        if cut.handed > BUFFERED and not cut.silent and not trip.part.buffered:
            trip.part.buffered = True  # without one it should keep what it got
            trip.log.warning("proxy_buffers_uploads", handed=cut.handed, kept=after.offset - place.offset)
        trip.part.lost(length)
    return after


async def _not_taken(trip: TusTrip, answer: Answer, length: int) -> None:
    """Return when the server may be asked where the upload stands; raise when there is no sense in it now."""
    match answer.status:
        case 404 | 410:
            await gone(trip, answer)
            await trip.doubt(explained(answer))  # HEAD may say that it is there after all
        case 413 if not answer.spoken:
            if not trip.part.refused(length):
                raise UplinkDown(
                    f"a proxy before {answer.url.authority} refuses even {FLOOR} bytes in one request (413)",
                    hint="Its limit for bodies must be raised: at least to 16 MiB (nginx: client_max_body_size).",
                )
        case 423:
            await trip.locked(answer)
        case 204 | 403 | 409 | 413 if answer.spoken:
            await trip.doubt(explained(answer))
        case 408 | 409 | 500 | 502 | 504:
            await trip.doubt(explained(answer))
        case _:
            trip.surprised(answer)
