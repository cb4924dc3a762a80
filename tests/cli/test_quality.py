"""The list of devices and the marks of the drivers are what specs and tests say; a mark needs its evidence."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from agent.cli import supported
from agent.quality import MARKS, Quality, quality_of
from agent.testing import quality
from firmware_specs.devices import device_specs

ROOT = Path(__file__).parents[2]
MARK = "<!-- evidock spec list --markdown -->\n"


def ours() -> list[EntryPoint]:
    return [one for one in entry_points(group="evidock.drivers") if one.dist and one.dist.name == "evidock"]


def test_every_driver_has_the_marks_that_its_tests_show() -> None:
    wrong = quality.differing(ours(), ROOT / "tests")
    assert not wrong, "run `make quality`, look at the difference, and commit it: " + "; ".join(wrong)


def test_the_list_of_devices_is_that_of_the_specs() -> None:
    said = (ROOT / "docs" / "devices.md").read_text("utf-8").partition(MARK)[2]
    assert said == supported.markdown(), "run `make quality`, look at the difference, and commit it"
    for spec in device_specs().values():
        assert f"`{spec.of or spec.name}`" in said
    for entry in ours():
        assert f"`{entry.name}`" in said


def test_a_spec_names_a_driver_that_there_is() -> None:
    names = {entry.name for entry in ours()}
    assert {spec.driver for spec in device_specs().values()} <= names


CONFORMANCE = """
import pytest
from agent.testing.conformance import DriverConformance
from riverton.recorder import Recorder
from riverton.recorder import emulator

class TestRecorder(DriverConformance):
    pass

@pytest.mark.proves("riverton.recorder", vectors="RFC 8259, appendix A")
def test_them(): pass
"""


def test_a_mark_needs_its_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a driver of another author: what its tests show is written beside it, and nothing else."""
    package = tmp_path / "riverton" / "recorder"
    package.mkdir(parents=True)
    for name in ("riverton/__init__.py", "riverton/recorder/__init__.py", "riverton/recorder/emulator.py"):
        (tmp_path / name).write_text("class Recorder: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = EntryPoint("riverton.recorder", "riverton.recorder:Recorder", "evidock.drivers")
    tests = tmp_path / "tests"
    tests.mkdir()
    assert quality_of(entry) is None
    assert str(quality.judged([entry], tests)["riverton.recorder"]).startswith("0 of 5")
    (tests / "test_recorder.py").write_text(CONFORMANCE)
    found = quality.judged([entry], tests)
    assert found["riverton.recorder"].lacking == ("peer", "device")
    assert found["riverton.recorder"].evidence["vectors"] == ("RFC 8259, appendix A (tests/test_recorder.py)",)
    assert quality.differing([entry], tests) != []
    (package / "quality.toml").write_text(quality.written(found))
    assert quality.differing([entry], tests) == []
    assert str(quality_of(entry)) == "3 of 5, no peer, no device"
    (tests / "test_recorder.py").write_text(CONFORMANCE.replace("DriverConformance)", "object)"))
    assert quality.differing([entry], tests) != []


@pytest.mark.parametrize(
    "wrong", ["proves()", "proves('a')", "proves('a', other='x')", "proves(NAME, peer='x')", "proves('a', peer=NAME)"]
)
def test_a_mark_that_cannot_be_read_is_refused(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "test_it.py").write_text(f"import pytest\npytestmark = pytest.mark.{wrong}\n")
    with pytest.raises(SystemExit, match=r"test_it.py: `proves` takes"):
        quality.judged([], tmp_path)


def test_a_file_that_cannot_be_read_is_no_judgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "alone.py").write_text("")
    (tmp_path / "quality.toml").write_text("not toml")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert quality_of(EntryPoint("x", "alone:X", "g")) is None
    assert quality_of(EntryPoint("x", "nowhere.at_all:X", "g")) is None
    (tmp_path / "quality.toml").write_text("x = 7")
    assert quality_of(EntryPoint("x", "alone:X", "g")) is None
    assert Quality().lacking == MARKS
