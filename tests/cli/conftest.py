"""A station that has lived a little, with and without its daemon, and the command line called as a person would."""

from __future__ import annotations

import encodings.ascii
import encodings.idna  # noqa: F401 - and ascii: who looks as another user may not read where they lie
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from agent.cli import main
from drivers.body_worn.usb_volume.emulator import VolumeEmulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOML = """
[station]
name = "dock-1"
agency = "example.org"
state = "{folder}/state"

[spool]
watermark = "1 MiB"

[[driver]]
use = "body_worn.usb_volume"
name = "bay-1"
mount = "{folder}/dock/bay"
must_be_mountpoint = false
device = {{ id = "usb:bench:BWC-1" }}
rescan = 0.05
settle = 0.1
"""

NOBODY = 65534
ROOT = pytest.mark.another_user
ROOT_FOLDER = Path(__file__).parents[2]

FILMS = (b"one" * 1000, b"two" * 700_000, b"")


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Dock:
    """One station's folder."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "agent.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def socket(self) -> Path:
        return self.state / "control.sock"

    def configure(self) -> None:
        self.config.write_text(TOML.format(folder=self.folder))

    def start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "daemon.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "agent.cli", "--config", str(self.config), "run"],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        until(lambda: process.poll() is not None or answers(self.socket))
        assert process.poll() is None, (self.folder / "daemon.log").read_text()
        return process


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as tried:
        return tried.connect_ex(str(path)) == 0


def until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "what was waited for did not happen"
        time.sleep(0.02)


def as_nobody(dock: Dock, *words: object, first: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command as another user, in a test that is marked so; `first`: what is done before, see another.py."""
    words_ = [NOBODY, first, "--config", dock.config, *words]
    return subprocess.run(
        [sys.executable, "-m", "tests.cli.another", *map(str, words_)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT_FOLDER,
    )


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an apt-cache of ours: the real one goes through all packages, a second for each `evidock check`."""
    folder = tmp_path_factory.mktemp("packages")
    program = folder / "apt-cache"
    program.write_text('#!/bin/sh\nprintf "$2:\\n  Installed: 0.1.0\\n  Candidate: %s\\n" "${CANDIDATE:-0.1.0}"\n')
    program.chmod(0o755)
    return folder


@pytest.fixture
def evidock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], packages: Path
) -> Iterator[Callable[..., Answer]]:
    """Call the command in this process."""
    monkeypatch.delenv("EVIDOCK_CONFIG", raising=False)
    monkeypatch.setenv("PATH", f"{packages}:{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["evidock", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    yield call
    structlog.reset_defaults()  # `evidock run` sets it up for its own process
    logging.basicConfig(force=True)


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Dock:
    """A station that holds three captures and was stopped. Copy it before anything is changed."""
    dock = Dock(tmp_path_factory.mktemp("lived"))
    dock.configure()
    (dock.folder / "dock").mkdir()
    camera = VolumeEmulator(dock.folder / "dock" / "bay")
    for film in FILMS:
        camera.add(film)
    camera.plug()
    daemon = dock.start()
    try:
        until(lambda: b'"held": 3' in (dock.folder / "daemon.log").read_bytes())
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
    camera.pull()
    return dock


@pytest.fixture
def still(lived: Dock, tmp_path: Path) -> Dock:
    """The same station, to be changed, without a daemon."""
    shutil.copytree(lived.state, tmp_path / "state")
    (tmp_path / "state").chmod(0o700)
    (tmp_path / "dock").mkdir()
    dock = Dock(tmp_path)
    dock.configure()
    return dock


@pytest.fixture(scope="module")
def running(lived: Dock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dock]:
    """The same station with its daemon, shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("running")
    shutil.copytree(lived.state, folder / "state")
    (folder / "state").chmod(0o700)
    (folder / "dock").mkdir()
    dock = Dock(folder)
    dock.configure()
    daemon = dock.start()
    yield dock
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(20) == 0
    assert not os.path.lexists(dock.socket), "a daemon takes its socket away"


@pytest.fixture(params=["with the daemon", "without"])
def dock(request: pytest.FixtureRequest) -> Dock:
    """Both in turn: the answers must be the same."""
    name = "running" if request.param == "with the daemon" else "still"
    made: Dock = request.getfixturevalue(name)
    return made
