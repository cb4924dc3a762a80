"""The beginning of an upload: its URL is durable before a byte is sent, or one request brings everything."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, NoReturn

from agent.errors import UplinkDown, UplinkRefused
from agent.uplink.http.answer import note_in
from agent.uplink.http.claims import metadata
from agent.uplink.http.expiry import renew_at
from agent.uplink.http.proofs import Proof
from agent.uplink.http.trip import Place
from agent.uplink.http.trouble import Cut, said
from agent.uplink.http.wrong import wrong
from agent.uplink.tus.find import asked
from agent.uplink.tus.trouble import explained
from agent.uplink.tus.wire import BYTES_TYPE, CHECKSUM_MISMATCH, stated

if TYPE_CHECKING:
    from agent.uplink.http.answer import Answer
    from agent.uplink.tus.trip import TusTrip
    from agent.uplink.tus.wire import Abilities

__all__ = ["announced", "created"]

FOR_EVER: Final = frozenset({400, 403, 409, 413, 422, 451})
"""What a tus server answers to a capture that it takes never. 409: the server knows this capture with other claims."""


async def created(trip: TusTrip) -> Place:
    """Create the upload, in one request with its bytes where the server makes that safe."""
    abilities = await trip.door.abilities()
    if "creation" not in abilities.extensions:
        raise UplinkDown(
            f"{trip.door.url.authority} lets nobody create uploads: it lacks the extension `creation`",
            hint="Does `url` name the place where the DEMS creates uploads?",
        )
    if abilities.longest is not None and trip.length > abilities.longest:
        raise UplinkRefused(f"the DEMS takes at most {abilities.longest} bytes, and this capture has {trip.length}")
    _counted(trip)
    one_request = trip.door.brings_whole(trip.holding) and 0 < trip.length <= trip.part.now
    if one_request and trip.sending.recall() is None:
        place = await _whole(trip, abilities)
        if place is not None:
            return place
    return await _empty(trip)


async def announced(trip: TusTrip) -> Place:
    """Create the upload without a byte: what the capture is, and where its bytes will go."""
    await trip.door.abilities()
    _counted(trip)
    return await _empty(trip)


def _counted(trip: TusTrip) -> None:
    if not trip.again():
        raise UplinkDown("the DEMS creates this upload again and again, and loses it each time")


async def _whole(trip: TusTrip, abilities: Abilities) -> Place | None:  # noqa: RET503 - the last case never returns
    """Create and fill in one request; None when that request left a doubt, which creating without bytes resolves."""
    await trip.sending.turn(trip.length)
    headers = _headers(trip) | {"Content-Type": BYTES_TYPE}
    # Of all bytes both digests are the same; who knows `through` computes it once, for this and for its receipt.
    proof = Proof(trip.holding.digest.sha256, through=abilities.checks_through)
    if abilities.checks_parts:
        headers["Upload-Checksum"] = stated(proof)
        await trip.stretched(headers, 0, trip.length, abilities.stretch)
    trip.sending.progress(0)
    began = monotonic()
    try:
        answer = await trip.bring("POST", trip.door.url, headers, 0, trip.length)
    except Cut as cut:
        _perhaps_there(trip)
        await trip.doubt(cut)
        return None
    match answer.status:
        case 201 if answer.spoken:
            if answer.offset == trip.length:
                trip.kept(trip.length, began)
            return await _located(trip, answer, whole=True)
        case 413 if not answer.spoken and trip.part.refused(trip.length):
            return None
        case 460 if answer.spoken:
            await wrong(trip, answer, 0, trip.length, proof)
            return None
        case 423:
            await trip.locked(answer)
            return None
        case 400 | 408 | 409 | 415 | 500 | 502 | 504:
            _perhaps_there(trip)
            await trip.doubt(explained(answer))
            return None
        case _:
            _refused(trip, answer)


def _perhaps_there(trip: TusTrip) -> None:
    """Of this capture no second copy is risked again; that there may be one is said."""
    if trip.door.doubted(trip.holding):
        trip.log.warning("upload_perhaps_twice", url=str(trip.door.url))


async def _empty(trip: TusTrip) -> Place:
    while True:
        try:
            answer = await trip.door.ask("POST", trip.door.url, _headers(trip), verifying=trip.verifying)
        except Cut as cut:
            # Often only an idle connection that the server had closed. At worst an empty upload is left to expire.
            await trip.doubt(cut)
            continue
        if answer.status == CHECKSUM_MISMATCH and answer.spoken:  # what we said of it changed on the way
            await trip.doubt(explained(answer))
            continue
        if answer.status != 423:  # noqa: PLR2004 - Locked
            break
        await trip.locked(answer)
    if answer.status != 201 or not answer.spoken:  # noqa: PLR2004 - Created
        _refused(trip, answer)
    place = await _located(trip, answer)
    if 0 < place.offset < trip.length:
        # An idempotent server had it already: how much of it is ours?
        return await asked(trip, place.url, prove=True) or await created(trip)
    return place


def _headers(trip: TusTrip) -> dict[str, str]:
    return {"Upload-Length": str(trip.length), "Upload-Metadata": metadata(trip.holding)}


async def _located(trip: TusTrip, answer: Answer, *, whole: bool = False) -> Place:
    """Return where the new upload lies, and keep that durably unless nothing is left to do.

    `whole`: the request brought all the bytes.
    """
    location = answer.headers.get("Location")
    if not location:
        trip.door.surprised()
        raise UplinkDown(f"{answer.url.authority} created an upload and did not say where (no Location)")
    url = trip.door.resolved(location, answer.url)
    place = Place(url, answer.offset or 0, answer, whole=whole and answer.offset == trip.length)
    if place.offset > trip.length:
        # Asked again it may say something else; if not, that is no receipt.
        return await asked(trip, url, prove=True) or await created(trip)
    if place.offset < trip.length or (note_in(answer) is None and not trip.door.says_no_more(place)):
        await trip.sending.remember(str(url), renew_at=renew_at(answer))
    trip.confirm(place)
    return place


def _refused(trip: TusTrip, answer: Answer) -> NoReturn:
    if answer.status == 431:  # noqa: PLR2004 - Request Header Fields Too Large
        raise UplinkRefused("the names of this capture and its device are longer than the DEMS takes in a header (431)")
    if answer.spoken and answer.status in FOR_EVER:
        raise UplinkRefused(f"the DEMS refuses this capture ({answer.status}){said(answer)}")
    trip.surprised(answer)
