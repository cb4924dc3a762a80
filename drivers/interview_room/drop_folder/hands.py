"""Threads for a folder that may hang: whoever waits for one is let go in time, and no end waits for one."""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agent.errors import DeviceGone

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Hands"]

T = TypeVar("T")

_Work = tuple["Callable[[], Any]", "asyncio.Future[Any]", asyncio.AbstractEventLoop]

_AWAY: Final = "Look at the server of the share and at the network; what is on it is taken when it answers again."


class Hands:
    """A few daemon threads with one queue.

    A call to a dead NFS or SMB server hangs in the kernel, where nothing can end it. Threads of an executor would be
    waited for when the process ends; these are not. A stuck thread stays until the kernel lets it go, and there are
    never more of them than `count`: with all of them stuck, every call comes back with `DeviceGone` in time.
    """

    def __init__(self, name: str, count: int, within: float) -> None:
        self._name, self._count, self._within = name, count, within
        self._work: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._lock = threading.Lock()

    async def call(self, work: Callable[[], T], /, *, within: float | None = None) -> T:
        """Run blocking work. `DeviceGone` where it takes longer than it may."""
        limit = self._within if within is None else within
        future = self.start(work)
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                return await future
        except TimeoutError:
            if not timer.expired():
                raise  # the work's own: ETIMEDOUT is one
            raise DeviceGone(f"{self._name} has not answered for {limit:.0f} s", hint=_AWAY) from None

    def start(self, work: Callable[[], T], /) -> asyncio.Future[T]:
        """The same, without waiting. Work whose future is cancelled before a thread is free is never begun."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._work.put((work, future, loop))
        with self._lock:
            if self._idle < self._work.qsize() and len(self._threads) < self._count:
                thread = threading.Thread(target=self._run, name=f"hands-{self._name}"[:64], daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            try:
                work, future, loop = self._work.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    self._idle -= 1
                    if self._work.qsize():  # it came in this very moment, and counted on us
                        continue
                    self._threads.remove(threading.current_thread())
                    return
            with self._lock:
                self._idle -= 1
            if not future.cancelled():
                _do(work, future, loop)
            del work, future, loop  # an idle thread must not keep what it worked on


_IDLE_SECONDS: Final = 5.0
"""After this long without work a thread ends: a driver that was removed leaves none behind."""


def _do(work: Callable[[], Any], future: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> None:
    try:
        found = work()
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits, whatever it is
        _tell(loop, future, None, error)
    else:
        _tell(loop, future, found, None)


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], found: object, error: BaseException | None
) -> None:
    def tell() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)

    with suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(tell)
