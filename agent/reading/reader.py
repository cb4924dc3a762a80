"""What a film says of itself, read once it is kept and before it is promised, by a process that can do nothing else.

A parser may be led astray by a hostile file. So it runs apart: no network, no writing, bounded memory, and ended where
it takes too long. What it finds stands in the entry among the device's claims, under `media`, and says so; what it does
not find costs the capture nothing but these words.

Those that wait at the same time are asked about together: of many small captures, a question each would cost more than
taking them. A device of which one film takes long is read by a second process from then on: a card full of such films
holds up those of its kind, and no other bay. Films that are read quickly bring it back.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.capture import canonical
from agent.reading.lane import Asked, Lane

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from agent.capture import Capture, Json

__all__ = ["MEDIA_TYPES", "Reader"]

MEDIA_TYPES: Final = frozenset({"video/mp4", "video/quicktime", "audio/mp4", "video/3gpp"})
"""Captures of these are read: the ISO base media family."""

_WORDS_MAX: Final = 16 * 1024
"""Bytes that the words may take in an entry."""
_ALL_MAX: Final = 32 * 1024
"""Bytes that all claims of a capture may take there; the driver's own come first."""
_SLOW_MAX: Final = 1000
"""Devices that are remembered as slow."""
_QUICK: Final = 8
"""Films that must be read quickly, one after another, before a device is read with all others again."""
_QUICK_MAX: Final = 1024
"""The same of a device that came back again and again: each time it is twice as many."""


@dataclass(slots=True)
class _Slow:
    wanted: int
    left: int
    """Of these films; none: it is not slow any more, and was."""


class Reader:
    """Two lanes: one for all, and one for devices whose films took long."""

    def __init__(self, *, within: float = 5.0) -> None:
        self._lane = Lane(within, slow=self._is_slow, quick=lambda _: None, again=self._ask)
        self._slow_lane = Lane(within, slow=self._stays_slow, quick=self._is_quick, again=self._ask)
        self._slow: dict[str, _Slow] = {}
        self._warming: asyncio.Task[None] | None = None

    def expect(self, capture: Capture) -> None:
        """It is being taken: where it will be read, the process starts meanwhile, and nothing waits for that then."""
        if self._warming is None and _is_film(capture):
            self._warming = asyncio.create_task(self._lane.warm())

    async def words(self, capture: Capture, path: Path) -> Capture:
        """The capture with what its bytes say, where they are a film's; never raises for what is in them."""
        if not _is_film(capture):
            return capture
        told = await self._told(capture.device.id, path)
        short: dict[str, Json] = {"unread": "it says more than an entry holds"}
        for words in (told, short):
            claims: dict[str, Json] = {**capture.claims, "media": words}
            with suppress(ValueError, RecursionError):  # what no entry can hold
                if len(canonical(words)) <= _WORDS_MAX and len(canonical(claims)) <= _ALL_MAX:
                    return capture.told(claims=claims)
        return capture

    async def aclose(self) -> None:
        """End the processes."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.wait({self._warming})
        await self._lane.aclose()
        await self._slow_lane.aclose()

    async def _told(self, device: str, path: Path) -> dict[str, Json]:
        asked = Asked(device, path, asyncio.get_running_loop().create_future())
        self._ask([asked])
        return await asked.told

    def _ask(self, some: Iterable[Asked]) -> None:
        for one in some:
            slow = (known := self._slow.get(one.device)) is not None and known.left
            (self._slow_lane if slow else self._lane).ask(one)

    def _is_slow(self, device: str) -> bool:
        before = self._slow.pop(device, None)
        while len(self._slow) >= _SLOW_MAX:
            del self._slow[next(iter(self._slow))]
        wanted = _QUICK if before is None else min(2 * before.wanted, _QUICK_MAX)
        self._slow[device] = _Slow(wanted, wanted)
        self._ask(self._lane.yielded(device))
        return True

    def _stays_slow(self, device: str) -> bool:
        if (known := self._slow.get(device)) is not None:
            known.left = known.wanted
        return False

    def _is_quick(self, device: str) -> None:
        if (known := self._slow.get(device)) is not None and known.left:
            known.left -= 1
            if not known.left:
                self._ask(self._slow_lane.yielded(device))


def _is_film(capture: Capture) -> bool:
    return capture.media_type in MEDIA_TYPES and "media" not in capture.claims
