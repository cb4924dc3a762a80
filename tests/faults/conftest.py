"""What the fault tests share: the nursery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.rig import Nursery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    made = await Nursery.open()
    yield made
    await made.close()
