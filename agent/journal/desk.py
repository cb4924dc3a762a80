"""The one thread that touches the journal: acts that arrive together share one commit.

A commit waits for the disk, so it never happens on the event loop. While one is under way others queue up, and the next
commit takes all of them: one capture at a time pays a whole commit each, a hundred at once pay a hundredth.

Where the disk has no room for a commit nothing of it was written, and nothing is broken: what stands can be looked at,
and what is to be written waits and is tried again, all of it in its order, until there is room. Whoever cannot wait for
that is told at once.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agent.errors import JournalError, JournalFull
from agent.journal.database import translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.journal.book import Journal

__all__ = ["Desk"]

T = TypeVar("T")

_BATCH: Final = 512
_AGAIN: Final = 1.0
"""Seconds between two tries to write where there was no room."""


@dataclass(slots=True)
class _Errand:
    act: Callable[[Journal], Any]
    writes: bool
    waits: bool
    """Whether it waits for room where there is none."""
    done: asyncio.Future[Any] | None
    """None: nobody wants to know."""
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
        self._short: JournalFull | None = None
        self._waiting: list[_Errand] = []
        self._again_at = 0.0
        self._may_wait = True
        self._found_short = asyncio.Event()
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

    @property
    def full(self) -> JournalFull | None:
        """What the disk said where it had no room when it was tried last; None as soon as it has."""
        return self._short

    async def until_full(self) -> None:
        """Return when the disk has no room."""
        await self._found_short.wait()

    def wait_no_more(self) -> None:
        """The daemon ends: whatever waits for room, or would, is told that there is none."""
        self._may_wait = False

    async def write(self, act: Callable[[Journal], T], *, waits: bool = True) -> T:
        """Do the act in a transaction and return its result once it is durable.

        A `Refusal` or another error of the act undoes this act alone. `JournalError` means that the journal cannot be
        written: then every later call raises it too. Cancelling the wait does not undo the act. Where the disk has no
        room the act is done, perhaps more than once, until it fits; with `waits` false `JournalFull` is raised, and
        it was not done.
        """
        return await self._send(act, writes=True, waits=waits)

    async def read(self, look: Callable[[Journal], T]) -> T:
        """Look something up. It sees everything that was written before it."""
        return await self._send(look, writes=False, waits=False)

    async def _send(self, act: Callable[[Journal], T], *, writes: bool, waits: bool) -> T:
        if self._broken is not None:
            raise self._broken
        if self._loop is None or self._thread is None:
            raise JournalError("the journal is closed")
        done = self._loop.create_future()
        self._queue.put(_Errand(act, writes, waits, done))
        result: T = await done
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
        if not go_on:
            self._may_wait = False
        if self._short is not None:
            batch = self._now(journal, batch)
        self._serve_all(journal, batch)
        return go_on

    def _now(self, journal: Journal, batch: list[_Errand]) -> list[_Errand]:
        """What is tried now, where there was no room: looks are served at once, and what writes when its time comes."""
        self._serve_all(journal, [one for one in batch if not one.writes])
        writing = self._waiting + [one for one in batch if one.writes]
        self._waiting = []
        if monotonic() >= self._again_at or not self._may_wait or self._broken is not None:
            return writing or [_Errand(_probe, writes=True, waits=False, done=None)]
        self._put_off(writing)
        return []

    def _put_off(self, batch: list[_Errand]) -> None:
        """Keep what waits for room, and tell the others that there is none."""
        self._waiting = [one for one in batch if one.waits and self._may_wait]
        told = [one for one in batch if not (one.waits and self._may_wait)]
        for errand in told:
            errand.error = self._short
        self._tell(_answer, told)

    def _serve_all(self, journal: Journal, batch: list[_Errand]) -> None:
        """Do all of them together, and answer them. Where there is no room, those that write wait for it."""
        writes = any(errand.writes for errand in batch)
        if self._broken is None:
            try:
                self._do_all(journal, batch)
            except JournalFull as error:
                self._is_full(journal, batch, error)
                return
            except JournalError as error:
                self._broken = error
            except BaseException as error:  # noqa: BLE001 - whatever it was, the journal can no longer be trusted
                self._broken = JournalError(f"the journal failed: {error}")
                self._broken.__cause__ = error
        if self._broken is not None:
            self._tell_broken(batch, self._broken)
        elif writes:
            self._short = None
        self._tell(_answer, batch)
        if self.on_write is not None and self._broken is None and writes:
            self._tell(self.on_write, journal.leaves.size)

    def _tell_broken(self, batch: list[_Errand], broken: JournalError) -> None:
        for errand in batch:
            errand.error = broken
        if self.on_broken is not None:
            told, self.on_broken = self.on_broken, None
            self._tell(told, broken)

    def _is_full(self, journal: Journal, batch: list[_Errand], error: JournalFull) -> None:
        """Nothing of the batch was written, and all of it is undone: looks are served again, for what is there."""
        if self._short is None:
            self._tell(self._found_short.set)
        self._short, self._again_at = error, monotonic() + _AGAIN
        for errand in batch:
            errand.result = errand.error = None
        self._put_off([one for one in batch if one.writes])
        self._serve_all(journal, [one for one in batch if not one.writes])

    def _gather(self) -> tuple[list[_Errand], bool]:
        batch: list[_Errand] = []
        try:
            errand = self._queue.get(timeout=self._rest())
        except queue.Empty:
            return [], True
        while errand is not None:
            batch.append(errand)
            if len(batch) == _BATCH:
                return batch, True
            try:
                errand = self._queue.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _rest(self) -> float | None:
        """Seconds until there is something to be done, although nobody asks."""
        return None if self._short is None or self._broken is not None else max(0.0, self._again_at - monotonic())

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


def _probe(journal: Journal) -> None:
    """Nobody waits to write: whether there is room is seen by writing down again what stands there."""
    journal.connection.pragma("user_version", journal.connection.pragma("user_version"))


def _answer(batch: list[_Errand]) -> None:
    for errand in batch:
        if errand.done is None:
            continue
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
