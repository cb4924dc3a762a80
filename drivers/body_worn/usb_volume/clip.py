"""One capture on a volume, held out to the agent: read by blocks from any offset, and released by unlinking it."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.capture import Capture, Priority
from agent.descent import FILE, changed, changed_at, names_of, open_at
from agent.driver import BLOCK_LENGTH, GATHERED_LENGTH, Place
from agent.errors import BadCapture, CannotResume, DeviceGone, DeviceRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agent.capture import Device, Json
    from drivers.body_worn.usb_volume.volume import Volume
    from drivers.body_worn.usb_volume.walk import Entry
    from drivers.body_worn.usb_volume.writing import WriteWindow
    from firmware_specs.formats.layout import Layout

__all__ = ["Clip"]

CLOSE_SECONDS = 1.0
"""How long a reader that is given up waits for its thread; a device that hangs keeps the thread, not the agent."""

BEHIND = 8 * 1024 * 1024
"""Bytes after which what was read is forgotten: the same pages of memory serve again, instead of a film's length."""

NO_GROUPS: Mapping[str, int] = MappingProxyType({})

URGENCY = {"routine": Priority.ROUTINE, "flagged": Priority.FLAGGED}


class Clip:
    """An `Offer`. It holds no descriptor and no path: everything is opened anew, from the root, when it is used."""

    __slots__ = ("_capture", "_entry", "_volume", "_window")

    def __init__(
        self,
        device: Device,
        entry: Entry,
        layout: Layout,
        volume: Volume,
        window: WriteWindow,
        *,
        groups: Mapping[str, int] = NO_GROUPS,
    ) -> None:
        """`groups`: how many files each recording has."""
        self._capture = described(device, entry, layout, volume, groups)
        self._entry = entry
        self._volume = volume
        self._window = window

    @property
    def capture(self) -> Capture:
        """What the volume says of it."""
        return self._capture

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The bytes from `offset` on: a few blocks in one visit to a thread, more with a block of read-ahead."""
        length = self._entry.length
        if not 0 <= offset <= length:
            raise CannotResume(f"{self._entry.key} has {length} bytes and cannot be read from byte {offset} on")
        volume = self._volume
        volume.touched = True
        reader = _Reader(volume, self._entry, offset)
        if length - offset <= GATHERED_LENGTH:
            for block in await volume.call(reader.whole):
                yield block
            return
        ahead = volume.start(reader.next)
        try:
            while block := await ahead:
                ahead = volume.start(reader.next)
                yield block
        finally:
            # The thread may still be in a read of this descriptor: only after it may the descriptor be closed.
            if not ahead.cancel() and not ahead.cancelled():
                ahead.exception()  # looked at, so that nobody complains of a failure that no reader waits for
            await asyncio.wait({volume.start(reader.close)}, timeout=CLOSE_SECONDS)

    async def release(self) -> None:
        """Delete it on the device, so that it stays deleted. What is no longer there is released."""
        self._volume.touched = True
        async with self._window.open():
            await self._volume.call(self._unlink)

    @property
    def plugged(self) -> str:
        """See `agent.driver.Plugged`."""
        return self._volume.plugged

    @property
    def place(self) -> Place:
        """See `agent.driver.ReleasesByPath`."""
        ground, entry = self._volume.ground, self._entry
        path = b"/".join(names_of(entry.key))
        root = os.fsencode(ground.path.absolute())
        return Place(root, ground.root, path, entry.length, entry.mtime_ns, self._volume.plugged)

    @asynccontextmanager
    async def writable(self) -> AsyncIterator[None]:
        """See `agent.driver.ReleasesByPath`."""
        self._volume.touched = True
        async with self._window.open():
            yield

    def _unlink(self) -> None:
        volume, entry = self._volume, self._entry
        *parts, name = names_of(entry.key)
        try:
            with volume.folder(parts) as folder:
                # Not there: an earlier release came as far as here, and what is left to do is to make it last.
                with suppress(FileNotFoundError):
                    there = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    if why := changed(
                        there, device=volume.ground.root[0], length=entry.length, mtime_ns=entry.mtime_ns
                    ):
                        raise DeviceRefused(f"{entry.key} stays on the device, for it is not what was offered: {why}")
                    volume.wire.unlink(name, folder)
                self._window.sync(folder)
        except FileNotFoundError as error:
            if not volume.present():
                raise DeviceGone(f"the volume was taken away while {entry.key} was released") from error
            # Its folder is gone, and with it everything inside; whoever deleted the folder had to make that last.
        except OSError as error:
            failure = volume.failure(error, f"deleting {entry.key}")
            raise (failure if isinstance(failure, DeviceGone) else DeviceRefused(str(failure))) from error
        except BadCapture as error:
            raise DeviceRefused(f"{entry.key} stays on the device: {error}") from error


class _Reader:
    """One reading of one file. Its methods block, are called in threads, and exclude one another."""

    def __init__(self, volume: Volume, entry: Entry, offset: int) -> None:
        self._volume = volume
        self._entry = entry
        self._offset = self._forgotten = offset
        self._fd: int | None = None
        self._closed = False
        self._lock = threading.Lock()

    def whole(self) -> list[bytes]:
        """Everything in one visit."""
        blocks: list[bytes] = []
        try:
            while block := self.next(to_the_end=True):
                blocks.append(block)
                if self._offset == self._entry.length:  # it was found unchanged
                    break
            return blocks
        finally:
            self.close()

    def next(self, *, to_the_end: bool = False) -> bytes:
        """The next block; nothing at the end, after the file was found unchanged.

        `to_the_end`: with the last block it was found unchanged already.
        """
        with self._lock:
            if self._closed:
                return b""
            fd = self._open() if self._fd is None else self._fd
            wanted = min(BLOCK_LENGTH, self._entry.length - self._offset)
            try:
                block = self._volume.wire.read(fd, wanted, self._offset) if wanted else b""
            except OSError as error:
                raise self._volume.failure(error, f"{self._entry.key} at byte {self._offset}") from error
            # A file that is open stays readable from memory after the plug was pulled, so success proves nothing: is
            # the path still this volume's?
            if not self._volume.present():
                raise DeviceGone(f"the volume was taken away at byte {self._offset} of {self._entry.key}")
            self._offset += len(block)
            if self._offset - self._forgotten >= BEHIND:
                self._volume.wire.forget(fd, self._forgotten, self._offset - self._forgotten)
                self._forgotten = self._offset
            if not block or (to_the_end and self._offset == self._entry.length):
                self._finish(fd)
            return block

    def close(self) -> None:
        """Give the descriptor back; `next` gives nothing from then on."""
        with self._lock:
            self._closed = True
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _open(self) -> int:
        volume, entry = self._volume, self._entry
        *parts, name = names_of(entry.key)
        try:
            with volume.remembered(parts) as folder:
                fd = self._fd = open_at(name, FILE, folder)
            self._check(fd)
            if entry.length > BLOCK_LENGTH:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            if self._offset == 0:
                volume.wire.forget(fd)  # a second reading must come from the device, not from memory
        except OSError as error:
            raise volume.failure(error, entry.key) from error
        return fd

    def _finish(self, fd: int) -> None:
        if self._offset != self._entry.length:
            self._check(fd)
            raise BadCapture(f"{self._entry.key} ends at byte {self._offset} of {self._entry.length}")
        self._check(fd)
        self._volume.wire.forget(fd)

    def _check(self, fd: int) -> None:
        """Still the file that was offered? If not, the agent puts the bytes aside and takes it anew once settled."""
        try:
            there = os.fstat(fd)
        except OSError as error:
            raise self._volume.failure(error, self._entry.key) from error
        if why := changed(
            there, device=self._volume.ground.root[0], length=self._entry.length, mtime_ns=self._entry.mtime_ns
        ):
            raise BadCapture(f"{self._entry.key} changed while it was read: {why}")


def described(
    device: Device, entry: Entry, layout: Layout, volume: Volume, groups: Mapping[str, int] = NO_GROUPS
) -> Capture:
    """The capture as the volume and its layout describe it.

    `began_at` is the file's time of change, which is all that a file system tells. On FAT it is the camera's local
    time without a zone, in steps of two seconds, and the kernel takes it for UTC where the volume is mounted with
    `tz=UTC` (else it applies its own zone, and the identity of a capture would move with it). It is the device's
    word, never corrected: what the device's clock was worth is measured apart. The claims carry it raw.
    """
    place = layout.place(entry.key)
    mount = volume.ground.mount
    claims: dict[str, Json] = {
        # As text: nanoseconds since 1970 pass 2^53, beyond which JSON readers round.
        "mtime_ns": str(entry.mtime_ns),
        "mode": f"{stat.S_IMODE(entry.mode):04o}",
        "file_system": mount.file_system if mount else "folder",
        "layout": layout.name,
    }
    if place is None:
        return Capture(device, entry.key, changed_at(entry.mtime_ns), entry.length, claims=claims)
    claims["role"] = place.rule.role
    if place.rule.conformant is not None:
        claims["dcf_conformant"] = place.rule.conformant
    if entry.attributes is not None:
        claims["attributes"] = entry.attributes
    locked = "R" in (entry.attributes or "")
    if said := place.said:
        claims["said"] = dict(said)
    return Capture(
        device=device,
        key=entry.key,
        began_at=changed_at(entry.mtime_ns),
        length=entry.length,
        media_type=place.media_type,
        group=(group := place.group),
        members=None if group is None else groups.get(group),
        clip=place.clip,
        priority=URGENCY[layout.locked if locked else place.rule.urgency],
        claims=claims,
    )
