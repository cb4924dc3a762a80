"""In a machine: a commit whose fsync failed, a start on the same machine after it, and what of all that is on the disk.

    python -m tests.faults.guest.lost_commit FILE_SYSTEM kill|close

Tells how many entries the journal had when it was promised, and how many it has once memory forgets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agent.clock import Clock
from agent.errors import JournalError
from agent.journal import Event, Journal
from tests.faults.guest.ill import TOP, extents, room_for_bytes, table
from tests.faults.guest.mapper import create, prepare, sectors, take_up

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = "edge.example.org/dock-1/log1"


def opened() -> Journal:
    return Journal.open(TOP / "journal.db", log=LOG, stamp=Clock().stamp)


def life(work: Callable[[Journal], None]) -> None:
    """A process that does this; as often as it takes until it can open the journal, as systemd would."""
    for _ in range(3):
        if (pid := os.fork()) == 0:
            with suppress(JournalError):
                journal = opened()
                work(journal)
                print("COMMITTED", json.dumps(journal.leaves.size), flush=True)  # noqa: T201
                os._exit(0)
            os._exit(1)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
            return


def five(journal: Journal) -> None:
    """So many commits."""
    for number in range(5):
        with journal.transaction():
            journal.record(Event.AGENT_STARTED, {"number": number})


def main() -> None:
    """Do it."""
    file_system, how = sys.argv[1], sys.argv[2]
    size = sectors("/dev/ubda")
    TOP.mkdir()
    subprocess.run(["mount", "-t", file_system, create("fl", table([], size)), str(TOP)], check=True)
    well = table([], size)

    def fails(journal: Journal) -> None:
        five(journal)
        os.sync()
        log = TOP / "journal.db-wal"
        prepare("fl", table(sorted([*room_for_bytes(), *extents(log)]), size))  # where it lies, and where it may grow
        take_up("fl")
        prepare("fl", well)
        try:
            with journal.transaction():
                journal.record(Event.AGENT_STARTED, {"number": "lost"})
        except JournalError:
            print("FAILED", 1, flush=True)  # noqa: T201
        if how == "close":
            with suppress(Exception):
                journal.close()
        take_up("fl")
        os._exit(0)

    life(five)
    life(fails)
    life(five)
    Path("/proc/sys/vm/drop_caches").write_text("3")
    print("ON-DISK", json.dumps(opened().leaves.size), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
