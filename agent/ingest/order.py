"""Whose turn it is, and what was bad a moment ago and is not read again at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

from agent.errors import BadCapture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.capture import Capture

__all__ = ["BadOnes", "OneAtATime"]

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
