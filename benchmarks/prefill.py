"""A journal with a long past: captures that were taken, receipted, released and purged before the run begins."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agent.capture import Capture, Device, Digest, Parts, Receipt, Strength
from agent.clock import Clock
from agent.durable import make_folder
from agent.journal import Journal
from agent.testing.process import LOG

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["prefill"]

_BATCH: Final = 5000


def prefill(state: Path, count: int) -> None:
    """Write `count` captures through the journal's own acts, thousands to a commit."""
    make_folder(state)
    journal = Journal.open(state / "journal.db", log=LOG, stamp=Clock().stamp)
    device = Device(id="bench-camera-of-old", family="body_worn", driver="bay-1")
    try:
        for first in range(0, count, _BATCH):
            with journal.transaction():
                for number in range(first, min(count, first + _BATCH)):
                    _live_and_go(journal, device, number)
    finally:
        journal.close()


def _live_and_go(journal: Journal, device: Device, number: int) -> None:
    capture = Capture(
        device, f"DCIM/{100 + number // 9999}PAST/CLIP{number % 9999:04d}.MP4", datetime(2025, 1, 1, tzinfo=UTC)
    )
    sha256 = hashlib.sha256(b"%d" % number).digest()
    held = journal.hold(capture, Digest(sha256, sha256, 4096), Parts())
    journal.receipt(held.id, Receipt(Strength.SIGNED, "dems", 4096, sha256, b"a note of long ago"))
    journal.release(held.id)
    journal.purge(held.id)
