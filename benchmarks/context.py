"""Joins by device and time in a journal of a hundred thousand captures and a million positions, each by index.

    python -m benchmarks.context [--captures N] [--positions N]

One car with ten cameras, a minute each, for as long as it takes; positions ten times a second; a trigger, an assignment
and an incident now and then. Single captures are looked at then, late words are told, and the plan of every query of a
look is checked: none may read a table from end to end.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from blake3 import blake3

from agent.capture import Capture, Device, Digest, Observation, Parts
from agent.clock import Clock
from agent.context import ContextOptions
from agent.joining.assigning import assign
from agent.joining.joins import look
from agent.joining.touched import tell, touch_by_positions
from agent.journal import Journal, batches, queries
from agent.journal.verify import Verification

if TYPE_CHECKING:
    from collections.abc import Callable

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
CAMERAS = 10
OPTIONS = ContextOptions.model_validate(
    {
        "vehicle": [{"name": "car-17", "devices": ["in_car:*", "gnss:*", "dock:*"]}],
        "trigger": [{"kind": "vehicle.light_bar", "before": "30 s", "after": "2 min", "priority": "flagged"}],
    }
)


def fill(journal: Journal, captures: int, positions: int) -> None:
    """Captures, positions in batches of a hundred, triggers, assignments, incidents; nothing is looked at yet."""
    minutes = captures // CAMERAS
    for first in range(0, captures, 1000):
        with journal.transaction():
            for number in range(first, min(captures, first + 1000)):
                began = BEGAN + timedelta(minutes=number // CAMERAS)
                device = Device(f"in_car:{number % CAMERAS}", "in_car", "car", serial=f"S-{number % CAMERAS}")
                claims = {"media": {"duration": "60.000"}}
                raw = str(number).encode()
                digest = Digest(sha256(raw).digest(), blake3(raw).digest(), len(raw))
                journal.hold(Capture(device, f"{number}", began, len(raw), claims=claims), digest, Parts())
    every = timedelta(minutes=minutes) / (positions // 100)
    for first in range(0, positions // 100, 100):
        with journal.transaction():
            for number in range(first, min(positions // 100, first + 100)):
                at = BEGAN + every * number
                rows = [
                    {
                        "detail": {"fix": 3, "latitude": f"{42 + tenth / 1e6:.7f}", "longitude": "-81.2453000"},
                        "heard_at": (at + timedelta(seconds=tenth / 10)).isoformat(),
                        "observed_at": (at + timedelta(seconds=tenth / 10)).isoformat(),
                    }
                    for tenth in range(100)
                ]
                batches.keep(journal, "gnss:1", rows, at, at + timedelta(seconds=10))
    with journal.transaction():
        for hour in range(minutes // 60):
            at = BEGAN + timedelta(hours=hour)
            for minute, on in ((20, True), (25, False)):
                told = Observation("dock:1", "vehicle.light_bar", at + timedelta(minutes=minute), {"on": on})
                tell(journal, OPTIONS, told)
            if hour % 8 == 0:
                asked = {"device": "car-17", "unit": "B12", "from": at.isoformat()}
                assign(journal, OPTIONS, asked, actor="bench", why="shift")
            for camera in range(CAMERAS):
                asked = {"device": f"S-{camera}", "officer": f"{4000 + hour % 50}", "from": at.isoformat()}
                if hour % 8 == 0:
                    assign(journal, OPTIONS, asked, actor="bench", why="shift")
            detail = {"incident": f"2026-{hour:06d}", "unit": "B12", "id": str(hour), "from": at.isoformat()}
            detail["until"] = (at + timedelta(minutes=30)).isoformat()
            tell(journal, OPTIONS, Observation("cad:bench", "incident", at, detail))


def measured(times: int, act: Callable[[], object]) -> str:
    """Median and range in milliseconds, and those of the processor."""
    took, worked = [], []
    for _ in range(times):
        begin, work = perf_counter(), process_time()
        act()
        took.append((perf_counter() - begin) * 1000)
        worked.append((process_time() - work) * 1000)
    each = f"{statistics.median(took):.2f} ms ({min(took):.2f} to {max(took):.2f}; {times})"
    return f"{each}, processor {statistics.median(worked):.2f} ms"


def plans(journal: Journal) -> list[str]:
    """Queries of one look that read a table of ours from end to end: there must be none."""
    found: list[str] = []

    def trace(_: object, sql: str, bindings: object) -> bool:
        if sql.lstrip().upper().startswith(("SELECT", "WITH")):
            seen.append((sql, bindings))
        return True

    seen: list[tuple[str, object]] = []
    connection = journal.connection
    connection.exec_trace = trace
    with journal.transaction():
        look(journal, OPTIONS, 500)
    connection.exec_trace = None
    for sql, bindings in seen:
        for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings):  # type: ignore[call-overload]
            detail = str(row[3])
            if (
                detail.startswith("SCAN")
                and "VIRTUAL TABLE" not in detail
                and any(
                    detail.split()[1] == table
                    for table in ("fact", "f", "batch", "span", "s", "entry", "capture", "word")
                )
            ):
                found.append(f"{detail}: {sql[:80]}")
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captures", type=int, default=100_000)
    parser.add_argument("--positions", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.open(Path(folder) / "journal.db", log="edge.example.org/bench/log1", stamp=Clock().stamp)
        begin = perf_counter()
        fill(journal, asked.captures, asked.positions)
        print(f"{asked.captures} captures, {asked.positions} positions: filled in {perf_counter() - begin:.0f} s")
        waiting = journal.connection.execute("SELECT count(*) FROM unsettled").get
        size = (Path(folder) / "journal.db").stat().st_size
        print(f"{waiting} captures wait for a look; the journal has {size / 1e6:.0f} MB")
        print("scans:", plans(journal) or "none")
        chance = random.Random(7)  # noqa: S311 - which captures are looked at

        def one() -> None:
            with journal.transaction():
                look(journal, OPTIONS, chance.randrange(1, asked.captures))

        print("look at one capture, commit included:", measured(500, one))
        rows = [chance.randrange(1, asked.captures) for _ in range(2000)]
        begin, work_ = perf_counter(), process_time()
        with journal.transaction():
            for row in rows:
                look(journal, OPTIONS, row)
        each = (perf_counter() - begin) / 2, (process_time() - work_) / 2
        print(f"look at 2000 captures in one commit: {each[0]:.2f} ms each, processor {each[1]:.2f} ms")

        def late() -> None:
            at = BEGAN + timedelta(minutes=chance.randrange(asked.captures // CAMERAS))
            asked_ = {"device": "S-3", "officer": f"{chance.random()}", "from": at.isoformat()}
            asked_["until"] = (at + timedelta(hours=1)).isoformat()
            with journal.transaction():
                assign(journal, OPTIONS, asked_, actor="bench", why="late")

        print("a late assignment of an hour, 60 captures touched:", measured(200, late))

        def positions() -> None:
            at = BEGAN + timedelta(minutes=chance.randrange(asked.captures // CAMERAS))
            interval = (at, at + timedelta(seconds=10))
            with journal.transaction():
                touch_by_positions(journal, OPTIONS, "gnss:1", interval, timedelta(seconds=20))

        print("a batch of positions, captures of ten cameras touched:", measured(200, positions))
        wanted = queries.Search(officer="4007")
        print("find by officer, a page of 100:", measured(50, lambda: queries.listing(journal, replace(wanted))))
        begin, work = perf_counter(), Verification(journal)
        while not work.done:
            work.step(journal)
        print(f"verify: {perf_counter() - begin:.0f} s, {work.report().problems or 'no problems'}")
        journal.close()


if __name__ == "__main__":
    main()
