"""What makes the driver look again at once: mounts, plugs, changed folders. The periodic look alone would do."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import pyudev
import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from agent.mounts import MountWatch

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

__all__ = ["Waker"]

FOLDERS_MAX = 12
"""Folders that are watched for changes: each costs a thread, and a volume may have any number."""

GATHER_SECONDS = 0.05
"""Events come in swarms: one look answers them all."""

# Not what reading causes (opened, closed unread): the driver would wake itself for ever.
CHANGES = [DirCreatedEvent, DirMovedEvent, FileClosedEvent, FileCreatedEvent, FileMovedEvent]


class Waker:
    """A bell that several may wait for. Whoever comes late still hears it: he names the last ring that he has heard."""

    def __init__(self, folder: Path | None) -> None:
        self.rings = 0
        self._folder = folder
        """A plain folder to be watched from outside, where it appears and disappears."""
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._log = structlog.get_logger("driver")
        self._mounts: MountWatch | None = None
        self._plugs: pyudev.Monitor | None = None
        self._folders: BaseObserver | None = None
        self._watched: tuple[Path, ...] = ()
        self._watching = threading.Lock()
        self._ended = False

    def __enter__(self) -> Self:
        # Each of the three may be missing (no udevd, a unit that forbids netlink, no watches left): then looks are
        # rarer, not fewer.
        try:
            self._mounts = MountWatch()
            self._loop.add_reader(self._mounts.fileno(), self._mounted)
        except OSError as error:
            self._log.info("no_wake_ups_from", source="mountinfo", error=str(error))
        try:
            self._plugs = pyudev.Monitor.from_netlink(pyudev.Context())
            self._plugs.filter_by("block")
            self._plugs.start()
            self._loop.add_reader(self._plugs.fileno(), self._plugged)
        except (OSError, ImportError) as error:
            self._plugs = None
            self._log.info("no_wake_ups_from", source="udev", error=str(error))
        if self._folder is not None:
            self.watch(())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mounts is not None:
            self._loop.remove_reader(self._mounts.fileno())
            self._mounts.close()
        if self._plugs is not None:
            self._loop.remove_reader(self._plugs.fileno())
            self._plugs = None  # closed when nobody refers to it; a traceback may still refer to us
        with self._watching:
            self._ended = True  # a thread that was told to watch, and comes late, finds that nobody wants to know
            self._stop_watching()

    @property
    def hears_mounts(self) -> bool:
        """No volume can be mounted without a ring."""
        return self._mounts is not None

    def ring(self) -> None:
        """Wake everybody who waits."""
        self.rings += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, heard: int, seconds: float) -> bool:
        """Return after so many seconds, or soon after a ring that came since `heard`: then True."""
        if self.rings == heard:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
        if self.rings == heard:
            return False
        await asyncio.sleep(GATHER_SECONDS)
        return True

    def watch(self, folders: Iterable[Path]) -> None:
        """Watch these folders (the last few by name) beside the one above the volume. Blocks for some milliseconds."""
        if self._folder is None:
            return
        wanted = (self._folder.parent, *sorted(folders)[-FOLDERS_MAX:])
        with self._watching:
            if self._ended or wanted == self._watched:
                return
            self._stop_watching()
            observer = Observer()
            handler = _Bell(self, os.fspath(self._folder))
            try:
                for folder in wanted:
                    observer.schedule(handler, os.fspath(folder), event_filter=CHANGES)
                observer.start()
            except OSError as error:
                self._log.info("no_wake_ups_from", source="inotify", error=str(error))
                with suppress(RuntimeError):
                    observer.stop()
                return
            self._folders, self._watched = observer, wanted

    def _stop_watching(self) -> None:
        if self._folders is not None:
            self._folders.stop()
            self._folders.join()
            self._folders, self._watched = None, ()

    def from_thread(self) -> None:
        """Ring from a thread that is not the loop's."""
        with suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self.ring)

    def _mounted(self) -> None:
        if self._mounts is not None:
            self._mounts.clear()
        self.ring()

    def _plugged(self) -> None:
        with suppress(OSError):
            while self._plugs is not None and self._plugs.poll(0) is not None:
                pass
        self.ring()


class _Bell(FileSystemEventHandler):
    def __init__(self, waker: Waker, folder: str) -> None:
        self._waker = waker
        self._folder = folder

    def on_any_event(self, event: FileSystemEvent) -> None:
        paths = (os.fsdecode(event.src_path), os.fsdecode(event.dest_path))
        if any(path == self._folder or path.startswith(f"{self._folder}/") for path in paths):
            self._waker.from_thread()
