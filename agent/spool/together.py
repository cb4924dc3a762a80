"""Short reads of kept files that are asked for in the same moment: one visit to a thread for all of them.

A visit costs a tenth of a millisecond of the event loop, which is more than what is read: small captures that are on
their way by themselves, sixteen at once, are begun together as the journal answers for them together.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["Together"]

_MOST: Final = 16
"""Reads of one visit: on a disk that has to look for each, nobody waits for many others."""


class Together:
    """Reads for whoever asks, in the threads of others."""

    def __init__(self, workers: ThreadPoolExecutor, read: Callable[[bytes, int, int], bytes]) -> None:
        """`read` gives the bytes of a kept file, by its SHA-256, from an offset on, so many."""
        self._workers, self._read = workers, read
        self._asked: list[_Wanted] = []

    async def bytes_of(self, sha256: bytes, offset: int, length: int) -> bytes:
        """Some bytes of a kept file. Raises what `read` raises."""
        loop = asyncio.get_running_loop()
        wanted = _Wanted(loop, sha256, offset, length)
        self._asked.append(wanted)
        if len(self._asked) == 1:
            loop.call_soon(self._go)
        return await wanted.found

    def _go(self) -> None:
        asked, self._asked = self._asked, []
        for at in range(0, len(asked), _MOST):
            lot = asked[at : at + _MOST]
            try:
                self._workers.submit(self._visit, lot)
            except RuntimeError as error:  # the spool is closed
                for wanted in lot:
                    wanted.answer(None, error)

    def _visit(self, lot: list[_Wanted]) -> None:
        """In a thread."""
        answers: list[tuple[_Wanted, bytes | None, Exception | None]] = []
        for wanted in lot:
            try:
                answers.append((wanted, self._read(wanted.sha256, wanted.offset, wanted.length), None))
            except Exception as error:  # noqa: BLE001 - it is raised where the bytes were asked for
                answers.append((wanted, None, error))
        try:
            lot[0].loop.call_soon_threadsafe(_answered, answers)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


class _Wanted:
    """One read that somebody waits for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sha256: bytes, offset: int, length: int) -> None:
        self.loop, self.sha256, self.offset, self.length = loop, sha256, offset, length
        self.found: asyncio.Future[bytes] = loop.create_future()

    def answer(self, found: bytes | None, error: Exception | None) -> None:
        """On the event loop."""
        if self.found.done():  # whoever waited was cancelled
            return
        if found is not None:
            self.found.set_result(found)
        else:
            self.found.set_exception(error or RuntimeError("nothing was read"))


def _answered(answers: list[tuple[_Wanted, bytes | None, Exception | None]]) -> None:
    for wanted, found, error in answers:
        wanted.answer(found, error)
