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
