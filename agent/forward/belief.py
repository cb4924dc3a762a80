"""What a receipt is worth: verified here, before anything stands receipted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.capture import Receipt, Strength
from agent.custody.receipt import check_receipt, earliest
from agent.errors import BadReceipt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from agent.capture import Holding
    from agent.note import Verifier

__all__ = ["believed"]


def believed(
    holding: Holding, receipt: Receipt, keys: Sequence[Verifier], destination: str, *, now: datetime
) -> Receipt:
    """The receipt as far as it proves anything; raises `BadReceipt` where it proves the contrary."""
    digest = holding.digest
    if receipt.strength is Strength.SIGNED and receipt.note is not None and keys:
        check_receipt(
            receipt.note,
            keys,
            capture=holding.id,
            sha256=digest.sha256,
            length=digest.length,
            log=holding.log,
            index=holding.index,
            not_before=earliest(holding.held_at, now),  # one from before it was held is another's
        )
        return Receipt(Strength.SIGNED, destination, digest.length, digest.sha256, receipt.note, receipt.sent)
    if receipt.length != digest.length:
        raise BadReceipt(f"the DEMS confirms {receipt.length} bytes of a capture of {digest.length}")
    if receipt.sha256 is not None and receipt.sha256 != digest.sha256:
        raise BadReceipt(f"the DEMS holds bytes with SHA-256 {receipt.sha256.hex()}, and not this capture")
    strength = Strength.DIGEST if receipt.strength is Strength.DIGEST and receipt.sha256 else Strength.LENGTH
    return Receipt(strength, destination, digest.length, receipt.sha256, sent=receipt.sent)
