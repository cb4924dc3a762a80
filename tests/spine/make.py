"""Values for tests of the journal."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from blake3 import blake3

from agent.capture import Capture, Device, Digest, Holding, Parts, Receipt, Strength

if TYPE_CHECKING:
    from agent.journal import Journal

DEVICE = Device(id="usb:0951:1666:SN-1", family="body_worn", driver="bay1", maker="Acme", serial="SN-1")
BEGAN_AT = datetime(2026, 11, 22, 7, 2, 17, 123000, tzinfo=UTC)


def capture(key: str = "CLIP0001.MP4", **fields: object) -> Capture:
    return Capture(**({"device": DEVICE, "key": key, "began_at": BEGAN_AT, "length": 3} | fields))


def digest(data: bytes | str = b"abc") -> Digest:
    raw = data.encode() if isinstance(data, str) else data
    return Digest(hashlib.sha256(raw).digest(), blake3(raw).digest(), len(raw))


def hold(journal: Journal, key: str = "CLIP0001.MP4", data: bytes | str | None = None, **fields: object) -> Holding:
    with journal.transaction():
        return journal.hold(capture(key, **fields), digest(key if data is None else data), Parts())


def receipt(holding: Holding, strength: Strength = Strength.DIGEST) -> Receipt:
    note = b"a signed note" if strength is Strength.SIGNED else None
    return Receipt(strength, "dems", holding.digest.length, holding.digest.sha256, note)
