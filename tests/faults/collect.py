"""`make faults`: run the parts of the fault lab one after another, and write docs/fault-report.md of what was reached.

    python -m tests.faults.collect [--only NAME]... [--seed N] [--minutes N] [--report FILE]

What each part reached last is kept in .faults: with --only the others keep their figures, each under its own date and
commit. As long as a part was never run, the report goes to the terminal alone.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from benchmarks.versions import commit
from tests.faults.paper import Outcome, keep, kept, paper, read_lines, read_results
from tests.faults.parts import PARTS, WHOLE, Part

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "docs" / "fault-report.md"
KEPT = ROOT / ".faults"
LEAST = 45
"""Seconds that a part gets, however short the whole is."""
GRACE = 20
"""Seconds before its end in which a part finishes what it is at."""


def say(line: str) -> None:
    """Tell whoever waits."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(part: Part, seed: int) -> Outcome:
    """Run one part, and end it where it does not end."""
    began, cut_off = time.time(), False
    outcome = Outcome(
        part, 0, 0, {}, seed=seed, tree=commit(), began=time.strftime("%Y-%m-%d %H:%M", time.gmtime(began))
    )
    # Short names: a station's socket lies deep below, and its path may have 107 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="ef-") as folder:
        results, lines = Path(folder) / "results.xml", Path(folder) / "lines.jsonl"
        command = [sys.executable, "-m", "pytest", "-q", "-o", "faulthandler_timeout=0", f"--junitxml={results}"]
        command += [
            f"--basetemp={folder}/p",
            *(("-n", f"{part.workers}") if part.workers > 1 else ()),
            *part.tests,
        ]
        environment = {
            **{name: value for name, value in os.environ.items() if name != "CI"},
            "EVIDOCK_FAULTS_LONG": "1",
            "EVIDOCK_FAULT_SEED": f"{seed}",
            "EVIDOCK_FAULT_REPORT": str(lines),
            "EVIDOCK_FAULT_UNTIL": f"{began + part.seconds - GRACE}",
            **part.environment,
        }
        # A group of its own: what does not end is ended with everything that it started, and nothing else is.
        process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
        try:
            process.wait(part.seconds + 3 * GRACE)
        except BaseException as error:
            _end(process)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            cut_off = True
        return replace(
            outcome,
            code=process.returncode,
            seconds=time.time() - began,
            tests=read_results(results),
            cut_off=cut_off,
            lines=read_lines(lines),
            load=round(os.getloadavg()[1], 1),
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """So that it still writes what it found, where it can."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGINT)
        process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main() -> int:
    """Run what is asked for; 1 where something is red."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", action="append", choices=[part.name for part in PARTS], metavar="NAME")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument(
        "--minutes", type=float, default=WHOLE / 60, help="all parts together take as long (%(default)g)"
    )
    asked.add_argument("--report", type=Path)
    wanted = asked.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with what it started
    share = wanted.minutes * 60 / WHOLE
    chosen = [
        replace(part, seconds=max(LEAST, round(part.seconds * share)))
        for part in PARTS
        if not wanted.only or part.name in wanted.only
    ]
    for part in chosen:
        say(f"--- {part.name}: at most {part.seconds} s")
        keep(KEPT, run(part, wanted.seed))
    outcomes = kept(KEPT)
    told = paper(outcomes)
    if (place := wanted.report or (REPORT if len(outcomes) == len(PARTS) else None)) is None:
        say(told.text)
    else:
        place.write_text(told.text, encoding="utf-8")
        say(f"written: {place}")
    for line in told.red:
        say(f"RED: {line}")
    return 1 if told.red else 0


if __name__ == "__main__":
    sys.exit(main())
