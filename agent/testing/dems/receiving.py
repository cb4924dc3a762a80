"""A body becomes part of an upload: hashed and written, verified, forced, committed; a complete one gets its receipt.

If the process dies
  while bytes are written          the offset is the old one; they are written again
  after they were forced           the same: what is not committed was not answered
  after the commit, unanswered     the client asks (HEAD, or POST again) and is told, with the receipt that lies there
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, TypeVarTuple

from agent.custody.receipt import ReceiptNote
from agent.durable import NO_ROOM, ForceFailed
from agent.testing.dems.inflow import Body, Ending, Sink, copy_into
from agent.testing.dems.uploads import Door, State, Store, Upload
from agent.testing.dems.wire import CHECKSUM_MISMATCH, RECEIPT, RECEIPT_REFUSED, RefusedRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from agent.testing.dems.receipts import Signatory
    from agent.testing.dems.wire import Checksum, Stretches

__all__ = ["Receiver"]

_COPIES: Final = 1
Values = TypeVarTuple("Values")
Result = TypeVar("Result")

_STRETCH: Final = 16 << 20
"""Bytes of a body without checksum after which the offset is committed: what a crash of the DEMS costs at most."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """What a worker thread found when a stretch was written."""

    verified: bool
    end: int
    found: list[bytes] | None = None
    """Digests of the whole file, read back, when it is complete."""
    note: bytes | None = None


class Receiver:
    """Takes bodies in. The caller holds the upload's lock (`busy`)."""

    def __init__(self, store: Store, signatory: Signatory | None, workers: Executor) -> None:
        self._store = store
        self._signatory = signatory
        self._workers = workers
        self._late = asyncio.Lock()

    async def take(
        self,
        door: Door,
        body: Body,
        checksum: Checksum | None,
        *,
        stretches: Stretches | None = None,
        last: bool = True,
    ) -> None:
        """Take one request's body in. Returns when everything that came is durable; refuses where it is not kept.

        `last`: whoever has every byte then is complete; in some protocols that is said, and not counted.

        An upload that was only just made and of which nothing is kept leaves no trace. Raises `ConnectionAbortedError`
        once everything is done for a body whose connection ended first.
        """
        upload = door.upload
        try:
            fd = self._store.open(upload)
            sink = Sink(fd, upload.offset, checksum, lambda: self._store.fixity(upload), self._workers, stretches)
        except OSError as error:
            await self._our_fault(upload, error)
        before = upload.received
        checked = checksum is not None or stretches is not None
        most = None if checked else _STRETCH
        ending = Ending.MORE
        try:
            while ending is Ending.MORE:
                room = upload.length - sink.end
                ending, rest = await copy_into(sink.take, body, self._workers, room=room, most=most)
                upload.received = before + body.count
                await self._settle(door, sink, rest, ending, checksummed=checked, last=last)
        except (RefusedRequest, ConnectionAbortedError):
            # Only here is it certain that no row names the file; whoever is cancelled leaves it to the next start.
            if not upload.recorded:
                self._store.forget(upload)
            raise
        except OSError as error:
            await self._our_fault(upload, error)
        finally:
            sink.close()
            upload.received = before + body.count
        if ending is Ending.CUT:
            raise ConnectionAbortedError
        if ending is Ending.STALLED:
            raise RefusedRequest(408, "No byte of the body came for too long.", {"Upload-Offset": str(upload.offset)})

    async def note(self, door: Door) -> bytes | None:
        """Return the receipt of a door to a complete upload; None where no receipts are signed.

        A second dock that holds the same capture gets its own, over its own log entry: after the file was read again,
        for it says that the bytes are there now.
        """
        upload = door.upload
        if door.note is not None or self._signatory is None or upload.state is not State.STORED:
            return door.note
        async with self._late:
            now = self._store.door(door.token)
            if now is not None and now.note is not None:
                return now.note  # signed while we waited: an entry has one receipt
            found = await self._on_worker(self._store.fresh_fixity(upload).through, upload.length)
            if not _as_claimed(upload, found):
                await self._store.end(upload, State.MISMATCH)
                raise _mismatch(upload, found)
            door.note = self.signed(door, found)
            await self._store.keep_note(door)
        return door.note

    async def prefix(self, upload: Upload) -> bytes:
        """Return SHA-256 of what the upload holds, read again from its file from the first byte on."""
        fresh, offset = self._store.fresh_fixity(upload), upload.offset
        digest = (await self._on_worker(fresh.through, offset))[0]
        if not upload.busy and upload.offset == offset:
            upload.fixity = fresh  # what was just read is the better witness of what the file holds
        return digest

    async def _settle(
        self, door: Door, sink: Sink, rest: list[bytes], ending: Ending, *, checksummed: bool, last: bool
    ) -> None:
        upload = door.upload
        if ending is Ending.TOO_LONG:
            raise RefusedRequest(413, "The body is longer than what the upload lacks.", _offset(upload))
        if checksummed and ending is not Ending.WHOLE:
            # tus, checksum: a chunk that is not there as a whole is discarded and the offset does not move. What its
            # stretches prove is kept.
            await self._on_worker(sink.take, rest)
            await self._keep_proven(door, sink)
            if ending is Ending.CUT:
                raise ConnectionAbortedError
            raise RefusedRequest(408, "No byte of the body came for too long.", _offset(upload))
        done = await self._on_worker(self._write, door, sink, rest, last)
        if not done.verified:
            if sink.proven < sink.end:  # a stretch is wrong, and those before it are right
                await self._keep_proven(door, sink)
            raise RefusedRequest(CHECKSUM_MISMATCH, "The body is not what Upload-Checksum says.", _offset(upload))
        if done.found is None:
            await self._store.commit(door, done.end)
            if sink.read is None:
                self._read_ahead(upload)
            else:
                upload.fixity = sink.read
        elif _as_claimed(upload, done.found):
            door.note = done.note
            await self._store.commit(door, done.end, State.STORED)
        else:
            await self._store.commit(door, done.end, State.MISMATCH)
            raise _mismatch(upload, done.found)

    async def _keep_proven(self, door: Door, sink: Sink) -> None:
        if sink.proven > door.upload.offset:
            await self._on_worker(sink.force)
            await self._store.commit(door, sink.proven)
            self._read_ahead(door.upload)

    def _write(self, door: Door, sink: Sink, rest: list[bytes], last: bool) -> _Settled:  # noqa: FBT001 - run on a thread
        """Write, verify, force, and sign what is complete: in this order, on a worker thread."""
        upload = door.upload
        sink.take(rest, last=True)
        if not sink.verified:
            return _Settled(verified=False, end=upload.offset)
        sink.force()
        if sink.end < upload.length or not last:
            return _Settled(verified=True, end=sink.end)
        found = (sink.read or self._store.fixity(upload)).through(upload.length)
        note = self.signed(door, found) if _as_claimed(upload, found) else None
        return _Settled(verified=True, end=sink.end, found=found, note=note)

    def signed(self, door: Door, found: list[bytes]) -> bytes | None:
        """Return the receipt over what was read from the store, of which the digests are `found`."""
        upload = door.upload
        if self._signatory is None or upload.capture is None or door.log is None or door.index is None:
            return None
        return self._signatory.sign(
            ReceiptNote(
                capture=upload.capture,
                sha256=found[0],  # what was read, which was compared with what was claimed; never the claim itself
                length=upload.length,
                log=door.log,
                index=door.index,
                stored_at=datetime.fromtimestamp(int(self._store.clock()), UTC),  # when it was read and found right
                copies=_COPIES,
            )
        )

    def _read_ahead(self, upload: Upload) -> None:
        """Read back what was just committed while the next part arrives, so that the last answer comes sooner."""
        fixity, offset = self._store.fixity(upload), upload.offset
        reading = asyncio.get_running_loop().run_in_executor(self._workers, fixity.advance, offset)
        # A failure shows again, and is answered, when the upload is complete.
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _our_fault(self, upload: Upload, error: OSError) -> NoReturn:
        """Answer for our own disk. A file that could not be forced is never forced again: the kernel would say yes."""
        if not upload.recorded:
            self._store.forget(upload)
        if error.errno in NO_ROOM and not isinstance(error, ForceFailed):
            raise RefusedRequest(507, "There is no room for these bytes.", _offset(upload)) from error
        if upload.recorded:
            await self._store.end(upload, State.DAMAGED)
        raise RefusedRequest(500, "The disk failed; the upload was set aside.") from error

    async def _on_worker(self, act: Callable[[*Values], Result], *values: *Values) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._workers, act, *values)


def _offset(upload: Upload) -> dict[str, str]:
    return {"Upload-Offset": str(upload.offset)} if upload.recorded else {}


def _as_claimed(upload: Upload, found: list[bytes]) -> bool:
    claimed = [upload.sha256, upload.blake3]
    return all(claim is None or claim == digest for claim, digest in zip(claimed, found, strict=False))


def _mismatch(upload: Upload, found: list[bytes]) -> RefusedRequest:
    claimed = b"" if upload.sha256 is None else upload.sha256
    sentence = f"Every byte came, but sha256 of what is stored is {found[0].hex()} and not {claimed.hex()}: set aside."
    return RefusedRequest(CHECKSUM_MISMATCH, sentence, {RECEIPT: RECEIPT_REFUSED})
