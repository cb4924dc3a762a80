"""The short form of `make soak`: five cameras, a burst, and a DEMS and a broker that are away half of the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.alpr import soak

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
async def test_no_read_is_unanswered_and_every_hit_arrives(tmp_path: Path) -> None:
    found = await soak(tmp_path, seconds=3.0, rate=20.0, burst=50, plates=1500)
    assert found["wrong"] == []
    assert found["reads"] > 50, "the burst at least"
    assert found["hits"] >= 1
