"""What a part of the fault lab reached, one line of JSON each: `collect.py` makes docs/fault-report.md of them.

    reached(1, "SIGKILL at a random moment", asked=5000, reached=5000, violations=0, seed=1)

Lines of one row and one `what` are parts of one figure and are summed. Where `reached` is less than `asked`, `detail`
says why. Nothing is written where EVIDOCK_FAULT_REPORT names no file. Call it before the assertion that may fail.
"""

from __future__ import annotations

import json
import os
import platform
import time
from functools import cache
from importlib import metadata
from pathlib import Path

import apsw

MUTATIONS = 15
"""The row of the lab's own check, after the fourteen of what is asked."""
_LINE_MAX = 4000
"""A line this short is appended whole, whoever writes beside us (PIPE_BUF of pipe(7) is 4096; ext4 locks the inode)."""
_began = time.monotonic()


def begin() -> None:
    """From here on `seconds` are counted; the fixture of `conftest.py` calls it for each test."""
    global _began  # noqa: PLW0603 - one test runs at a time in a process
    _began = time.monotonic()


@cache
def versions() -> dict[str, str]:
    """What was tried, on what."""
    return {
        "evidock": metadata.version("evidock"),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "kernel": platform.release(),
    }


def reached(
    row: int,
    what: str,
    *,
    asked: int,
    reached: int,
    violations: int,
    seed: int | str | None = None,
    detail: str = "",
) -> None:
    """Append one line to the report."""
    if not (path := os.environ.get("EVIDOCK_FAULT_REPORT")):
        return
    line = {
        "row": row,
        "what": what,
        "asked": asked,
        "reached": reached,
        "violations": violations,
        "seed": seed,
        "seconds": round(time.monotonic() - _began, 2),
        "detail": detail[:1000],
        "versions": versions(),
    }
    raw = json.dumps(line).encode() + b"\n"
    assert len(raw) < _LINE_MAX, "a detail is a sentence, and `what` a few words"
    fd = os.open(Path(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, raw)
    finally:
        os.close(fd)
