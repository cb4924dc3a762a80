"""When a server says that bytes arrived wrong, whose side they went wrong on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import BadReceipt, SpoolDamaged
from agent.uplink.http.answer import RECEIPT
from agent.uplink.http.proofs import hashed, journaled
from agent.uplink.http.trouble import said

if TYPE_CHECKING:
    from agent.uplink.http.answer import Answer
    from agent.uplink.http.door import Door
    from agent.uplink.http.proofs import Proof
    from agent.uplink.http.trip import Trip

__all__ = ["wrong"]


async def wrong(trip: Trip[Door], answer: Answer, offset: int, end: int, proof: Proof | None) -> None:
    """Return when the stretch deserves a second try.

    Raises `SpoolDamaged` where the spool no longer gives what the journal says, and `BadReceipt` where it does and the
    server says no a second time, or says no to the whole: sending everything once more is for a person to decide.
    """
    trip.log.warning("bytes_refused_as_wrong", offset=offset, end=end)
    if answer.headers.get(RECEIPT) == "refused":
        await _verify_spool(trip, 0, trip.length)
        raise BadReceipt(f"the DEMS stored every byte and found another digest{said(answer)}")
    if proof is not None:
        await _verify_spool(trip, offset, end, proof)
    if trip.wrong_at == offset:
        raise BadReceipt(
            f"the DEMS says twice that bytes {offset} to {end} arrived wrong ({answer.status}); "
            "the spool has them as journaled",
            hint="Something between this station and the DEMS changes bytes, or one of both has bad memory.",
        )
    trip.wrong_at = offset


async def _verify_spool(trip: Trip[Door], offset: int, end: int, proof: Proof | None = None) -> None:
    known = journaled(trip.holding, end)
    expected, begin = (known, 0) if known is not None or proof is None else (proof.digest, offset)
    if await hashed(trip.sending, begin, end) != expected:
        raise SpoolDamaged(f"bytes {offset} to {end} of capture {trip.holding.id} are not what the journal says")
