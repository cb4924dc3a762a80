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
    holding, owed = await desk.read(
        lambda journal: (journal.get(said.capture), copies.owes(journal, said.capture, destination))
    )
    signed = holding.receipt is not None and holding.receipt.strength is Strength.SIGNED
    if not owed and holding.standing is not Standing.HELD and (signed or holding.standing is not Standing.RECEIPTED):
        return None  # told again, as after each start: nothing is verified or written for it
    given = Receipt(Strength.SIGNED, destination, said.length, said.sha256, note)
    proven = believed(holding, given, keys, destination, now=datetime.now(UTC))

    def act(journal: Journal) -> bool:
        known = journal.get(holding.id)
        if known.standing in (Standing.HELD, Standing.RECEIPTED) and known.receipt != proven:
            weaker = known.receipt is None or known.receipt.strength < proven.strength
            if known.standing is Standing.HELD or weaker:
                journal.receipt(holding.id, proven, detail={"over": over})
                return True
        if copies.owes(journal, holding.id, destination):
            copies.copied(journal, holding.id, proven)
            return True
        return False

    return holding.id if await desk.write(act) else None
