"""A receipt that comes by another way than the capture went: over the broker, or on a disk that is brought back.

It is verified exactly as one that answers an upload, and what has been receipted with less is receipted with more.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.capture import Receipt, Standing, Strength
from agent.custody.receipt import open_receipt
from agent.errors import BadReceipt
from agent.forward.belief import believed
from agent.journal import copies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.capture import Holding
    from agent.journal import Desk, Journal
    from agent.note import Verifier

__all__ = ["came_late"]


async def came_late(desk: Desk, note: bytes, keys: Sequence[Verifier], destination: str, *, over: str) -> str | None:
    """Verify and commit it; the capture's id where that changed something.

    `over`: the way that it took, as it stands in the entry. Raises `BadReceipt`, or `Refusal` for a capture that nobody
    knows here.
    """
    if not keys:
        raise BadReceipt(f"no uplink names receipt_keys, and what comes over {over} is believed by its signature alone")
    said = open_receipt(note, keys)
    holding, wanted = await desk.read(lambda journal: _wanted(journal, said.capture, destination))
    if not wanted:
        return None  # told again, as after each start: nothing is verified or written for it
    given = Receipt(Strength.SIGNED, destination, said.length, said.sha256, note)
    proven = believed(holding, given, keys, destination, now=datetime.now(UTC))

    def act(journal: Journal) -> bool:
        known = journal.get(holding.id)
        if _moves(journal, known, destination):
            journal.receipt(holding.id, proven, detail={"over": over})
            return True
        if _completes(journal, known, destination):
            copies.copied(journal, holding.id, proven)
            return True
        return False

    return holding.id if await desk.write(act) else None


def _wanted(journal: Journal, capture: str, destination: str) -> tuple[Holding, bool]:
    known = journal.get(capture)
    return known, _moves(journal, known, destination) or _completes(journal, known, destination)


def _moves(journal: Journal, known: Holding, destination: str) -> bool:
    """Whether a signed receipt from there moves the capture on, or says more than the one that did.

    One for a copy does not: whoever else is to get the capture would never be sent it.
    """
    if destination in journal.destinations.copies:
        return False
    signed = known.receipt is not None and known.receipt.strength is Strength.SIGNED
    return known.standing is Standing.HELD or (known.standing is Standing.RECEIPTED and not signed)


def _completes(journal: Journal, known: Holding, destination: str) -> bool:
    """Whether a destination that must have it as well has proven less than a signature: it is owed, or was sent."""
    if copies.owes(journal, known.id, destination):
        return True
    moved = known.receipt is not None and known.receipt.destination == destination
    had = copies.received(journal, known.id).get(destination)
    return destination in journal.destinations.owed and not moved and had is not None and had < Strength.SIGNED
