"""One recording in a folder, held out to the agent: read by blocks, compared with its side-cars, released."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agent.capture import Capture, Priority
from agent.descent import FILE, changed, changed_at, names_of, open_at
from agent.driver import BLOCK_LENGTH
from agent.errors import BadCapture, CannotResume, DeviceGone, DeviceRefused
from drivers.interview_room.drop_folder.names import Said, media_type

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.capture import Device, Json
    from drivers.interview_room.drop_folder.hands import Hands
    from drivers.interview_room.drop_folder.looking import Entry
    from drivers.interview_room.drop_folder.settling import Ready
    from drivers.interview_room.drop_folder.share import Share
    from drivers.interview_room.drop_folder.sidecars import Told

__all__ = ["Film", "Reading"]

_CLOSE_SECONDS: Final = 1.0
"""How long a reader that is given up waits for its thread."""


class Film:
    """An `Offer`. It holds no descriptor: everything is opened anew, from the folder, when it is used."""

    __slots__ = ("_contradicts", "_entry", "_hands", "_may_delete", "_share", "_told", "capture")

    def __init__(
        self,
        device: Device,
        ready: Ready,
        said: Said | None,
        members: int | None,
        share: Share,
        hands: Hands,
        *,
        may_delete: Callable[[], None],
        contradicts: Callable[[str, str], None],
    ) -> None:
        """`may_delete` raises where another station has this folder now; `contradicts` is told key and reason."""
        self.capture = described(device, ready, said, members, share)
        self._entry, self._told = ready.entry, ready.told
        self._share, self._hands = share, hands
        self._may_delete, self._contradicts = may_delete, contradicts

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The bytes from `offset` on, with a block of read-ahead; at the end what the side-cars say must be so."""
        entry, hands = self._entry, self._hands
        if not 0 <= offset <= entry.length:
            raise CannotResume(f"{entry.key} has {entry.length} bytes and cannot be read from byte {offset} on")
        reading = Reading(self._share, entry, offset, self._told)
        try:
            if self._told and offset:
                # What was copied before counts for the digest too, and is read once more: nobody else kept it.
                while not await hands.call(reading.catch_up):
                    pass
            ahead = asyncio.ensure_future(hands.call(reading.next))
            try:
                while block := await ahead:
                    ahead = asyncio.ensure_future(hands.call(reading.next))
                    yield block
            finally:
                ahead.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await ahead
        except BadCapture as error:
            self._contradicts(entry.key, str(error))
            raise
        finally:
            await asyncio.wait({hands.start(reading.close)}, timeout=_CLOSE_SECONDS)

    async def release(self) -> None:
        """Delete it in the folder, so that it stays deleted. What is no longer there is released."""
        await self._hands.call(self._unlink)

    def _unlink(self) -> None:
        share, entry = self._share, self._entry
        *parts, name = names_of(entry.key)
        try:
            with share.opened(parts) as folder:
                self._may_delete()
                with suppress(FileNotFoundError):
                    there = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    if why := changed(there, device=share.ground.root[0], length=entry.length, mtime_ns=entry.mtime_ns):
                        raise DeviceRefused(f"{entry.key} stays, for it is not what was offered: {why}")
                    share.wire.unlink(name, folder)
                share.wire.sync(folder)
        except FileNotFoundError:
            share.check()  # its folder is gone, and all in it; or the share is
        except OSError as error:
            failure = share.failure(error, f"deleting {entry.key}")
            raise (failure if isinstance(failure, DeviceGone) else DeviceRefused(str(failure))) from error
        except BadCapture as error:
            raise DeviceRefused(f"{entry.key} stays: {error}") from error


