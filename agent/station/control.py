"""The daemon's Unix socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from agent.config import Config


class Running(Protocol):
    """What the daemon shows of itself."""

    config: Config


class Control:
    """Serves the socket for as long as the block lasts."""

    def __init__(self, running: Running) -> None:
        self._running = running

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return
