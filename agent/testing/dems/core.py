"""One emulated DEMS without its wire: the store, the receipt key, the faults, and what is said to those who look."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import structlog

from agent.errors import BadReceipt
from agent.testing.dems.faults import Faults
from agent.testing.dems.receipts import TWISTS, Signatory
from agent.testing.dems.receiving import Receiver
from agent.testing.dems.stamping import Authority
from agent.testing.dems.uploads import State, Store
from agent.testing.dems.wire import parse_metadata
from agent.testing.dems.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.testing.dems.options import DemsOptions
    from agent.testing.dems.uploads import Door, Upload

__all__ = ["Core", "Entry"]

_WORKERS: Final = 8
_ENTRIES: Final = """
SELECT u.id, u.capture, u.sha256, u.length, u."offset", u.state, u.received,
       max(d.note IS NOT NULL), r.capture IS NOT NULL, d.metadata
FROM uploads u JOIN doors d ON d.upload = u.id LEFT JOIN released r ON r.capture = u.capture
GROUP BY u.id ORDER BY u.number
"""
_log = structlog.get_logger("dems")


@dataclass(frozen=True, slots=True)
class Entry:
    """One upload, as `index.json` lists it."""

    upload: str
    """Its name here; where nothing was claimed there is no other."""
    capture: str | None
    sha256: str | None
    """As it was claimed; the state says whether it is true."""
    length: int
    offset: int
    state: str
    """`open`, `stored`, `mismatch`, `expired`, `terminated`, `damaged`."""
    received: int
    """Bytes of bodies that were read for it, as of its last commit: what is more than the offset was thrown away."""
    receipted: bool
    released: bool
    metadata: str
    """`Upload-Metadata` as it came."""
    file: str
    """Where its bytes lie, relative to the folder of the DEMS."""

    @classmethod
    def of(cls, *row: object) -> Self:
        """Return the entry of a database row."""
        upload, capture, sha256, length, offset, state, received, receipted, released, metadata = row
        # Without receipts nothing is demanded, and what is said is only shown.
        said = parse_metadata(str(metadata)) if capture is None else {}
        return cls(
            upload=str(upload),
            capture=said.get("capture") if capture is None else str(capture),
            sha256=sha256.hex() if isinstance(sha256, bytes) else said.get("sha256"),
            length=int(str(length)),
            offset=int(str(offset)),
            state=str(state),
            received=int(str(received)),
            receipted=bool(receipted),
            released=bool(released),
            metadata=str(metadata),
            file=f"files/{upload}",
        )


class Core:
    """Everything that is one DEMS, for as long as its folder is open."""

    def __init__(self, options: DemsOptions, *, clock: Callable[[], float] = time.time) -> None:
        self.options = options
        self.faults = Faults()
        self.store = Store(options.folder, expires_after=options.expires_after, clock=clock)
        self.signatory: Signatory | None = None
        if options.receipts:
            self.signatory = Signatory(options.key_name, options.key_file or options.folder / "receipt.key")
        self.witness = Witness(self.store, options.witness_name, options.folder / "witness.key", enrol=options.enrol)
        self.authority = Authority(options.folder / "tsa") if options.tsa else None
        self.workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="dems")
        self.receiver = Receiver(self.store, self.signatory, self.workers)

    def close(self) -> None:
        """Let what is under way end, and close the folder."""
        self.workers.shutdown()
        self.store.close()

    # --- for the wire ----------------------------------------------------------------------------------------------

    async def expire_if_late(self, upload: Upload) -> bool:
        """Give up an open upload whose time is over and to which nobody writes; say whether it is given up."""
        if upload.state is State.OPEN and not upload.busy and upload.expires_at < self.store.clock():
            await self.store.end(upload, State.EXPIRED)
        return upload.state is State.EXPIRED

    async def sweep(self) -> None:
        """Give up every upload whose time is over."""
        for upload in self.store.late():
            await self.expire_if_late(upload)

    async def complain(self, kind: str, capture: str | None, sentence: str) -> None:
        """Write down, and log, what no uplink may do."""
        _log.warning("violation", kind=kind, capture=capture, sentence=sentence)
        await self.store.complain(kind, capture, sentence)

    async def read(self, upload: Upload, offset: int, length: int) -> bytes:
        """Return stored bytes."""

        def act() -> bytes:
            fd = self.store.open(upload)
            try:
                return os.pread(fd, length, offset)
            finally:
                os.close(fd)

        return await asyncio.get_running_loop().run_in_executor(self.workers, act)

    async def receipt_to_answer(self, door: Door) -> bytes | None:
        """Return the receipt that an answer about a complete upload carries, made wrong where a fault says so."""
        note = await self.receiver.note(door)
        if note is None or self.signatory is None or (twist := self.faults.twist()) is None:
            return note
        return self.signatory.twisted(note, twist) if twist in TWISTS else None

    # --- for those who look ----------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """Return every upload that was ever created, the oldest first."""
        return [Entry.of(*row) for row in self.store.record.rows(_ENTRIES)]

    def receipt(self, capture: str) -> bytes | None:
        """Return the last receipt that was signed for a capture, as it was signed."""
        sql = """
        SELECT d.note FROM doors d JOIN uploads u ON u.id = d.upload
        WHERE u.capture = ? AND u.state = 'stored' AND d.note IS NOT NULL ORDER BY d.noted_at DESC LIMIT 1
        """
        found = self.store.record.rows(sql, capture)
        return bytes(found[0][0]) if found and isinstance(found[0][0], bytes) else None

    async def released(self, capture: str, note: bytes) -> bool:
        """Hear that a device was let go of a capture; complain unless it is said with our receipt for it."""
        if (sentence := self._wrong_release(capture, note)) is not None:
            await self.complain("released-without-receipt", capture, sentence)
            return False
        sql = "INSERT INTO released VALUES (?, ?) ON CONFLICT DO NOTHING"
        await self.store.record.commit((sql, (capture, self.store.clock())))
        return True

    def _wrong_release(self, capture: str, note: bytes) -> str | None:
        if self.signatory is None:
            return "This DEMS signs no receipts."
        try:
            said = self.signatory.check(note)
        except BadReceipt as bad:
            return str(bad)
        if said.capture != capture:
            return f"The receipt is for {said.capture}."
        sql = "SELECT 1 FROM doors d JOIN uploads u ON u.id = d.upload WHERE u.capture = ? AND d.note = ?"
        return None if self.store.record.rows(sql, capture, note) else "This receipt was never given."
