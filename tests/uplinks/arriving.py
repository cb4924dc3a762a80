"""What must be so once something was sent to the emulated DEMS: a receipt that verifies, each capture there once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from agent.capture import Strength
from agent.custody.receipt import check_receipt
from agent.errors import UplinkDown
from agent.note import Verifier

if TYPE_CHECKING:
    from agent.capture import Receipt
    from agent.testing.dems import DemsProcess, EmulatedDems
    from agent.uplink import Uplink
    from tests.uplinks.memory import MemorySending

    Dems = EmulatedDems | DemsProcess


def verified(receipt: Receipt, sending: MemorySending, dems: Dems) -> None:
    holding = sending.holding
    assert receipt.strength is Strength.SIGNED
    assert receipt.note is not None
    check_receipt(
        receipt.note,
        [Verifier.parse(dems.receipt_vkey)],
        capture=holding.id,
        sha256=holding.digest.sha256,
        length=holding.digest.length,
        log=holding.log,
        index=holding.index,
        not_before=holding.held_at - timedelta(days=1),
    )


async def sent(uplink: Uplink, sending: MemorySending) -> Receipt:
    """Try again as `forward` does, without its pauses."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await uplink.send(sending)
            except UplinkDown:
                await asyncio.sleep(0.05)


async def settled(dems: Dems, *sendings: MemorySending, again: int = 0) -> None:
    """Each capture is there once and whole, at most `again` bytes came twice, and nothing forbidden was done."""
    entries = [entry for entry in await dems.index() if entry.state == "stored"]
    assert {entry.capture for entry in entries} == {sending.holding.id for sending in sendings}
    assert len(entries) == len(sendings)
    data = {sending.holding.id: sending.data for sending in sendings}
    for entry in entries:
        assert dems.stored(entry).read_bytes() == data[str(entry.capture)]
        assert entry.received <= entry.length + again
    assert await dems.violations() == []
