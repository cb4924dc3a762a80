"""The picture of the README: the real page in a real browser, before an emulated dock."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.clock import Clock
from tests.screen.browser import chromium
from tests.screen.dock import served

if TYPE_CHECKING:
    from agent.capture import Stamp

SIZE = {"width": 1280, "height": 760}
SHOWN = (
    "safe",
    "copying",
    "safe",
    "help",
    "copying",
    "do_not_remove",
    "safe",
    "charging",
    "empty",
    "copying",
    "safe",
    "safe",
)
LISTED = 12
STEP = 17_500_000


class Kept(Clock):
    """A clock that is kept right, wherever the picture is made."""

    def stamp(self) -> Stamp:
        return replace(super().stamp(), synchronised=True, uncertainty_us=1200)


async def shoot(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as profile:
        async with served(Path(folder), len(SHOWN), film=os.urandom(9_000_000)) as dock, chromium(profile) as browser:
            dock.clock = Kept()
            for number, state in enumerate(SHOWN, 1):
                dock.put(number, state, listed=LISTED + number)
            dock.notice("two recordings in bay-04 cannot be read", "captures.not_taken")
            page = await browser.new_page()
            await page.set_viewport_size(SIZE)
            await page.goto(dock.url + "/?lang=en")
            await page.locator(".tile").first.wait_for()
            for _ in range(8):
                dock.move(STEP)
                await asyncio.sleep(0.5)
            await page.screenshot(path=path)


if __name__ == "__main__":
    asyncio.run(shoot(Path(sys.argv[1])))
