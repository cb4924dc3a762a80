"""Values for tests of the journal."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from blake3 import blake3

from agent.capture import Capture, Device, Digest, Holding, Parts, Receipt, Standing, Strength
from agent.clock import Clock
from agent.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

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


LOG = "edge.example.org/bench-1/log1"


def reopened(journal: Journal, path: Path, log: str = LOG) -> Journal:
    journal.close()
    return Journal.open(path, log=log, stamp=Clock().stamp)


ACTS = {
    Standing.HELD: lambda journal, known: journal.retry(known.id, actor="anna", why="again"),
    Standing.RECEIPTED: lambda journal, known: journal.receipt(known.id, receipt(known)),
    Standing.RELEASED: lambda journal, known: journal.intend_release(known.id, {}) and journal.release(known.id),
    Standing.PURGED: lambda journal, known: journal.purge(known.id),
    Standing.REFUSED: lambda journal, known: journal.refuse(known.id, "no"),
    Standing.QUARANTINED: lambda journal, known: journal.quarantine(known.id, "doubt"),
}
WAYS = {
    Standing.HELD: (),
    Standing.RECEIPTED: (Standing.RECEIPTED,),
    Standing.RELEASED: (Standing.RECEIPTED, Standing.RELEASED),
    Standing.PURGED: (Standing.RECEIPTED, Standing.RELEASED, Standing.PURGED),
    Standing.REFUSED: (Standing.REFUSED,),
    Standing.QUARANTINED: (Standing.QUARANTINED,),
}


def brought(journal: Journal, standing: Standing, key: str = "a") -> Holding:
    known = hold(journal, key)
    for step in WAYS[standing]:
        with journal.transaction():
            ACTS[step](journal, journal.get(known.id))
    known = journal.get(known.id)
    assert known.standing is standing
    return known
