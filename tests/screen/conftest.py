"""A real Chromium, Debian's, without a screen of its own and without a word to anybody but the station."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.screen.browser import chromium

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import BrowserContext

expect.set_options(timeout=20_000)  # a machine that does other things too
AXE = "tests/interop/node_modules/axe-core/axe.min.js"


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[BrowserContext]:
    """One for all tests of the screen; each opens pages of its own."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not here")
    with tempfile.TemporaryDirectory() as profile:
        async with chromium(profile) as context:
            yield context


@pytest.fixture(scope="package")
def axe(request: pytest.FixtureRequest) -> str:
    """The script of axe-core, which knows what hinders people who see, hear or move in other ways."""
    path: Path = request.config.rootpath / AXE
    if not path.exists():
        pytest.skip("axe-core is not here (npm)")
    return path.read_text("utf-8")
