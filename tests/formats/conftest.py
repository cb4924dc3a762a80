"""Real files with what others read in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def samples() -> Path:
    folder = os.environ.get("EVIDOCK_SAMPLES")
    if not folder:
        pytest.skip("EVIDOCK_SAMPLES names no folder of samples")
    return Path(folder)
