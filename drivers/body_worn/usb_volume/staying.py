"""A device that is looked at seldom, or read for an hour, is here all the same: nobody shall think that it left.

One that hangs is here as long as it is: what the kernel keeps back may never come, and then it holds no bay any more.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

from agent.errors import DeviceGone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from agent.capture import Device
    from agent.driver import Intake
    from drivers.body_worn.usb_volume.volume import Volume
    from drivers.body_worn.usb_volume.waking import Waker

__all__ = ["rest", "stay", "unless_gone"]

T = TypeVar("T")

STAY_SECONDS: Final = 5.0
"""Between two sights of a device that is being read, or that rests."""


async def stay(volume: Volume, device: Device, intake: Intake) -> None:
    """Tell that it is here while it is read, until cancelled or until it is not."""
    while not volume.gone:
        await asyncio.sleep(STAY_SECONDS)
        if not volume.gone:
            await intake.sight(device)


async def rest(  # noqa: PLR0917 - a pause, and whose it is
    waker: Waker, heard: int, least: float, seconds: float, volume: Volume, device: Device, intake: Intake
) -> None:
    """Wait for so long, or for a ring that came since `heard`, or until the volume is gone; tell that it is here.

    For the first `least` seconds no ring is heard.
    """
    began = told = time.monotonic()
    while (rested := time.monotonic() - began) < seconds:
        if rested < least:
            await asyncio.sleep(min(least - rested, STAY_SECONDS))
        elif await waker.wait(heard, min(seconds - rested, STAY_SECONDS)):
            return
        if not await volume.call(volume.present):
            return
        if time.monotonic() - told >= STAY_SECONDS:
            told = time.monotonic()
            await intake.sight(device)


async def unless_gone(volume: Volume, stands: Callable[[], Awaitable[bool]], work: Coroutine[None, None, T]) -> T:
    """Do it. Raises `DeviceGone` where the volume hangs and no longer `stands` at its place: nobody waits then."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=STAY_SECONDS)
            if not task.done() and volume.hangs and not await stands():
                volume.gone = True
                raise DeviceGone("the volume was taken away while it hung")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
