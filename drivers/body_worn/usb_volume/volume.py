"""One volume: which it is, whether it is still there, and the only doors to its folders and files."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import secrets
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from agent.descent import FILE, FOLDER, open_at
from agent.errors import BadCapture, DeviceError, DeviceGone, DeviceRefused
from agent.mounts import mount_at
from drivers.body_worn.usb_volume.blocks import block_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from agent.mounts import Mount
    from drivers.body_worn.usb_volume.blocks import Block
    from drivers.body_worn.usb_volume.wire import Wire

__all__ = ["UNPLUGGED", "Ground", "Volume", "look"]

T = TypeVar("T")

UNPLUGGED: Final = frozenset(
    {errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN, errno.ENOTCONN, errno.ENOMEDIUM, errno.ESTALE}
)

THREADS = 4
"""Threads of one volume: its bytes come over one wire, and a device that hangs must not hold up the others."""

UNPLUG_SECONDS = 0.5
"""How long the kernel may take to notice that a device whose reads fail was pulled out."""

HANGS_SECONDS = 300.0
"""After which it is told to a person that nothing was answered. To list a large, slow card takes minutes."""

DOUBT_SECONDS = 5.0
"""How long this is waited for in one pass, all in all: a card may have thousands of folders that cannot be read."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a volume stands on. Equal as long as it is the same volume of the same device, plugged in once."""

    path: Path
    root: tuple[int, int]
    """Device and inode number of its root folder."""
    mount: Mount | None
    """None for a plain folder."""
    block: Block | None


def look(path: Path, *, must_be_mountpoint: bool) -> Ground | None:
    """What volume is at this path now; None where there is none. Blocks, and may raise `OSError`.

    A mount point exists as an empty folder before and after its volume is mounted, so only the kernel's table says
    that it is one. A plain folder that is empty is taken for a place where nothing is plugged in: never for a device
    without captures.
    """
    mount = mount_at(path)
    if mount is None and must_be_mountpoint:
        return None
    if mount is not None and not mount.block_device_is_there:
        return None
    try:
        root = path.stat(follow_symlinks=False)
        if stat.S_ISLNK(root.st_mode):
            raise DeviceRefused(f"{path} is a symbolic link", hint="Name the folder itself as the driver's `mount`.")
        if mount is None:
            with os.scandir(path) as entries:
                if next(entries, None) is None:
                    return None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in UNPLUGGED:
            return None
        raise
    block = block_of(mount.major, mount.minor) if mount else None
    return Ground(path, (root.st_dev, root.st_ino), mount, block)


