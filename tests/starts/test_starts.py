"""A start that is forked does what a new interpreter does: its words, its folder, its files, its exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import starts

if TYPE_CHECKING:
    from pathlib import Path

WORDS = (
    ("--help",),
    ("no-such-command",),
    ("--config", "agent.toml", "status"),
    ("version",),
    ("init", "--name", "x"),
)


def ran(*words: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    env = {**os.environ, **environment}
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli", *words], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_it_says_and_does_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    (tmp_path / "agent.toml").write_text("[station]\nname = 7\n")
    forked = ran(*words, cwd=tmp_path, EVIDOCK_SAMPLES="here")
    monkeypatch.setattr(starts, "FORKING", False)
    assert ran(*words, cwd=tmp_path, EVIDOCK_SAMPLES="here") == forked


def test_it_is_a_child_of_ours_that_any_signal_reaches(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    words = [sys.executable, "-m", "agent.cli", "dems", "serve", str(tmp_path / "folder")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        status = dict(line.split(":\t", 1) for line in (_of(process.pid)).splitlines() if ":\t" in line)
        assert int(status["PPid"]) == os.getpid()
        assert os.getsid(process.pid) == process.pid
        process.kill()
        assert process.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize(
    "words",
    [
        ("-I", "-m", "agent.cli"),
        ("-m", "agent.reading.worker"),
        ("-c", "print()"),
        ("-m",),
        ("agent/cli/__main__.py", "run"),
    ],
)
def test_nothing_else_is_forked(words: tuple[str, ...]) -> None:
    assert not starts.forkable([sys.executable, *words])
    assert not starts.forkable(["python", "-m", "agent.cli"])


@pytest.mark.fresh
def test_who_wants_a_new_interpreter_gets_one() -> None:
    assert not starts.FORKING
    assert not starts.SERVER.like_us({**os.environ, "PYTHONPATH": "/elsewhere"})
    assert starts.SERVER.like_us({**os.environ, "EVIDOCK_SAMPLES": "/elsewhere"})


def _of(pid: int) -> str:
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - a file of the kernel
        return status.read()
