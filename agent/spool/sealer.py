"""The one thread that gives finished files their final name: those that finish together share the forcing of folders.

For each file: force it and, where asked, read it back, unless both were done before; rename stage/x -> kept/<sha256>;
then force both folders once for all of them. Only then does anyone hear of success, so a crash at any point leaves
either the stage file or the kept file, and never a promise. Where several wait and the file system can be forced as a
whole, that is done once for all of them; if it fails, none of them is promised.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent import durable
from agent.errors import AgentError, SpoolDamaged, SpoolFull
from agent.spool.reading_back import read_back

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.capture import Digest

__all__ = ["Sealer", "spool_error"]

_BATCH: Final = 256
_TOGETHER: Final = 4
"""Files from which on the file system is forced as a whole: what others wrote to it has to be waited for then."""


@dataclass(slots=True)
class _Item:
    name: str
    """In stage/."""
    digest: Digest
    fd: int
    """Open file; closed here."""
    proven: bool
    """It was forced and, where asked, read back already, and nothing was written since."""
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    result: object = None
    """What whoever waits is told when it is sealed."""
    error: AgentError | None = None


def spool_error(doing: str, error: OSError) -> AgentError:
    """The door for what the disk says."""
    if error.errno in durable.NO_ROOM:
        made: AgentError = SpoolFull(f"{doing}: {error.strerror}")
    else:
        made = SpoolDamaged(f"{doing}: {error.strerror or error}")
    made.__cause__ = error
    return made


class Sealer:
    """Renames finished files from stage/ to kept/, durably, in batches."""

    def __init__(self, stage_fd: int, kept_fd: int, *, read_back: bool) -> None:
        self._stage_fd, self._kept_fd, self._read_back = stage_fd, kept_fd, read_back
        self._forces_all = durable.forces_all(stage_fd)
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="sealer", daemon=True)
        self._thread.start()

    async def seal(self, name: str, digest: Digest, fd: int) -> None:
        """Return when `stage/name`, which was forced and read back, is durably `kept/<sha256>`. Takes over `fd`.

        Raises `SpoolFull` or `SpoolDamaged`; then the file stays in stage/ under a name that nothing continues.
        """
        loop = asyncio.get_running_loop()
        item = _Item(name, digest, fd, proven=True, done=loop.create_future(), loop=loop)
        self._queue.put(item)
        # Shielded: the file is sealed whether or not anyone still waits.
        await asyncio.shield(item.done)

    def put(self, name: str, digest: Digest, fd: int, done: asyncio.Future[Any], result: object) -> None:
        """The same of a file that was not forced, from any thread; nobody need wait.

        `done` gets `result`, or what was wrong, on its own loop.
        """
        self._queue.put(_Item(name, digest, fd, proven=False, done=done, loop=done.get_loop(), result=result))

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        go_on = True
        while go_on:
            batch, go_on = self._gather()
            if batch:
                self._seal_all(batch)

    def _gather(self) -> tuple[list[_Item], bool]:
        batch: list[_Item] = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) == _BATCH:
                return batch, True
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _seal_all(self, batch: list[_Item]) -> None:
        fresh = [item for item in batch if not item.proven]
        self._force(fresh)
        if self._read_back:
            for item in fresh:
                self._try(item, lambda item: read_back(item.fd, item.digest), "reading a capture back")
        for item in batch:
            self._try(item, self._rename, "naming a capture")
        self._force_folders(batch)
        for item in batch:
            os.close(item.fd)
        answers: dict[asyncio.AbstractEventLoop, list[_Item]] = {}
        for item in batch:
            answers.setdefault(item.loop, []).append(item)
        for loop, items in answers.items():
            try:
                loop.call_soon_threadsafe(_answer, items)
            except RuntimeError:  # the loop is closed: nobody waits any more
                continue

    def _force(self, batch: list[_Item]) -> None:
        if self._forces_all and len(batch) >= _TOGETHER:
            try:
                durable.force_all(self._stage_fd)
            except OSError as error:
                for item in batch:  # it may be any of them
                    item.error = spool_error("forcing captures to the disk", error)
                    self._set_aside(item)
            return
        for item in batch:
            # Dropping the cache of dirty pages only starts their way to the disk, which is what is wanted here: all
            # files travel together, and each force below finds little left to wait for.
            self._try(item, lambda item: durable.drop_cache(item.fd), "write-out")
        for item in batch:
            self._try(item, lambda item: durable.force(item.fd), "forcing a capture to the disk")

    def _try(self, item: _Item, act: Callable[[_Item], None], doing: str) -> None:
        if item.error is not None:
            return
        try:
            act(item)
        except OSError as error:
            item.error = spool_error(doing, error)
            self._set_aside(item)
        except AgentError as error:
            item.error = error
            self._set_aside(item)

    def _rename(self, item: _Item) -> None:
        durable.move(item.name, self._stage_fd, item.digest.sha256.hex(), self._kept_fd)

    def _set_aside(self, item: _Item) -> None:
        """Nothing may continue a file that failed: the kernel's idea of it and the disk's may differ."""
        try:
            durable.move(item.name, self._stage_fd, f"{item.name}.doubtful", self._stage_fd)
        except OSError:
            return  # it stays under its own name; the next start reads it and looks

    def _force_folders(self, batch: list[_Item]) -> None:
        try:
            durable.force_folder(self._kept_fd)
            durable.force_folder(self._stage_fd)
        except OSError as error:
            for item in batch:
                item.error = item.error or spool_error("forcing a folder of the spool", error)


def _answer(items: list[_Item]) -> None:
    for item in items:
        if item.done.done():
            continue
        if item.error is None:
            item.done.set_result(item.result)
        else:
            item.done.set_exception(item.error)