class Reading:
    """One reading of one file. Its methods block, are called in `Hands`, and exclude one another."""

    def __init__(self, share: Share, entry: Entry, offset: int, told: tuple[Told, ...] = ()) -> None:
        self._share, self._entry, self._offset, self._told = share, entry, offset, told
        self._hashed = 0
        self._hashes = {one.algorithm: hashlib.new(one.algorithm, usedforsecurity=False) for one in told}
        self._fd: int | None = None
        self._closed = False
        self._lock = threading.Lock()

    def catch_up(self) -> bool:
        """Hash one block of what lies before the offset; whether that was the last."""
        with self._lock:
            wanted = min(BLOCK_LENGTH, self._offset - self._hashed)
            if wanted and not self._closed:
                block = self._read(wanted, self._hashed)
                if not block:
                    raise BadCapture(f"{self._entry.key} ends at byte {self._hashed} of {self._entry.length}")
                self._feed(block)
            return self._closed or self._hashed >= self._offset

    def next(self) -> bytes:
        """The next block; nothing at the end, after the file was found unchanged and as its side-cars say."""
        with self._lock:
            if self._closed:
                return b""
            wanted = min(BLOCK_LENGTH, self._entry.length - self._offset)
            block = self._read(wanted, self._offset)
            # An open file stays readable from memory after the share is gone, so success proves nothing by itself.
            self._share.check()
            self._offset += len(block)
            self._feed(block)
            if not block:
                self._finish()
            return block

    def close(self) -> None:
        """Give the descriptor back; `next` gives nothing from then on."""
        with self._lock:
            self._closed = True
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _feed(self, block: bytes) -> None:
        self._hashed += len(block)
        for running in self._hashes.values():
            running.update(block)

    def _read(self, wanted: int, offset: int) -> bytes:
        fd = self._open() if self._fd is None else self._fd
        try:
            return self._share.wire.read(fd, wanted, offset) if wanted else b""
        except OSError as error:
            raise self._share.failure(error, f"{self._entry.key} at byte {offset}") from error

    def _open(self) -> int:
        *parts, name = names_of(self._entry.key)
        try:
            with self._share.opened(parts) as folder:
                fd = self._fd = open_at(name, FILE, folder)
            self._check(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            self._share.wire.forget(fd)
        except OSError as error:
            raise self._share.failure(error, self._entry.key) from error
        return fd

    def _finish(self) -> None:
        entry, fd = self._entry, self._fd
        if fd is not None:
            self._check(fd)
            self._share.wire.forget(fd)
        if self._offset != entry.length:
            raise BadCapture(f"{entry.key} ends at byte {self._offset} of {entry.length}")
        for one in self._told:
            found = self._hashes[one.algorithm].digest()
            if found != one.digest:
                raise BadCapture(
                    f"{entry.key} has the {one.algorithm} {found.hex()}, and {one.by} says {one.digest.hex()}",
                    hint="Keep the recorder's copy: the recording or its side-car was damaged, or one of them is of "
                    "another recording. Have it exported again, or ask whoever wrote the side-car.",
                )

    def _check(self, fd: int) -> None:
        """Still the file that was offered? If not, the agent puts the bytes aside and takes it anew once settled."""
        try:
            there = os.fstat(fd)
        except OSError as error:
            raise self._share.failure(error, self._entry.key) from error
        if why := changed(
            there, device=self._share.ground.root[0], length=self._entry.length, mtime_ns=self._entry.mtime_ns
        ):
            raise BadCapture(f"{self._entry.key} changed while it was read: {why}")


def described(device: Device, ready: Ready, said: Said | None, members: int | None, share: Share) -> Capture:
    """The capture as the folder tells it. `members`: files of the recording that its name says.

    `began_at` is the file's time of change: all that a file system tells, and what keeps a rewritten file from passing
    for the one before it. What the name says of its beginning stands in the claims, as the recorder's word.
    """
    entry = ready.entry
    claims: dict[str, Json] = {
        # As text: nanoseconds since 1970 pass 2^53, beyond which JSON readers round.
        "mtime_ns": str(entry.mtime_ns),
        "file_system": share.ground.file_system,
        "complete_by": ready.how,
    }
    if entry.length == 0:
        claims["verdict"] = "empty"
    if ready.beside is not None:
        claims["side_car_of"] = ready.beside
    if ready.told:
        claims["side_cars"] = [
            {"algorithm": one.algorithm, "by": one.by, "digest": one.digest.hex()} for one in ready.told
        ]
    group: str | None = entry.key.split("/", 1)[0] if "/" in entry.key else None
    clip = None
    if said is not None:
        group = said.recording or group
    if said is not None and ready.beside is None:  # of a side-car its film's name was read: it goes with the film
        clip = said.clip
        words = {
            "began_at": None if said.began_at is None else said.began_at.isoformat().replace("+00:00", "Z"),
            "camera": said.camera,
            "recording": said.recording,
        }
        claims["name_says"] = {name: word for name, word in words.items() if word is not None}
    return Capture(
        device=device,
        key=entry.key,
        began_at=changed_at(entry.mtime_ns),
        length=entry.length,
        media_type=media_type(entry.key),
        group=group,
        members=members,
        clip=clip,
        priority=Priority.INTERVIEW,
        claims=claims,
    )
