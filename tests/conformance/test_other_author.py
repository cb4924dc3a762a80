"""A driver of another author: its whole test, and a station that finds it by its entry point."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import sys
from pathlib import Path

import pytest

from agent.config import parse
from agent.errors import ConfigError
from agent.registry import DRIVERS, equip, installed
from agent.testing.conformance import DriverConformance
from tests.conformance.recorder import RecorderRig

PACKAGE = Path(__file__).parent / "other_author"
TOML = """
[station]
name = "dock-1"
agency = "example.org"

[[driver]]
use = "riverton.recorder"
name = "room-1"
folder = "{folder}"
"""


class TestRecorder(DriverConformance):
    def rig(self, tmp_path: Path) -> RecorderRig:
        return RecorderRig(tmp_path)


def test_the_driver_is_shorter_than_sixty_lines() -> None:
    assert len((PACKAGE / "riverton_recorder.py").read_text().splitlines()) < 60


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay the package out as an installer would, in a folder of its own on the path."""
    site = tmp_path / "site"
    site.mkdir()
    shutil.copy(PACKAGE / "riverton_recorder.py", site)
    facts = site / "riverton_recorder-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: riverton-recorder\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[evidock.drivers]\nriverton.recorder = riverton_recorder:Recorder\n")
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    yield site
    sys.modules.pop("riverton_recorder", None)


def test_it_is_found_by_its_entry_point(published: Path, tmp_path: Path) -> None:
    assert "riverton.recorder" in installed(DRIVERS)
    (loaded,) = equip(parse(TOML.format(folder=tmp_path))).drivers
    assert type(loaded.driver).__name__ == "Recorder"
    assert loaded.options.folder == tmp_path


def test_without_the_package_the_start_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"driver\[0\]\.use: must be one of"):
        equip(parse(TOML.format(folder=tmp_path)))


def test_its_own_options_are_checked(published: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"driver\[0\]\.folder: is missing"):
        equip(parse(TOML.replace("folder = ", "# ").format(folder=tmp_path)))


async def test_its_package_can_be_built(tmp_path: Path) -> None:
    """By the build backend that its pyproject.toml names, without a network."""
    pytest.importorskip("hatchling")
    source = tmp_path / "source"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist"), cwd=source
    )
    assert await process.wait() == 0
    assert [path.name for path in (tmp_path / "dist").iterdir()] == ["riverton_recorder-1.0-py3-none-any.whl"]
