"""What the kernel tells of a folder on a disk of ours: who writes at this moment, and that it is worth looking now.

It is a hint and never the truth: events get lost, and a share has none of what its other clients do. The look through
the whole folder alone would do; with this it comes sooner, and sees what stands still and is open all the same.
"""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import structlog
from watchdog.events import (
    DirCreatedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from agent.capture import printable

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

__all__ = ["Watching"]

_WRITERS_MAX: Final = 10_000
_GATHER_SECONDS: Final = 0.05
_CHANGES: Final = [
    DirCreatedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


class Watching(FileSystemEventHandler):
    """A bell, and the set of files that were written to and not closed since."""

    def __init__(self, folder: Path | None) -> None:
        """None: a share, of which the kernel tells nothing worth knowing."""
        self.rings = 0
        self._folder = folder
        self._prefix = b"" if folder is None else os.fsencode(folder) + b"/"
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._observer: BaseObserver | None = None
        self._writing: set[bytes] = set()
        self._lock = threading.Lock()
        self._log = structlog.get_logger("driver")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(timeout=2.0)
            self._observer = None

    def begin(self) -> None:
        """Watch, where there is something to watch and it is not watched yet. Blocks; without it looks are rarer."""
        if self._folder is None or (self._observer is not None and self._observer.is_alive()):
            return
        observer = Observer()
        try:
            observer.schedule(self, os.fspath(self._folder), recursive=True, event_filter=_CHANGES)
            observer.start()
        except OSError as error:
            self._log.info("no_wake_ups_from", source="inotify", error=str(error))
            with suppress(RuntimeError):
                observer.stop()
            return
        self._observer = observer

    def lost(self) -> None:
        """The folder went away: what was written in it is not known any more."""
        with self._lock:
            self._writing.clear()
        if self._observer is not None:
            self._observer.stop()
            self._observer = None

    def writing(self) -> set[str]:
        """Keys of the files that somebody writes to and has not closed."""
        with self._lock:
            return {printable(path) for path in self._writing}

    async def wait(self, heard: int, seconds: float) -> None:
        """Return after so many seconds, or soon after a ring that came since `heard`."""
        if self.rings == heard:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
        if self.rings != heard:
            await asyncio.sleep(_GATHER_SECONDS)

    def ring(self) -> None:
        """Wake whoever waits."""
        self.rings += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called in the observer's thread."""
        source, target = self._key(event.src_path), self._key(event.dest_path)
        with self._lock:
            if isinstance(event, FileCreatedEvent | FileModifiedEvent):
                if len(self._writing) < _WRITERS_MAX and source:
                    self._writing.add(source)
            else:
                self._writing.discard(source)
                if isinstance(event, FileMovedEvent) and target:
                    self._writing.discard(target)
        if not isinstance(event, FileModifiedEvent):  # each block of a film would wake us
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.ring)

    def _key(self, path: bytes | str) -> bytes:
        raw = os.fsencode(path) if path else b""
        return raw[len(self._prefix) :] if raw.startswith(self._prefix) else b""
