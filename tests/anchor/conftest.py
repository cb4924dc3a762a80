"""A DEMS that is the witness of each post."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.testing.dems import EmulatedDems
from tests.anchor.post import Post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def dems(tmp_path: Path) -> AsyncIterator[EmulatedDems]:
    async with EmulatedDems(tmp_path / "dems") as made:
        yield made


@pytest.fixture
async def post(tmp_path: Path, dems: EmulatedDems) -> AsyncIterator[Post]:
    async with Post(tmp_path / "state", (dems.witness_vkey, dems.witness_url)) as made:
        yield made
