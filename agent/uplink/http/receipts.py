"""What a complete upload proves: a signed note, the server's own digest, or only that so many bytes arrived."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agent.capture import Receipt, Strength
from agent.errors import UplinkDown
from agent.uplink import Finding
from agent.uplink.http.answer import RECEIPT, note_as_body, note_in, repr_digest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from yarl import URL

    from agent.uplink.http.door import Door
    from agent.uplink.http.trip import Place, Trip

__all__ = ["receipt_of", "receipts"]

FIRST_WAIT: Final = 0.25
LONGEST_WAIT: Final = 5.0
"""Seconds between two questions for a receipt that is not there yet; the wait doubles in between."""


def receipts(*, signs: bool) -> Finding:
    """What a server's receipts are worth, for `greeted`."""
    if signs:
        return Finding(what="receipts", state="ok", detail="signs receipts: what it confirms can be proven")
    return Finding(
        what="receipts",
        state="warning",
        detail="signs no receipts: unless it tells a digest, devices keep everything that is sent there",
        todo="Devices are released only against a signed receipt or a digest.",
    )


async def receipt_of(
    trip: Trip[Door], place: Place, again: Callable[[], Awaitable[Place | None]], *, destination: str, wait: float
) -> Receipt:
    """Return what the server confirms of a complete upload. A note is not verified here: its signer is policy's matter.

    `again` asks where the upload stands now, of a server that signs receipts: with or without this one's.
    Raises `UplinkDown` when the server signs receipts and this one is not there after `wait` seconds.
    """
    note = note_in(place.answer)
    if note is None and await trip.door.signs():
        if RECEIPT in place.answer.headers:
            trip.log.warning("receipt_unreadable", url=str(place.url))
        note = await _fetched(trip, again, wait)
    if note is not None:
        return Receipt(Strength.SIGNED, destination, place.offset, note=note)
    digest = repr_digest(place.answer)
    if digest is not None:
        # Equal to ours: `find` asked, and a complete upload with another digest never comes this far.
        return Receipt(Strength.DIGEST, destination, place.offset, sha256=digest)
    return Receipt(Strength.LENGTH, destination, place.offset)


async def _fetched(trip: Trip[Door], again: Callable[[], Awaitable[Place | None]], wait: float) -> bytes:
    """Ask for the receipt at the place where receipts lie, and at the upload, in turn."""
    url = trip.door.beside(f"receipts/{trip.holding.id}")
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + wait, FIRST_WAIT
    while True:
        note = await _lying(trip, url)
        if note is not None:
            return note
        if loop.time() + pause > until:
            raise UplinkDown(
                "the upload is complete, and the DEMS has no receipt for it yet",
                alone=True,
                hint="Nothing to do at the dock: the receipt is asked for again by itself.",
            )
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_WAIT)
        now = await again()
        if now is None or now.offset < trip.length:
            raise UplinkDown("the upload was complete, and is no longer, while its receipt was waited for")
        note = note_in(now.answer)
        if note is not None:
            return note


async def _lying(trip: Trip[Door], url: URL) -> bytes | None:
    answer = await trip.door.ask("GET", url)
    if answer.status in {202, 404, 425}:
        return None
    note = note_in(answer) or note_as_body(answer)
    if answer.status != 200 or note is None:  # noqa: PLR2004 - OK
        raise trip.door.explained(answer)
    # Receipts lie there by capture. One for another station that took the same capture is not the one for our entry.
    return note if f"\nlog {trip.holding.log} {trip.holding.index}\n".encode() in note else None
