"""Chromium as the tests and the README's picture use it: a new profile, and no connection that nobody asked for."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import BrowserContext

__all__ = ["chromium"]

SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def chromium(profile: str) -> AsyncIterator[BrowserContext]:
    """Chromium with a profile in this empty folder."""
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            profile,
            executable_path=shutil.which("chromium"),
            args=list(SWITCHES),
            locale="en-CA",
            timezone_id="America/Toronto",
            reduced_motion="reduce",
        )
        try:
            yield context
        finally:
            await context.close()
