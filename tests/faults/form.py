"""Short or long: `make test` runs a few seeded cases of each fault, `make faults` figures until its time is over."""

from __future__ import annotations

import os
import time

LONG = bool(os.environ.get("EVIDOCK_FAULTS_LONG"))
SEED = int(os.environ.get("EVIDOCK_FAULT_SEED", "1"))
_UNTIL = float(os.environ.get("EVIDOCK_FAULT_UNTIL", "inf"))
"""Seconds since 1970: whoever loops ends by himself after this, and reports what was reached."""
OVER = "its time was over"


def form(short: int, long: int) -> int:
    """How many."""
    return long if LONG else short


def time_is_over() -> bool:
    """Whether a loop should end now."""
    return time.time() > _UNTIL


def why(asked: int, reached: int) -> str:
    """The detail of a figure that was not reached because its time was over."""
    return "" if reached >= asked else OVER
