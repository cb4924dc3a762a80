"""The one thread that touches the journal: acts that arrive together share one commit.

A commit waits for the disk, so it never happens on the event loop. While one is under way others queue up, and the next
commit takes all of them: one capture at a time pays a whole commit each, a hundred at once pay a hundredth.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agent.errors import JournalError
from agent.journal.database import translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.journal.book import Journal

__all__ = ["Desk"]

T = TypeVar("T")

_BATCH: Final = 512


@dataclass(slots=True)
class _Errand:
    act: Callable[[Journal], Any]
    writes: bool
    done: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Desk:
    """Hands acts to the journal's thread. `write` returns when the act is durable."""

    def __init__(self, open_journal: Callable[[], Journal]) -> None:
        self._open = open_journal
        self.on_write: Callable[[int], None] | None = None
        """Told on the event loop how large the log is, each time that a commit is durable."""
        self.on_broken: Callable[[JournalError], None] | None = None
        """Told on the event loop, once, that the journal can no longer be written, whoever was the one to find out."""
        self._queue: queue.SimpleQueue[_Errand | None] = queue.SimpleQueue()
        self._broken: JournalError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def open(self) -> None:
        """Open the journal in its thread; raises what opening raised."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, args=(opened,), name="journal", daemon=True)
        self._thread.start()
        await opened

    async def close(self) -> None:
        """Finish what is queued and close the file."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def write(self, act: Callable[[Journal], T]) -> T:
        """Do the act in a transaction and return its result once it is durable.

        A `Refusal` or another error of the act undoes this act alone. `JournalError` means that the journal cannot be
        written: then every later call raises it too. Cancelling the wait does not undo the act.
        """
        return await self._send(act, writes=True)

    async def read(self, look: Callable[[Journal], T]) -> T:
        """Look something up. It sees everything that was written before it."""
        return await self._send(look, writes=False)

    async def _send(self, act: Callable[[Journal], T], *, writes: bool) -> T:
        if self._broken is not None:
            raise self._broken
        if self._loop is None or self._thread is None:
            raise JournalError("the journal is closed")
        errand = _Errand(act, writes, self._loop.create_future())
        self._queue.put(errand)
        result: T = await errand.done
        return result

    # -- in the journal's thread --------------------------------------------------------------------------------------

    def _work(self, opened: asyncio.Future[None]) -> None:
        try:
            journal = self._open()
        except BaseException as error:  # noqa: BLE001 - it is raised where `open` is awaited
            self._tell(_set_error, opened, error)
            return
        self._tell(_set_result, opened, None)
        try:
            while self._serve(journal):
                pass
        finally:
            journal.close()

    def _serve(self, journal: Journal) -> bool:
        """Wait for errands, do all that are there in one transaction, and answer them. False: the desk closes."""
        batch, go_on = self._gather()
        if self._broken is None:
            try:
                self._do_all(journal, batch)
            except JournalError as error:
                self._broken = error
            except BaseException as error:  # noqa: BLE001 - whatever it was, the journal can no longer be trusted
                self._broken = JournalError(f"the journal failed: {error}")
                self._broken.__cause__ = error
        if self._broken is not None:
            for errand in batch:
                errand.error = self._broken
            if self.on_broken is not None:
                told, self.on_broken = self.on_broken, None
                self._tell(told, self._broken)
        self._tell(_answer, batch)
        if self.on_write is not None and self._broken is None and any(errand.writes for errand in batch):
            self._tell(self.on_write, journal.leaves.size)
        return go_on

    def _gather(self) -> tuple[list[_Errand], bool]:
        batch: list[_Errand] = []
        errand = self._queue.get()
        while errand is not None:
            batch.append(errand)
            if len(batch) == _BATCH:
                return batch, True
            try:
                errand = self._queue.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _do_all(self, journal: Journal, batch: list[_Errand]) -> None:
        with journal.transaction() if any(errand.writes for errand in batch) else nullcontext():
            for errand in batch:
                self._do(journal, errand)

    def _do(self, journal: Journal, errand: _Errand) -> None:
        try:
            # For what writes, a savepoint of its own: what one act did before it failed is undone, the others stay.
            with journal.transaction() if errand.writes else translated("the journal cannot be read"):
                errand.result = errand.act(journal)
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 - it is raised where the act was asked for, and hurts nobody else
            errand.error = error

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
        """Run it on the event loop, once for a whole batch."""
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


def _answer(batch: list[_Errand]) -> None:
    for errand in batch:
        if errand.error is not None:
            _set_error(errand.done, errand.error)
        else:
            _set_result(errand.done, errand.result)


def _set_result(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _set_error(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