class Volume:
    """One volume from when it is plugged in until it is pulled out."""

    def __init__(self, ground: Ground, wire: Wire) -> None:
        self.ground = ground
        self.wire = wire
        self.plugged = secrets.token_hex(8)
        """See `agent.driver.Place.plugged`."""
        # Never shut down: its threads end by themselves when the last offer that refers to this volume is forgotten.
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"volume-{ground.path.name}")
        self._path = os.fspath(ground.path)
        self._pin: int | None = None
        self._last: tuple[tuple[bytes, ...], int] | None = None
        self._hold = False
        self._lock = threading.Lock()
        self._doubt = DOUBT_SECONDS
        self._busy: dict[int, float] = {}
        """Since when each thread waits for the device."""
        self.touched = False
        """Whether a capture was read or released: a pass that found work is soon followed by another."""
        self.gone = False
        """It was seen to be gone: what else would be offered of it need not be tried."""

    async def call(self, work: Callable[[], T], /) -> T:
        """Run blocking work in a thread of this volume, so that a device that hangs holds up only itself."""
        return await self.start(work)

    def start(self, work: Callable[[], T], /) -> asyncio.Future[T]:
        """The same, without waiting."""
        return asyncio.get_running_loop().run_in_executor(self._pool, self._timed, work)

    def _timed(self, work: Callable[[], T]) -> T:
        me = threading.get_ident()
        self._busy[me] = time.monotonic()
        try:
            return work()
        finally:
            del self._busy[me]

    @property
    def hangs(self) -> bool:
        """Whether it has left something that was asked of it unanswered for long, and nothing was raised."""
        return time.monotonic() - min([*self._busy.values()], default=math.inf) > HANGS_SECONDS

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the root open for the length of a pass.

        Device numbers, inode numbers and mount ids are given out again at once: without a hold on it, the camera that
        is plugged in next can look exactly like this one, and can have been put in its place since this one was looked
        at. Not held between passes, so that a person can unmount.
        """
        self._hold, self._doubt = True, DOUBT_SECONDS
        try:
            await self.call(self._pin_root)
            yield
        finally:
            with self._lock:
                self._hold = False
                root, self._pin = self._pin, None
                last, self._last = self._last, None
            if root is not None:
                os.close(root)
            if last is not None:
                os.close(last[1])

    def _pin_root(self) -> None:
        root = self._entered()
        with self._lock:
            if self._hold:
                self._pin = root
                return
        os.close(root)  # whoever asked for it was cancelled meanwhile
        raise DeviceGone("nobody looks at this volume any more")

    def _entered(self) -> int:
        """The root folder, opened; `DeviceGone` where it is not that of this volume.

        First opened, then compared: what is open keeps its numbers, so that what is told of them now is told of it.
        """
        root = os.open(self.ground.path, FOLDER)
        try:
            there = os.fstat(root)
            if (there.st_dev, there.st_ino) == self.ground.root and self._looked() == self.ground:
                return root
        except BaseException:
            os.close(root)
            raise
        os.close(root)
        self.gone = True
        raise DeviceGone("another volume took this one's place")

    def _looked(self) -> Ground | None:
        return look(self.ground.path, must_be_mountpoint=self.ground.mount is not None)

    def present(self) -> bool:
        """Whether the path still leads to this volume. One system call; exact while any file of the volume is open."""
        try:
            there = os.lstat(self._path)
        except OSError:
            self.gone = True
            return False
        if (there.st_dev, there.st_ino) != self.ground.root:
            self.gone = True
        return not self.gone

    def stands(self) -> bool:
        """The same, and its device was not pulled out from under its mount.

        FAT passes over folder blocks that it cannot read, without an error: what is read of a device that is gone looks
        like one with few files.
        """
        mount = self.ground.mount
        if self.present() and mount is not None and not mount.block_device_is_there:
            self.gone = True
        return not self.gone

    @contextmanager
    def root(self) -> Iterator[int]:
        """The root folder, opened. `DeviceGone` where another volume, or none, is there now."""
        with self._lock:
            held = None if self._pin is None else os.dup(self._pin)
        if held is None:
            if self._looked() is None:
                self.gone = True
                raise DeviceGone("the volume was taken away")
            held = self._entered()
        try:
            if not self.present():
                raise DeviceGone("the volume was taken away")
            yield held
        finally:
            os.close(held)

    @contextmanager
    def folder(self, parts: Sequence[bytes]) -> Iterator[int]:
        """A folder, opened step by step from the root, so that no link can lead out of the volume."""
        with self.root() as root:
            here = os.dup(root)
            try:
                for part in parts:
                    inner = open_at(part, FOLDER, here)
                    os.close(here)
                    here = inner
                    if os.fstat(here).st_dev != self.ground.root[0]:
                        raise BadCapture("another file system is mounted inside the volume")
                yield here
            finally:
                os.close(here)

    @contextmanager
    def remembered(self, parts: Sequence[bytes]) -> Iterator[int]:
        """The same, to read a file of it: of captures that follow each other nearly all lie in one folder.

        During a pass the last one stays open, so it may be of a volume that is gone: ask `present` after the reading.
        """
        names = tuple(parts)
        with self._lock:
            here = os.dup(self._last[1]) if self._last is not None and self._last[0] == names else None
        if here is None:
            with self.folder(parts) as found:
                here = os.dup(found)
            with self._lock:
                before, self._last = self._last, (names, os.dup(here)) if self._hold else None
            if before is not None:
                os.close(before[1])
        try:
            yield here
        finally:
            os.close(here)

    def head(self, path: str, length: int) -> bytes | None:
        """The first bytes of a small file that a spec names; None where it is not there or is no plain file."""
        *parts, name = (part.encode() for part in path.split("/"))
        try:
            with self.folder(parts) as folder:
                fd = open_at(name, FILE, folder)
                try:
                    return os.pread(fd, length, 0) if stat.S_ISREG(os.fstat(fd).st_mode) else None
                finally:
                    os.close(fd)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES}:
                return None
            raise self.failure(error, path) from error

    def has(self, path: str) -> bool:
        """Whether a file or folder is there, without following a link on the way."""
        *parts, name = (part.encode() for part in path.split("/"))
        try:
            with self.folder(parts) as folder:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES}:
                return False
            raise self.failure(error, path) from error
        return stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)

    def failure(self, error: OSError, what: str) -> DeviceError:
        """What an error of the operating system means here: whether the device went away, or one file is hurt."""
        why = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in UNPLUGGED or not self._still_there(error):
            self.gone = True
            return DeviceGone(f"the volume was taken away while {what} was in use ({why})")
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            return BadCapture(f"{what} became a link, or its folder did")
        if error.errno in {errno.EACCES, errno.EPERM}:
            return DeviceRefused(f"{what} may not be used: {why}", hint="Look at the rights and options of the mount.")
        return DeviceRefused(f"{what}: {why}")

    def _still_there(self, error: OSError) -> bool:
        """After an I/O error the device may be gone although its mount still stands: the kernel needs a moment."""
        ends = time.monotonic() + (min(UNPLUG_SECONDS, self._doubt) if error.errno == errno.EIO else 0.0)
        while True:
            if not self.stands():
                return False
            if time.monotonic() >= ends:
                return True
            time.sleep(0.05)
            self._doubt -= 0.05
