"""The contract of drivers for cameras that serve their card by HTTP: one rig for all of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.testing.conformance import Rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from agent.driver import Driver, Intake
    from agent.testing.card_server import CardServer

__all__ = ["CardRig", "Cards"]


class CardRig(Rig):
    """A camera. `named`: the name of its n-th file; `root`: how keys begin; `driven`: its driver."""

    forgets = True

    def __init__(
        self, camera: CardServer, root: str, named: Callable[[int], str], driven: Callable[[], Driver]
    ) -> None:
        self.camera, self._root, self._named, self._driven = camera, root, named, driven
        self.ready: asyncio.Future[None] = asyncio.ensure_future(camera.plug_in())
        self._names: dict[str, str] = {}

    def driver(self) -> Driver:
        return _Later(self.ready, self._driven)

    def record(self, name: str, data: bytes) -> str:
        return self.camera.record(self._names.setdefault(name, self._named(len(self._names))), data)

    def holds(self, key: str) -> bool:
        return key.removeprefix(self._root) in self.camera.files

    def unplug(self) -> None:
        self.ready = asyncio.ensure_future(_after(self.ready, self.camera.unplug))

    def plug_in(self) -> None:
        self.ready = asyncio.ensure_future(_after(self.ready, self.camera.plug_in))

    def shorten(self, key: str) -> None:
        self.camera.shortened.add(key.removeprefix(self._root))


async def _after(before: asyncio.Future[None], act: Callable[[], Awaitable[None]]) -> None:
    await before
    await act()


class _Later:
    """The port of a rig's camera is known once its server stands."""

    def __init__(self, ready: asyncio.Future[None], driven: Callable[[], Driver]) -> None:
        self._ready, self._driven = ready, driven

    async def run(self, intake: Intake, /) -> None:
        await asyncio.shield(self._ready)
        await self._driven().run(intake)


class Cards:
    """Derive from it and from `DriverConformance`, and say which rig."""

    made: list[CardRig]

    @pytest.fixture(autouse=True)
    async def _cameras_end(self) -> AsyncIterator[None]:
        self.made = []
        yield
        for rig in self.made:
            rig.unplug()
            await rig.ready

    def rig(self, tmp_path: Path) -> CardRig:  # noqa: ARG002 - it lives in memory
        self.made.append(self.card())
        return self.made[-1]

    def card(self) -> CardRig:
        """A new rig."""
        raise NotImplementedError
