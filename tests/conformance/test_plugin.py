"""The plugin in a stranger's test run: it gives its fixtures, verifies at the end, and otherwise is not noticed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

STRANGER = """
import pytest
from agent.testing.devices import some_bytes

@pytest.mark.asyncio
async def test_mine(station, bench):
    bench.record("a", some_bytes(10))
    await station.dock(bench)
    {act}
"""
DAMAGE = "next((station.folder / 'spool' / 'kept').iterdir()).write_bytes(b'other')"


def run(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_stranger.py").write_text(text)
    others = ("-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "no:hypothesispytest")  # half of a start
    command = [sys.executable, "-m", "pytest", "-q", *others, *options, str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_its_fixtures_work_where_asyncio_is_strict(tmp_path: Path) -> None:
    assert "1 passed" in run(tmp_path, STRANGER.format(act="pass")).stdout


def test_a_station_that_is_not_as_it_must_be_fails_its_test(tmp_path: Path) -> None:
    found = run(tmp_path, STRANGER.format(act=DAMAGE)).stdout
    assert "1 error" in found
    assert "is not what capture" in found


@pytest.mark.parametrize(
    "options",
    [("-p", "no:asyncio"), ("-W", "error", "-o", "asyncio_default_fixture_loop_scope=function"), ("--strict-markers",)],
)
def test_it_is_in_nobodys_way(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert "1 passed" in run(tmp_path, "def test_mine(): pass", *options).stdout


def test_nothing_of_ours_is_imported_before_it_is_asked_for(tmp_path: Path) -> None:
    text = "import sys\ndef test_mine(): assert not {'agent.journal', 'aiohttp', 'apsw'} & sys.modules.keys()"
    assert "1 passed" in run(tmp_path, text).stdout
