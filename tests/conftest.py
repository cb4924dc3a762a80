"""What all tests share: the profile of hypothesis, their order, and logs that no earlier test has bent."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests import starts

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile("short", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

# Whoever starts the tests in the background makes them deaf to SIGINT, and their children with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

starts.install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the files: those that take long first, so that none is left alone with one."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    many = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, -many[item.path]))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Only root can be somebody else."""
    if os.geteuid() != 0 and item.get_closest_marker("another_user"):
        pytest.skip("only root can be somebody else")


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Pytest's; for who is somebody else meanwhile one to which others can come, whatever else runs.

    Pytest's all lie in one folder, which each run of it, of whatever checkout, closes to others when it begins.
    """
    if request.node.get_closest_marker("another_user") is None:
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="evidock-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test starts may be a fork of what is loaded already, but where it is about the start: see tests/starts."""
    if request.node.get_closest_marker("fresh"):
        monkeypatch.setattr(starts, "FORKING", False)


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """The command line sets up the logs of a whole process; in a test it must not outlive the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
