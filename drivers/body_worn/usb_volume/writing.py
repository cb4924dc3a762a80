"""When a volume may be written to: only while captures on it are released, and otherwise as it was mounted.

If the agent is killed here, a note that it left in its runtime folder says so: systemd keeps that folder while it
starts the agent again, and it goes when the mounts go. The next look puts the volume back.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import threading
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from agent.errors import DeviceRefused, in_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from drivers.body_worn.usb_volume.volume import Volume

__all__ = ["WriteWindow"]

LINGER_SECONDS = 0.5
"""How long a volume stays writable after the last release: they come in bursts, and each remount costs a flush."""


CLOSE_SECONDS = 10.0
"""How long the end waits for a volume to be put back; one that hangs stays as it is, and the agent goes on."""


class WriteWindow:
    """Read-write while somebody is inside, and read-only again soon after the last has left, where it was so before."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        runtime = Path(os.environ.get("RUNTIME_DIRECTORY", "/run/evidock").split(":")[0])
        place = hashlib.sha256(os.fsencode(volume.ground.path)).hexdigest()[:32]
        self._note = runtime / "writable" / place
        self._complaint = ""
        self._inside = 0
        self._asked = False
        """Somebody was inside, or tried to be: what he began in a thread may still be under way."""
        self._made = False
        """It was seen to be writable, and nobody has begun to put it back since."""
        self._restore = False
        self._remounting = threading.Lock()
        self._leaving: asyncio.Task[None] | None = None
        self._broken: str | None = None

    @property
    def writable(self) -> bool:
        """Somebody may be writing, or the volume is not yet back to how it was: it must not be pulled now."""
        return self._inside > 0 or self._leaving is not None or self._restore or self._remounting.locked()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be inside. `DeviceRefused` where the volume cannot be made writable; nothing was deleted then."""
        self._inside += 1
        self._asked = True
        try:
            if not self._made:
                await self._volume.call(self._make_writable)
                self._made = True
            self._raise_if_broken()
            yield
        finally:
            self._inside -= 1
            if not self._inside and self._leaving is None:
                self._leaving = asyncio.create_task(self._leave())

    async def close(self) -> None:
        """Back to how it was, at once: the volume is not attended any more."""
        self._made = False
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.wait({self._leaving})
        if self._asked:
            await asyncio.wait({self._volume.start(self._put_back)}, timeout=CLOSE_SECONDS)

    def sync(self, folder: int) -> None:
        """Force a folder to the device. Blocks. A failure is final for this volume.

        After a failed `fsync` the kernel takes the pages for clean, so the next one would report success over a
        deletion that never reached the device.
        """
        self._raise_if_broken()
        try:
            self._volume.wire.sync(folder)
        except OSError as error:
            self._broken = f"the device did not confirm a deletion ({os.strerror(error.errno or 0)})"
            raise

    def recall(self) -> None:
        """Put back what an earlier run made writable and did not come to put back, or what could not be. Blocks."""
        with self._remounting:
            if self._inside or self._restore:
                return
            try:
                told = self._note.read_text()
            except (OSError, UnicodeDecodeError):
                return
            if told != self._told():  # another volume is here now, mounted anew
                self._forget()
                return
            self._restore = True
        self._put_back()

    async def _leave(self) -> None:
        await asyncio.sleep(LINGER_SECONDS)
        self._leaving = None
        self._made = False
        await self._volume.call(self._put_back)

    def _make_writable(self) -> None:
        # All of it happens in one thread, under a lock: when the waiting task is cancelled, what it began is still
        # undone.
        with self._remounting:
            self._raise_if_broken()
            if self._restore:
                return
            volume = self._volume
            with volume.root() as root:
                if not os.fstatvfs(root).f_flag & os.ST_RDONLY:
                    return
            if volume.ground.mount is None:
                raise DeviceRefused(f"{volume.ground.path} lies on a file system that is read-only")
            self._restore = True
            with suppress(OSError):  # without it, it is put back all the same, but for a run that is killed
                self._note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._note.write_text(self._told())
            if complaint := self._remount("rw"):
                self._restore = False
                self._forget()
                raise DeviceRefused(
                    f"{volume.ground.path} is mounted read-only and could not be made writable: {complaint}",
                    hint="Permit the agent to remount it, or let the release service do it; nothing was deleted.",
                )

    def _put_back(self) -> None:
        with self._remounting:
            if not self._restore or self._inside:
                return
            self._restore = False
            path = self._volume.ground.path
            # Gone meanwhile: what is mounted here now is another volume, and not ours to remount.
            complaint = self._remount("ro") if self._volume.present() else ""
            if not complaint:
                self._forget()
            elif complaint != self._complaint:
                structlog.get_logger("driver").warning("volume_left_writable", mount=str(path), error=complaint)
            self._complaint = complaint

    def _told(self) -> str:
        """Which volume it is, mounted in which time."""
        mount = self._volume.ground.mount
        return (
            "" if mount is None else f"{mount.id} {mount.major}:{mount.minor} {mount.source} {self._volume.ground.root}"
        )

    def _forget(self) -> None:
        with suppress(OSError):
            self._note.unlink()

    def _raise_if_broken(self) -> None:
        if self._broken:
            raise DeviceRefused(self._broken, hint="Unplug the device and plug it in again.")

    def _remount(self, how: str) -> str:
        try:
            return self._volume.wire.remount(os.fspath(self._volume.ground.path), how)
        except (OSError, subprocess.SubprocessError) as error:
            return in_words(error)
