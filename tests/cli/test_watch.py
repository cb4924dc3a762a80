"""`evidock watch` at any size, and on a real terminal of 80 by 24."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from agent.cli.picture import bar, clipped, no_picture, picture
from agent.errors import Refusal
from agent.repairs import repair

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer, Dock

    Evidock = Callable[..., Answer]


def told(devices: int = 60, moves: int = 40, problems: int = 6) -> dict[str, Any]:
    """A busy dock."""
    return {
        "station": {"name": "dock-0042", "agency": "police.example.org"},
        "uptime": 93_784.0,
        "clock": {"at": "2026-11-22T07:02:17.123Z", "synchronised": True},
        "room": {"usable": 420 << 30, "full_in": 21_600.0},
        "tally": {"held": {"captures": 1234, "bytes": 5 << 40}, "released": {"captures": 99_000, "bytes": 1}},
        "links": [{"name": "dems", "up": False, "again_in": 17.0, "problem": "does not answer", "todo": None}],
        "devices": [
            {
                "id": f"usb:{n}",
                "present": True,
                "driver": f"bay-{n:02}",
                "place": f"usb 1-{n}",
                "model": "BWC",
                "serial": f"{n}",
            }
            for n in range(devices)
        ],
        "arrivals": [
            {"device": f"usb:{n}", "key": f"DCIM/CLIP{n:04}.MP4", "arrived": n << 20, "length": 100 << 20, "rate": 1e6}
            for n in range(moves)
        ],
        "departures": [
            {"key": "DCIM/\x1b[2JCLIP\u202e.MP4", "confirmed": 1, "length": None, "rate": None} for _ in range(moves)
        ],
        "problems": [
            repair("room.full", "problem", "room", f"the spool is full {n}", "Wait.") for n in range(problems)
        ],
    }


def docked(bays: int = 60) -> dict[str, Any]:
    """Bays in every state, many of them."""
    states = ("copying", "safe", "charging", "help", "do_not_remove", "empty")
    progress = {"captures": 1, "done": 30, "length": 60, "rate": 2e6}
    return {
        "bays": [
            {
                "name": f"bay-{n:02}",
                "state": states[n % 6],
                "device": {"id": f"usb:{n}", "model": "BWC\x1b[2J", "serial": f"{n}"},
                "detail": "no byte has come" if n % 6 == 3 else None,
                "copying": progress if n % 6 == 0 else None,
            }
            for n in range(bays)
        ],
        "others": [],
    }


CAPTURES = [
    {"id": f"{n:08}-x", "key": f"DCIM/CLIP{n}.MP4", "length": n << 20, "receipt": None, "standing": "held"}
    for n in range(10)
]


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (200, 60), (20, 3), (80, 1)])
def test_it_fits_and_tells_the_worst_first(size: tuple[int, int]) -> None:
    width, height = size
    pictures = [
        picture(what, CAPTURES, docked(), width=width, height=height)
        for what in (told(), told(0, 0, 0), told(1, 1, 1), told(problems=50))
    ]
    for one in (*pictures, no_picture("no daemon answers: " * 20, "Start it.", width=width, height=height)):
        lines = [text.plain for text in one]
        assert len(lines) <= height
        assert all(cell_len(line) <= width and line.isprintable() for line in lines), lines


def test_what_matters_is_there_at_80_by_24() -> None:
    lines = "\n".join(text.plain for text in picture(told(), CAPTURES, docked(), width=80, height=24))
    for word in (
        "dock-0042",
        "DOWN, again in 17 s",
        "1234 captures",
        "full in 6 h",
        "the spool is full 0",
        "HELP",
        "10 bays empty",
    ):
        assert word in lines
    for title, number in (("DOCK", 50), ("UNDER WAY", 80)):
        assert f"{title}  {number}" in lines
        assert re.search(r"… and \d+ more", lines)
    assert "\x1b" not in lines


def test_bars_and_cuts() -> None:
    assert len(bar(5, 10, 8)) == 8
    assert bar(5, None, 8) == " " * 8
    assert len(set(bar(10, 10, 8))) == len(set(bar(99, 10, 8))) == 1
    assert clipped("a long name", 6) == "a lon…"
    assert clipped("短い名前です", 5) == "短い…"


def test_one_look_without_a_terminal(evidock: Evidock, dock: Dock) -> None:
    shown = evidock("--config", dock.config, "watch", "--once")
    assert shown.code == 0
    running = evidock("--config", dock.config, "status", "--json").json["running"]
    assert ("no daemon answers" in shown.out) is not running
    assert evidock("--config", dock.config, "watch").code == Refusal.exit_code


def test_a_terminal_that_cannot_be_painted(evidock: Evidock, still: Dock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would be seen on it, for ever."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("agent.cli.watch.console", lambda: Console(force_terminal=True))
    watched = evidock("--config", still.config, "watch")
    assert watched.code == Refusal.exit_code
    assert "that can be painted" in watched.err
    assert evidock("--config", still.config, "watch", "--once").code == 0


def test_on_a_real_terminal_until_q(running: Dock) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    for name in ("COLUMNS", "LINES", "CI"):
        environment.pop(name, None)
    words = [sys.executable, "-m", "agent.cli", "--config", str(running.config), "watch", "--every", "0.2"]
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    try:
        seen = _until(ours, b"LAST TAKEN")
        assert b"dock-1 of example.org" in seen
        assert b"\x1b[?1049h" in seen, "on a screen of its own"
        for keys in (b"\x1b[A", b"\x1bOq", b"\x1b[1;5C", b"\x1b"):  # arrows, a keypad, Escape: no end
            os.write(ours, keys)
            _until(ours, b"LAST TAKEN")
        assert process.poll() is None
        os.write(ours, b"\x1b[Bq")
        _until(ours, b"\x1b[?1049l")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _until(terminal: int, wanted: bytes) -> bytes:
    seen, ends = b"", time.monotonic() + 30
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], 1)
        if ready:
            seen += os.read(terminal, 65536)
        assert time.monotonic() < ends, seen
    return seen
