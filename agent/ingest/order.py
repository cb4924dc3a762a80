"""Whose turn it is, what was bad a moment ago and is not read again at once, and what must not be cut in two."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

from agent.errors import AgentError, BadCapture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from agent.capture import Capture

__all__ = ["BadOnes", "OneAtATime", "whole"]

_FIRST: Final = 30.0
_MOST: Final = 3600.0
_REMEMBERED: Final = 10_000


@dataclass(slots=True)
class _Lock:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class OneAtATime:
    """A lock for each origin that is being taken, and none for the others."""

    def __init__(self) -> None:
        self._locks: dict[bytes, _Lock] = {}

    @asynccontextmanager
    async def alone(self, token: bytes) -> AsyncIterator[None]:
        """Whoever comes second waits, and then finds it held."""
        entry = self._locks.setdefault(token, _Lock())
        entry.users += 1
        try:
            async with entry.lock:
                yield
        finally:
            entry.users -= 1
            if not entry.users:
                del self._locks[token]


@dataclass(slots=True)
class _Bad:
    length: int | None
    reason: str
    pause: float
    until: float


class BadOnes:
    """Captures that were not accepted: each is looked at again later, and later each time."""

    def __init__(self) -> None:
        self._bad: OrderedDict[bytes, _Bad] = OrderedDict()

    def check(self, token: bytes, capture: Capture) -> None:
        """Raise `BadCapture` while it is too soon; another length is another try."""
        bad = self._bad.get(token)
        if bad is not None and bad.length == capture.length and monotonic() < bad.until:
            raise BadCapture(f"{bad.reason} (it is tried again in {bad.until - monotonic():.0f} s)")

    def remember(self, token: bytes, capture: Capture, reason: str) -> None:
        """It was not accepted just now."""
        before = self._bad.pop(token, None)
        pause = _FIRST if before is None else min(_MOST, before.pause * 2)
        self._bad[token] = _Bad(capture.length, reason, pause, monotonic() + pause)
        while len(self._bad) > _REMEMBERED:
            self._bad.popitem(last=False)

    def forgive(self) -> None:
        """Look at all of them again at once."""
        self._bad.clear()


async def whole(work: Coroutine[object, object, None]) -> None:
    """Never half of it: whoever is cancelled meanwhile waits until it is done, and is cancelled then."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError, AgentError):
                await asyncio.shield(task)
        raise
