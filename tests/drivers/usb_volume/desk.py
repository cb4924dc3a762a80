"""An intake that does as little as the agent must: it keeps and continues parts, and checks the stated length."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from agent.capture import Standing
from agent.errors import AgentError, BadCapture, CannotResume, DeviceError, DeviceGone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.capture import Capture, Device, Observation, Origin
    from agent.driver import Driver, Offer
    from drivers.body_worn.usb_volume import UsbVolume


class Desk:
    def __init__(self, *, release: bool = False) -> None:
        self.held: dict[Origin, bytes] = {}
        self.parts: dict[Origin, bytes] = {}
        self.aside: list[tuple[Origin, bytes, str]] = []
        self.released: set[Origin] = set()
        self.captures: dict[Origin, Capture] = {}
        self.devices: dict[str, Device] = {}
        self.offers: dict[str, Offer] = {}
        self.offered = 0
        self.errors: defaultdict[str, list[AgentError]] = defaultdict(list)
        self.opened: list[tuple[str, int]] = []
        self.release = release
        self._changed = asyncio.Event()

    async def sight(self, device: Device, /) -> None:
        self.devices[device.id] = device
        self._ring()

    async def observe(self, observation: Observation, /) -> None:
        assert observation.kind == "device.index"  # the sum of a look is all that a volume tells

    async def take(self, offer: Offer, /) -> Standing:
        capture = offer.capture
        origin = capture.origin
        self.offered += 1
        self.captures[origin] = capture
        self.offers[capture.key] = offer
        self._ring()
        try:
            if origin not in self.held or origin in self.released:
                self.held[origin] = await self._copied(offer)
                self.released.discard(origin)
            elif self.release:
                await offer.release()
                self.released.add(origin)
                return Standing.RELEASED
        except DeviceError as error:
            self.errors[capture.key].append(error)
            raise
        finally:
            self._ring()
        return Standing.HELD

    async def _copied(self, offer: Offer) -> bytes:
        capture = offer.capture
        origin = capture.origin
        part = self.parts.get(origin, b"")
        self.opened.append((capture.key, len(part)))
        try:
            async with aclosing(offer.open(len(part))) as blocks:  # type: ignore[type-var]
                async for block in blocks:
                    part += block
                    self.parts[origin] = part
            _check_length(part, capture)
        except (BadCapture, CannotResume) as error:
            self.aside.append((origin, self.parts.pop(origin, b""), str(error)))
            raise
        self.parts.pop(origin, None)
        return part

    def keys(self) -> list[str]:
        return sorted(origin.key for origin in self.held)

    def digests(self) -> dict[str, str]:
        return {origin.key: hashlib.sha256(content).hexdigest() for origin, content in self.held.items()}

    def gone(self) -> list[DeviceGone]:
        return [error for errors in self.errors.values() for error in errors if isinstance(error, DeviceGone)]

    async def until(self, fact: Callable[[], object], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not fact():
                changed = self._changed
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await changed.wait()

    def _ring(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _check_length(part: bytes, capture: Capture) -> None:
    if len(part) != capture.length:
        raise BadCapture(f"{len(part)} bytes came of {capture.length}")


async def empty(driver: UsbVolume, place: Path) -> None:
    """Wait until the driver has seen that no volume is here."""
    async with asyncio.timeout(30):
        while await driver.health() != {str(place): "no volume is here"}:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(driver: Driver, desk: Desk) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(driver.run(desk))
    try:
        yield task
    finally:
        assert not task.done() or task.cancelled() or task.exception() is None, task.exception()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
