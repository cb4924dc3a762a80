"""A DEMS for each test, and the client that asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from agent.testing.dems import EmulatedDems
from tests.dems.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.dems.client import ClientOf


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


@pytest.fixture
async def dems(tmp_path: Path) -> AsyncIterator[EmulatedDems]:
    async with EmulatedDems(tmp_path / "dems", faults=True) as made:
        yield made


@pytest.fixture
def client_of(session: aiohttp.ClientSession) -> ClientOf:
    return lambda dems: Client(session, dems.url)


@pytest.fixture
def tus(dems: EmulatedDems, client_of: ClientOf) -> Client:
    return client_of(dems)
