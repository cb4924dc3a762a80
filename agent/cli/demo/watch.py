"""The demo's eye on the daemon: it looks many times a second, and remembers what it saw being continued."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from agent.cli.demo.stage import Cast
from agent.cli.demo.view import View
from agent.errors import AgentError

__all__ = ["Watch"]

_POLL: Final = 0.03
_PATIENCE: Final = 90.0


class Watch:
    """What the station says, as of the last look."""

    def __init__(self, cast: Cast, view: View) -> None:
        self._cast, self._view = cast, view
        self.status: dict[str, Any] = {}
        self.captures: list[dict[str, Any]] = []
        self.copies_resumed: dict[str, list[int]] = {}
        """Offsets at which copies went on, by key."""
        self.sendings_resumed: dict[str, list[int]] = {}
        """Offsets at which uploads went on, by capture."""
        self._read: dict[str, int] = {}

    @property
    def read(self) -> int:
        """Bytes that were read from the camera to be taken, in all lives of the daemon."""
        return sum(self._read.values())

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            try:
                status, page = await asyncio.to_thread(self._look)
            except AgentError:  # it was killed, or is not there yet
                await asyncio.sleep(_POLL)
                continue
            self.status, self.captures = status, page["captures"]
            self._note()
            self._view.look(self.status, self.captures)
            await asyncio.sleep(_POLL)

    def _look(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._cast.daemon.asked.status(), self._cast.daemon.asked.captures(limit=200)

    def _note(self) -> None:
        self._read[self.status["started_at"]] = sum(one["read"] for one in self.status["devices"])
        for one in self.status["arrivals"]:
            _remember(self.copies_resumed, one["key"], one["resumed_at"])
        for one in self.status["departures"]:
            _remember(self.sendings_resumed, one["capture"], one["resumed_at"])

    def arrival(self, key: str) -> int | None:
        """Bytes that have arrived of a capture under way."""
        return next((one["arrived"] for one in self.status.get("arrivals", []) if one["key"] == key), None)

    def departure(self, key: str) -> int | None:
        """Bytes that the DEMS has confirmed of a capture under way."""
        return next((one["confirmed"] for one in self.status.get("departures", []) if one["key"] == key), None)

    def standing(self, key: str) -> str | None:
        """Where a capture stands."""
        return next((one["standing"] for one in self.captures if one["key"] == key), None)

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until it is so."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while not condition():  # noqa: ASYNC110 - what is waited for is in another process
                    await asyncio.sleep(_POLL / 3)
        except TimeoutError:
            raise AgentError(f"the demo waited {_PATIENCE:.0f} s in vain until {what}") from None


def _remember(seen: dict[str, list[int]], name: str, offset: int | None) -> None:
    if offset and offset not in seen.setdefault(name, []):
        seen[name].append(offset)
