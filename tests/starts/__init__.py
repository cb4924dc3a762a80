"""Processes that tests start as `python -m MODULE`, forked from one that has loaded everything: no start costs imports.

What runs in them is the same code, with the words, folder, environment, files and signals that the test gave. They are
children of the test's process like all others. A test marked `fresh` gets new interpreters; so does whoever gives one
other options, or another environment for Python itself. See server.py for the other side.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import Any

from agent.testing.process import BARE

MODULES = frozenset(
    {"agent.cli", "agent.releaser", "agent.testing.dems", "drivers.alpr.hotlist.building", "tests.cli.another"}
)
CODES = frozenset({BARE[2]})
PYTHONS_OWN = ("PYTHON", "LD_", "LC_", "LANG")
"""Variables that Python reads when it starts begin like this."""
WRITES_NOTHING = "PYTHONDONTWRITEBYTECODE"
"""Of these the one that makes no difference to what is loaded already."""
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""
_new = subprocess.Popen._execute_child
_shape = inspect.signature(_new)
_NONE = {"preexec_fn": None, "pass_fds": (), "gid": None, "gids": None, "uid": None, "umask": -1, "process_group": -1}


class Server:
    """The process that is forked. It starts when it is first asked, and ends with this one."""

    def __init__(self) -> None:
        self._asking: socket.socket | None = None
        self._lock = Lock()
        self._libc = ctypes.CDLL(None)
        self._environment = own(os.environ)

    def like_us(self, env: dict[str, str] | None) -> bool:
        """Whether Python would start in this environment as the server did."""
        return own(os.environ if env is None else env) == self._environment

    def fork(self, order: dict[str, Any], files: list[int]) -> int:
        """The pid of a child of this process that does it."""
        with self._lock:
            asking = self._asking = self._asking or self._started()
            self._libc.prctl(SUBREAPER, 1, 0, 0, 0)  # its parent goes away at once: it is ours then
            try:
                said = json.dumps(order).encode()
                socket.send_fds(asking, [len(said).to_bytes(8)], files)
                asking.sendall(said)
                answer = asking.recv(8, socket.MSG_WAITALL)
            finally:
                self._libc.prctl(SUBREAPER, 0, 0, 0, 0)
            assert len(answer) == 8, "the process that is forked has ended"
            return int.from_bytes(answer)

    @staticmethod
    def _started() -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            words = [sys.executable, "-m", "tests.starts.server", str(theirs.fileno())]
            process = subprocess.Popen(
                words, cwd=Path(__file__).parents[2], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        process.returncode = 0  # it ends when we do: nobody waits for it
        return ours


def own(environment: Any) -> dict[str, str]:  # noqa: ANN401 - os.environ, or a dict
    told = ((name, value) for name, value in environment.items() if name.startswith(PYTHONS_OWN))
    return {name: value for name, value in told if name != WRITES_NOTHING}


SERVER = Server()
FORKING = True
"""Whether anything is: see `fresh` in tests/conftest.py."""


def forkable(words: list[str]) -> bool:
    """Whether this is a start that the server knows."""
    if len(words) < 3 or words[0] != sys.executable:
        return False
    return (words[1] == "-m" and words[2] in MODULES) or (words[1] == "-c" and words[2] in CODES)


def _start(self: Any, *given: Any, **named: Any) -> None:  # noqa: ANN401 - as subprocess calls it
    said = _shape.bind(self, *given, **named).arguments
    plain = not said["shell"] and all(said.get(name, value) == value for name, value in _NONE.items())
    words = [os.fsdecode(word) for word in said["args"]] if plain and not isinstance(said["args"], str) else []
    if not (FORKING and forkable(words) and SERVER.like_us(said["env"])):
        _new(self, *given, **named)
        return
    pipes = [said[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")]
    order = {
        "words": words[1:],
        "cwd": os.fsdecode(said["cwd"] or Path.cwd()),
        "env": {os.fsdecode(name): os.fsdecode(value) for name, value in (said["env"] or os.environ).items()},
        "session": bool(said["start_new_session"]),
    }
    theirs = zip((pipes[0], pipes[3], pipes[5]), range(3), strict=True)
    self.pid = SERVER.fork(order, [number if number != -1 else ours for number, ours in theirs])
    self._child_created = True
    self._close_pipe_fds(*pipes)


def install() -> None:
    """From now on in this process."""
    subprocess.Popen._execute_child = _start  # type: ignore[attr-defined]
