"""Recorded logs of real receivers, with what gpsd reads in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

LONG = os.environ.get("EVIDOCK_CAR_LONG") == "1"
"""`make car` tries every wire and every log; `make test` one of each."""
at_length = pytest.mark.skipif(not LONG, reason="EVIDOCK_CAR_LONG is not 1 (make car)")

VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture(scope="session")
def samples() -> Path:
    folder = os.environ.get("EVIDOCK_SAMPLES")
    if not folder:
        pytest.skip("EVIDOCK_SAMPLES names no folder of samples")
    return Path(folder)
