"""Those who look, and those who act, are answered: at the socket, and where it is configured by the status service."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from agent.station.control import Control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.station.running import Running

__all__ = ["answering"]


@asynccontextmanager
async def answering(running: Running, *, acts: bool = True) -> AsyncIterator[Control]:
    """For as long as the block lasts. Without `acts` whoever orders something is told that the disk has no room."""
    async with Control(running, acts=acts) as control, AsyncExitStack() as stack:
        if running.config.status is not None:
            from agent.station.status import StatusService  # noqa: PLC0415 - for those who look at a screen

            await stack.enter_async_context(StatusService(running, control.live, running.config.status))
        yield control
