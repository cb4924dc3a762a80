"""Coverage-guided fuzzing with atheris: `python -m tests.formats.fuzz [NAME ...] --count N --seconds S` (make fuzz).

Each parser runs in a process of its own, from its seeds on: for a tenth of its time guided by what an input reaches,
and then, some ten times as fast, with whatever was kept bent blindly (`havoc.py`). What is no value and no `SpecError`,
takes more than ten seconds or more than a gigabyte is written to `found/`, where the tests read it again for ever. A
line for each parser says how many inputs it was given; docs/fuzzed.json sums them up, for the report of the fault lab.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.formats.parsers import Parser

FOUND = Path(__file__).parent / "found"
CORPUS = Path(os.environ.get("EVIDOCK_CORPUS", ".fuzz/corpus"))
"""What the fuzzer found worth keeping: the next run goes on from there."""

LEDGER = Path(os.environ.get("EVIDOCK_FUZZ_LEDGER", Path(__file__).parents[2] / "docs" / "fuzzed.json"))
"""How much each parser was given so far, by whomever: whoever runs this adds to it."""

GUIDED = 1 / 10
"""Of the time of a parser. What it keeps is there for the next run, which goes on from it."""


def enter(name: str, done: int, guided: int, took: float, found: int) -> None:
    """Add a run to the ledger."""
    with LEDGER.open("a+", encoding="utf-8") as ledger:
        fcntl.flock(ledger, fcntl.LOCK_EX)
        ledger.seek(0)
        sums = json.loads(ledger.read() or "{}")
        ran = {"inputs": done, "guided": guided, "seconds": round(took), "broke": found}
        sums[name] = {what: number + sums.get(name, {}).get(what, 0) for what, number in ran.items()}
        sums[name]["last"] = time.strftime("%Y-%m-%d", time.gmtime())
        ledger.truncate(0)
        ledger.write(json.dumps(sums, indent=1, sort_keys=True) + "\n")


def worker(name: str, arguments: list[str]) -> None:
    """Give one parser whatever libFuzzer makes up. Does not return."""
    import atheris  # noqa: PLC0415 - not in the lock: `make fuzz` brings it

    with atheris.instrument_imports(include=["firmware_specs"]):
        from tests.formats.parsers import PARSERS  # noqa: PLC0415 - imported here, it is watched
    parser = PARSERS[name]

    def one(data: bytes) -> None:
        parser.accepts(data)

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def run(name: str, parser: Parser, count: int, seconds: int) -> tuple[int, int, list[Path]]:
    """(inputs, those of them that were guided, what was found) of one parser."""
    corpus = CORPUS / name.replace(" ", "_")
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = list(parser.corpus())
    for seed in seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    longest = max(4096, *(len(seed) for seed in seeds))
    began, found = time.monotonic(), list[Path]()
    guided = guide(name, corpus, longest, count, began + seconds * GUIDED, found)
    blind = 0 if found else havoc(name, corpus, count - guided, began + seconds, found)
    return guided + blind, guided, found


def guide(name: str, corpus: Path, longest: int, count: int, ends: float, found: list[Path]) -> int:
    """How many inputs the guided fuzzer made before `ends`."""
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        while done < count and (left := ends - time.monotonic()) > 1:
            limits = [f"-runs={count - done}", f"-max_total_time={int(left)}", f"-max_len={longest}"]
            limits += ["-timeout=10", "-rss_limit_mb=1024", f"-artifact_prefix={folder}/", "-print_final_stats=1"]
            command = [sys.executable, "-m", "tests.formats.fuzz", "--worker", name, *limits, str(corpus)]
            ended = subprocess.run(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, check=False)
            said = ended.stderr.decode("utf-8", "replace")
            counted = re.search(r"stat::number_of_executed_units: (\d+)", said)
            done += int(counted[1]) if counted else 0
            broken = list(Path(folder).iterdir())
            found += [keep(name, path, said) for path in broken]
            if broken or ended.returncode:
                if not broken:
                    sys.stdout.write(said[-3000:])
                break
    return done


def havoc(name: str, corpus: Path, count: int, ends: float, found: list[Path]) -> int:
    """How many inputs were bent blindly before `ends`."""
    if count <= 0 or (left := ends - time.monotonic()) < 1:
        return 0
    seed = time.time_ns() % 1_000_000
    limits = ["--count", f"{count}", "--seconds", f"{left:.0f}", "--seed", f"{seed}"]
    command = [sys.executable, "-m", "tests.formats.havoc", name, str(corpus), *limits]
    ended = subprocess.run(command, capture_output=True, check=False, text=True)
    if (broke := corpus.parent / f"broke-{corpus.name}").exists():
        found.append(keep(name, broke, ended.stderr))
    elif ended.returncode:
        sys.stdout.write(ended.stderr[-3000:])
    return int(ended.stdout or 0)


def keep(name: str, path: Path, said: str) -> Path:
    """Move what broke a parser to where the tests read it again, and say so."""
    kept = FOUND / f"{name.replace(' ', '_')}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    shutil.move(path, kept)
    sys.stdout.write(said[-3000:] + f"\nkept as {kept}\n")
    return kept


def main() -> int:
    """Fuzz the parsers named, or all."""
    if "--worker" in sys.argv:
        worker(sys.argv[2], sys.argv[3:])
    from tests.formats.parsers import PARSERS  # noqa: PLC0415 - see above

    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(PARSERS)}")
    asked.add_argument("--count", type=int, default=100_000, help="inputs for each parser (%(default)s)")
    asked.add_argument("--seconds", type=int, default=600, help="at most so long for each parser (%(default)s)")
    wanted = asked.parse_args()
    broken = 0
    for name in wanted.names or PARSERS:
        began = time.monotonic()
        done, guided, found = run(name, PARSERS[name], wanted.count, wanted.seconds)
        took = time.monotonic() - began
        broken += len(found)
        enter(name, done, guided, took, len(found))
        sys.stdout.write(
            f"{name:16} {done:>12,} inputs, {guided:>11,} of them guided {took:7.0f} s {done / took:>9,.0f}/s  "
            f"{len(found)} broke it\n"
        )
        sys.stdout.flush()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
