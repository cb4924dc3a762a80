"""A device that is looked at seldom, or read for an hour, is here all the same: nobody shall think that it left."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent.capture import Device
    from agent.driver import Intake
    from drivers.body_worn.usb_volume.volume import Volume
    from drivers.body_worn.usb_volume.waking import Waker

__all__ = ["rest", "stay"]

STAY_SECONDS: Final = 5.0
"""Between two sights of a device that is being read, or that rests."""


async def stay(volume: Volume, device: Device, intake: Intake) -> None:
    """Tell that it is here while it is read, until cancelled or until it is not."""
    while not volume.gone:
        await asyncio.sleep(STAY_SECONDS)
        if not volume.gone:
            await intake.sight(device)


async def rest(waker: Waker, heard: int, seconds: float, volume: Volume, device: Device, intake: Intake) -> None:
    """Wait for so long, or for a ring that came since `heard`, or until the volume is gone; tell that it is here."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        if await waker.wait(heard, min(left, STAY_SECONDS)) or not await volume.call(volume.present):
            return
        await intake.sight(device)
