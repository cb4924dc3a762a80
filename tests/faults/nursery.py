"""A process that has imported everything and forks one daemon for each line that it reads: a start costs no imports.

What comes with the program is read once for all: its code, the digest over it, what is installed, layouts of volumes.

    {"config": "agent.toml", "words": "log", "fault": "", "counts": "", "told": "", "straight": false}
                                                                        ->  the pid of the new daemon
    {"wait": pid}                                                       ->  its exit code, -9 after SIGKILL

It ends with its standard input, and its daemons with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
from functools import cache
from pathlib import Path

PR_SET_PDEATHSIG = 1
WINDOW = "released"
"""This fault is a SIGKILL after a device has forgotten a capture, and before its entry is written."""


def daemon(config: Path, words: str, fault: str, counts: str, told: str) -> int:
    from agent.config import load  # noqa: PLC0415
    from agent.daemon import Agent  # noqa: PLC0415
    from agent.errors import AgentError  # noqa: PLC0415
    from agent.journal import Journal  # noqa: PLC0415

    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    log = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        agent = Agent(load(config))
        if fault == WINDOW:
            Journal.release = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        elif fault:
            os.environ |= {"EVIDOCK_FAULT": fault, "EVIDOCK_FAULT_COUNTS": counts or "/dev/null"}
            os.environ |= {"EVIDOCK_FAULT_TOLD": told or "/dev/null"}  # the program that deletes has the same fault
            libc.evidock_fault(fault.encode())
        asyncio.run(agent.run())
    except AgentError as error:
        print(repr(error), file=sys.stderr, flush=True)  # noqa: T201
        return error.exit_code
    except BaseException:  # noqa: BLE001 - as the interpreter would
        import traceback  # noqa: PLC0415

        traceback.print_exc()
        return 70
    finally:
        if counts:
            libc.evidock_end()
    return 0


def main() -> None:
    import agent.daemon  # noqa: PLC0415
    import agent.journal.entry  # noqa: PLC0415
    import agent.registry  # noqa: PLC0415
    import agent.uplink.tus  # noqa: PLC0415
    import drivers.body_worn.usb_volume  # noqa: F401, PLC0415
    from firmware_specs.formats.layout import layouts  # noqa: PLC0415
    from tests.faults.straight import by_threads  # noqa: PLC0415

    agent.journal.entry.build_digest()  # once for all, as it is once for each start
    agent.registry.installed = cache(agent.registry.installed)
    for group in (agent.registry.DRIVERS, agent.registry.UPLINKS):
        agent.registry.installed(group)
    if os.environ.get("EVIDOCK_FORKED"):
        sys.path.insert(0, str(Path(__file__).parent))
        import forking  # noqa: PLC0415 - beside this file

        forking.install()
    layouts()
    gc.freeze()  # what is loaded is not looked through again in each daemon
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        elif (answer := os.fork()) == 0:
            if order["straight"]:
                by_threads()
            config, words, fault, counts, told = (order[key] for key in ("config", "words", "fault", "counts", "told"))
            os._exit(daemon(Path(config), words, fault, counts, told))
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
