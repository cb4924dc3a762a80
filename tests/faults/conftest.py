"""What the fault tests share: nurseries, the libraries beside them, and the moment from which seconds are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults import report
from tests.faults.rig import Nursery
from tests.faults.shim import compiled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _timed() -> None:
    report.begin()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Shared by all tests of a process: what it has loaded is the same for each, and each daemon is a fork."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="session")
def quick() -> Iterator[Nursery]:
    """Its daemons fork the programs that they start, too. Shared like the other."""
    made = Nursery(EVIDOCK_FORKED="1")
    yield made
    made.close()


@pytest.fixture(scope="session")
def failing_calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("evidock_faults", tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="session")
def failing(failing_calls: Path) -> Iterator[Nursery]:
    """Its daemons fail where a fault says so: see evidock_faults.c. Shared like the other."""
    made = Nursery(LD_PRELOAD=str(failing_calls), EVIDOCK_FORKED="1")
    yield made
    made.close()
