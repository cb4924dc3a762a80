"""An intake for whoever may not wait: what is observed is on its way, in its order, and is waited for only a moment.

Where the station's disk has no room, `observe` returns when there is some: for what must be durable before it is
answered that is right. A room that is to be recorded no longer, or a read that the law wants forgotten now, cannot wait
for that. If the station ends before there is room, what was observed is not told.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent.capture import Device, Observation, Standing
    from agent.driver import Intake, Readable

__all__ = ["Unhurried"]

_MOMENT: Final = 5.0


class Unhurried:
    """See `agent.driver.Intake`."""

    def __init__(self, intake: Intake, *, moment: float = _MOMENT) -> None:
        """`moment`: seconds that somebody waits until it is durable."""
        self._intake, self._moment = intake, moment
        self._last: asyncio.Task[None] | None = None

    async def sight(self, device: Device, /) -> None:
        """As ever."""
        await self._intake.sight(device)

    async def take(self, offer: Readable, /) -> Standing:
        """As ever."""
        return await self._intake.take(offer)

    async def observe(self, observation: Observation, /) -> None:
        """Return when it is durable, or after a moment. What failed within it is raised."""
        telling = asyncio.create_task(self._told(self._last, observation))
        telling.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may look any more
        self._last = telling
        await asyncio.wait({telling}, timeout=self._moment)
        if telling.done():
            telling.result()

    async def _told(self, before: asyncio.Task[None] | None, observation: Observation) -> None:
        if before is not None and not before.done():
            await asyncio.wait({before})
        await self._intake.observe(observation)
