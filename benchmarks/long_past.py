"""A journal as long as wanted, in a fraction of the time that it would take to live it: for benchmarks alone.

Rows and leaves have the form and the length of real ones, and the tree over them is the right one; no clock told their
times, and nobody ever sent anything. What stands held has its file in the spool.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agent.capture import Capture, Device, Digest, Parts, Receipt, Strength
from agent.clock import Clock
from agent.durable import make_folder
from agent.journal import Journal
from agent.testing.process import LOG

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["write_past"]

_BATCH: Final = 20_000
_CAMERAS: Final = 500
_BEGAN: Final = datetime(2025, 1, 1, tzinfo=UTC)


def write_past(state: Path, captures: int, *, entries_each: int = 1, held: int = 0) -> list[str]:
    """Ids of some of the captures. The last `held` of them stand held and lie in the spool; the others are purged."""
    make_folder(state)
    journal = Journal.open(state / "journal.db", log=LOG, stamp=Clock().stamp)
    connection = journal.connection
    try:
        with journal.transaction():
            row, leaf = _template(journal)
        names = list(row)
        marks = ", ".join("?" * len(names))
        insert = f"INSERT INTO capture ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - our names
        first_row = connection.execute("SELECT max(row) FROM capture").get + 1
        kept = state / "spool" / "kept"
        make_folder(kept)
        ids: list[str] = []
        for first in range(0, captures, _BATCH):
            some = range(first, min(captures, first + _BATCH))
            with journal.transaction():
                made = list(_made(some, row, first_row, journal.leaves.size, entries_each, captures - held))
                for one in made:
                    for number in range(1 if one["standing"] == 1 else entries_each):
                        journal.leaves.append(b"%d %d %s" % (one["row"], number, leaf), one["row"])
                connection.executemany(insert, [tuple(one[name] for name in names) for one in made])
                connection.executemany(
                    "INSERT INTO word VALUES ('device', ?, ?)", [(one["device"], one["row"]) for one in made]
                )
                connection.executemany(
                    "INSERT INTO span VALUES (?, ?, 4, ?, ?)",
                    [(one["row"], one["device"], one["held_at"], one["held_at"] + 1) for one in made],
                )
            for one in made:
                if one["spooled"]:
                    (kept / one["sha256"].hex()).write_bytes(b"%d" % one["row"])
            ids += [_text(one["id"]) for one in made[:: max(1, len(made) // 500)]]
        with journal.transaction():
            connection.execute("INSERT OR REPLACE INTO tally VALUES (1, ?, ?)", (held, held * 6))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        journal.close()
    return ids


def _template(journal: Journal) -> tuple[dict[str, Any], bytes]:
    """A row and a leaf as a real capture leaves them."""
    device = Device(id="bench-camera-of-old", family="body_worn", driver="bay-1", serial="SN-0", model="CAM 1")
    sha256 = hashlib.sha256(b"first").digest()
    held = journal.hold(Capture(device, "DCIM/100PAST/CLIP0000.MP4", _BEGAN, 5), Digest(sha256, sha256, 5), Parts())
    journal.receipt(held.id, Receipt(Strength.SIGNED, "dems", 5, sha256, b"a note of long ago"))
    journal.release(held.id)
    journal.purge(held.id)
    names = [one[1] for one in journal.connection.execute("PRAGMA table_info(capture)")]
    values = journal.connection.execute(f"SELECT {', '.join(names)} FROM capture").fetchone()  # noqa: S608 - ours
    return dict(zip(names, values or (), strict=True)), journal.leaves.leaf(held.index)


def _made(
    some: range, row: dict[str, Any], first_row: int, size: int, entries_each: int, purged: int
) -> Iterator[dict[str, Any]]:
    began = int(_BEGAN.timestamp()) * 1_000_000
    for number in some:
        at, is_held = first_row + number, number >= purged
        content = b"%d" % at
        sha256 = hashlib.sha256(content).digest()
        when = began + number * 10_000_000
        told = {
            "row": at,
            "id": _id(sha256),
            "origin": hashlib.sha256(b"origin %d" % at).digest()[:16],
            "device": f"bench-camera-{number % _CAMERAS:03}",
            "key": f"DCIM/{100 + number // 9999 % 900}PAST/CLIP{number % 9999:04d}.MP4",
            "sha256": sha256,
            "blake3": sha256,
            "length": len(content),
            "held_seq": size,
            "held_at": when,
            "changed_at": when,
        }
        size += 1 if is_held else entries_each
        if is_held:
            told |= {"standing": 1, "spooled": 1, "strength": None, "destination": None, "note": None}
            told |= {"receipted_at": None}
        yield {**row, **told}


def _id(sha256: bytes) -> bytes:
    """A UUID's 16 bytes, version 8 (RFC 9562)."""
    raw = bytearray(sha256[:16])
    raw[6], raw[8] = raw[6] & 0x0F | 0x80, raw[8] & 0x3F | 0x80
    return bytes(raw)


def _text(raw: bytes) -> str:
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
