"""The kernel's word about its clock, by way of another process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from agent import clock
from agent.clock import Clock, Word, kernel_word, tell, told_word

if TYPE_CHECKING:
    from pathlib import Path


def written(path: Path, *, ago: float = 0.0, **said: object) -> Path:
    at = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(ago * 1e9)
    path.write_text(json.dumps({"boottime_ns": at, "synchronised": True, "uncertainty_us": 400, **said}))
    return path


def test_what_is_told_is_what_the_kernel_says(tmp_path: Path) -> None:
    tell(tmp_path / "word")
    told, said = told_word(tmp_path / "word"), kernel_word()
    assert told is not None
    assert said is not None
    assert told.synchronised == said.synchronised


def test_a_clock_that_may_not_ask_believes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "kernel_word", lambda: None)
    stamp = Clock(written(tmp_path / "word", ago=20)).stamp()
    assert stamp.synchronised
    assert 400 + 20 * 500 <= (stamp.uncertainty_us or 0) <= 400 + 40 * 500  # it may have drifted since
    assert not Clock(tmp_path / "nothing").stamp().synchronised


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"boottime_ns": "x"}', '{"boottime_ns": 1, "synchronised": true, "uncertainty_us": 1}'],
)
def test_a_word_that_cannot_be_read_or_is_old_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "word").write_text(text)
    assert told_word(tmp_path / "word") is None


def test_a_word_of_later_is_of_another_boot(tmp_path: Path) -> None:
    assert told_word(written(tmp_path / "word", ago=-3600)) is None
    assert told_word(written(tmp_path / "word", synchronised=False)) == Word(synchronised=False, uncertainty_us=None)


def test_the_program_writes_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "agent.clock", str(tmp_path / "word")])
    try:
        until = time.monotonic() + 20
        while told_word(tmp_path / "word") is None and time.monotonic() < until:
            time.sleep(0.05)
        assert told_word(tmp_path / "word") is not None
    finally:
        process.kill()
        process.wait()
