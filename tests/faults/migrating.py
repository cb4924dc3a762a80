"""A process that brings journals forwards, each in a child of its own that dies where it is told to.

A line `FAULT<tab>PATH<tab>TOLD`; the answer is the child's exit code, -9 where it was killed. The fault is that of
evidock_faults.c, and TOLD gets how many calls were made where it is `none`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path


def main() -> None:
    """Until its input ends."""
    from agent.journal.database import open_database  # noqa: PLC0415 - once, before anything is forked

    library = ctypes.CDLL(None)
    for line in sys.stdin:
        fault, path, counts = line.rstrip("\n").split("\t")
        if (pid := os.fork()) == 0:
            if counts:
                os.environ["EVIDOCK_FAULT_COUNTS"] = counts
            library.evidock_fault(fault.encode())
            open_database(Path(path)).close()
            library.evidock_end()
            os._exit(0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
