"""The process that has loaded everything, and is forked for each start: see __init__.py.

    python -m tests.starts.server FD

On the socket FD, again and again: the length of an order in 8 bytes, and with them stdin, stdout and stderr; then the
order as JSON. The answer is a pid, in 8 bytes.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

FIRST_FREE = 3
LEFT_UNWRITTEN = 120
"""Exit code of a Python that could not write its last words."""


def load() -> None:
    """All that a daemon, a command or an emulated DEMS imports, but the families that few stations have."""
    import agent.cli.lean  # noqa: PLC0415 - the first: what is imported later finds no terminal
    from agent.cli import COMMANDS, loaded  # noqa: PLC0415

    for command in COMMANDS:
        loaded(command)
    import agent.daemon  # noqa: PLC0415
    import agent.journal.entry  # noqa: PLC0415
    import agent.registry  # noqa: PLC0415
    import agent.station.acts  # noqa: PLC0415
    import agent.testing.dems.process  # noqa: PLC0415
    import agent.uplink.tus  # noqa: PLC0415
    import drivers.body_worn.usb_volume  # noqa: F401, PLC0415
    from firmware_specs.formats.layout import layouts  # noqa: PLC0415

    for program in ("agent.releaser", "drivers.alpr.hotlist.building"):
        import_module(program)  # for what it imports
        del sys.modules[program]  # as `python -m` finds it
    agent.journal.entry.build_digest()  # once for all, as it is once for each start
    entry_points()  # what it finds is kept by Python
    layouts()


def live(order: dict[str, Any], files: list[int]) -> int:
    """What the interpreter does, from its first line to its exit code."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(FIRST_FREE, min(1 << 20, os.sysconf("SC_OPEN_MAX")))
    if order["session"]:
        os.setsid()
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    way, what, *words = order["words"]
    sys.path[0], sys.argv = order["cwd"], [way, *words]
    code = 0
    try:
        if way == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(what, {"__name__": "__main__"})  # noqa: S102 - what `python -c` does
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        if not isinstance(ended.code, int | None):
            print(ended.code, file=sys.stderr)  # noqa: T201
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        return LEFT_UNWRITTEN
    return code & 0xFF


def forked(asked: socket.socket, order: dict[str, Any], files: list[int]) -> int:
    """Fork twice: the process between ends at once, so that the last one becomes a child of whoever asked."""
    reading, writing = os.pipe()
    if (between := os.fork()) == 0:
        if pid := os.fork():
            os.write(writing, pid.to_bytes(8))
            os._exit(0)
        code = 70
        try:
            asked.detach()
            code = live(order, files)
        finally:
            os._exit(code)
    os.waitpid(between, 0)
    pid = int.from_bytes(os.read(reading, 8))
    os.close(reading)
    os.close(writing)
    return pid


def main() -> None:
    asked = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: whoever asks decides
    load()
    gc.collect()
    gc.freeze()  # what is loaded is not looked through again in each fork
    while True:
        said, files, _, _ = socket.recv_fds(asked, 8, FIRST_FREE, socket.MSG_WAITALL)
        if not said:
            return
        order = json.loads(asked.recv(int.from_bytes(said), socket.MSG_WAITALL))
        pid = forked(asked, order, files)
        for file in files:
            os.close(file)
        asked.sendall(pid.to_bytes(8))


if __name__ == "__main__":
    main()
