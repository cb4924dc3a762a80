from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The vectors that lie beside these tests."""
    return Path(__file__).parent / "vectors"


@pytest.fixture(scope="session")
def samples() -> Path:
    """The full set of custody samples, which is not part of the project."""
    folder = os.environ.get("EVIDOCK_SAMPLES")
    if not folder:
        pytest.skip("EVIDOCK_SAMPLES names no folder of samples")
    if not (found := Path(folder) / "custody").is_dir():
        pytest.skip(f"no custody samples in {folder}")
    return found
