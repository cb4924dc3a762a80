"""Programs that the daemon starts for itself, forked from what is loaded instead of started anew.

Each is a Python of its own, and starting one takes longer than a short capture's whole life. What runs in it is the
same code, with its own pipes, its own limits and its own fault.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
from typing import Any

FIRST_FREE = 3
_started = subprocess.Popen._execute_child


def _module(words: list[str]) -> str | None:
    if words[0] == sys.executable and "-m" in words:
        return words[words.index("-m") + 1]
    return None


def _run(module: str, arguments: list[str]) -> None:
    sys.argv = [module, *arguments]
    if module == "agent.releaser":
        from agent.releaser import main  # noqa: PLC0415 - loaded before
    else:
        from agent.reading.worker import main  # noqa: PLC0415 - loaded before

        resource.setrlimit = lambda *_: None  # of a process that has everything loaded, 512 MB are too few
    main()


def _fork(  # noqa: PLR0913, PLR0917 - as subprocess calls it
    self: Any,  # noqa: ANN401
    args: list[str],
    executable: object,
    preexec_fn: object,
    close_fds: object,
    pass_fds: object,
    cwd: object,
    env: object,
    startupinfo: object,
    creationflags: object,
    shell: object,
    p2cread: int,
    p2cwrite: int,
    c2pread: int,
    c2pwrite: int,
    errread: int,
    errwrite: int,
    *more: object,
) -> None:
    words = [str(word) for word in args]
    if _module(words) not in ("agent.releaser", "agent.reading.worker"):
        ends = p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite
        _started(
            self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
            *ends, *more,
        )  # fmt: skip
        return
    module = words[words.index("-m") + 1]
    self.pid = os.fork()
    if self.pid == 0:
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.dup2(p2cread, 0)
            os.dup2(c2pwrite, 1)
            os.closerange(FIRST_FREE, min(1 << 20, os.sysconf("SC_OPEN_MAX")))
            sys.stdin, sys.stdout = os.fdopen(0, "r", closefd=False), os.fdopen(1, "w", closefd=False)
            if fault := os.environ.get("EVIDOCK_FAULT"):
                ctypes.CDLL(None).evidock_fault(fault.encode())
            _run(module, words[words.index("-m") + 2 :])
            sys.stdout.flush()
        finally:
            if os.environ.get("EVIDOCK_FAULT_COUNTS"):
                ctypes.CDLL(None).evidock_end()
            os._exit(0)
    self._child_created = True
    self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def install() -> None:
    """From now on in this process and those that it forks. What they need is loaded now."""
    import agent.reading.worker  # noqa: PLC0415
    import agent.releaser  # noqa: F401, PLC0415

    subprocess.Popen._execute_child = _fork
