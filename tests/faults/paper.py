"""docs/fault-report.md as text, made of nothing but what the parts of one run reported."""

from __future__ import annotations

import json
import os
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.faults.parts import PARTS, ROWS, Part

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HEAD = """\
# What the fault lab reached

Written by `make faults`, never by hand. Each line is one figure of one run: how many cases were asked for, how many
were reached, and how many of these broke a promise. After each case journal, spool, stage, device and DEMS were
compared: nothing lost, nothing doubled, nothing torn, nothing released without proof. `make test` runs a short form.
"""


@dataclass
class Outcome:
    """How one part ended."""

    part: Part
    code: int
    seconds: float
    tests: dict[str, tuple[str, str]]
    """Name of each test: `passed`, `failed` or `skipped`, and why."""
    cut_off: bool = False

    def named(self, kind: str) -> list[tuple[str, str]]:
        """Tests that ended so, and why."""
        return [(name, why) for name, (ended, why) in self.tests.items() if ended == kind]


@dataclass
class Figure:
    """All lines of one row and one `what`."""

    asked: int = 0
    reached: int = 0
    violations: int = 0
    seconds: float = 0.0
    seeds: set[str] = field(default_factory=set)
    details: Counter[str] = field(default_factory=Counter)


@dataclass
class Paper:
    """The report, and what is red in it."""

    text: str
    red: list[str]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """What the parts reported."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_results(path: Path) -> dict[str, tuple[str, str]]:
    """What became of each test, from pytest's own file; nothing where it wrote none."""
    if not path.exists():
        return {}
    found: dict[str, tuple[str, str]] = {}
    for case in ET.parse(path).iter("testcase"):  # noqa: S314 - pytest's file, written a moment ago
        ended, why = "passed", ""
        for child in case:
            if child.tag in ("failure", "error"):
                ended, why = "failed", (child.get("message") or "").split("\n")[0]
            elif child.tag == "skipped" and ended == "passed":
                ended, why = "skipped", (child.get("message") or "").split("\n")[0]
        found[f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"] = (ended, why)
    return found


def figures(lines: Iterable[dict[str, Any]]) -> dict[tuple[int, str], Figure]:
    """Sums by row and name, in the order in which they were first told."""
    found: dict[tuple[int, str], Figure] = {}
    for line in lines:
        one = found.setdefault((line["row"], line["what"]), Figure())
        one.asked += line["asked"]
        one.reached += line["reached"]
        one.violations += line["violations"]
        one.seconds += line["seconds"]
        if line["seed"] is not None:
            one.seeds.add(str(line["seed"]))
        if line["detail"]:
            one.details[line["detail"]] += 1
    return found


def paper(lines: list[dict[str, Any]], outcomes: list[Outcome], *, seed: int) -> Paper:
    """Write the report. Red is: a violation, a figure that was not reached and does not say why, a test that failed."""
    told, red = figures(lines), []
    for (row, what), one in told.items():
        if one.violations:
            red.append(f"row {row}, {what}: {one.violations} violations")
        if one.reached < one.asked and not one.details:
            red.append(f"row {row}, {what}: {one.reached:,} of {one.asked:,}, and nobody says why")
    for outcome in outcomes:
        if outcome.cut_off:
            red.append(f"{outcome.part.name}: did not end by itself within {outcome.part.seconds} s")
        elif outcome.code not in (0, 5) and not outcome.named("failed"):
            red.append(f"{outcome.part.name}: pytest ended with {outcome.code}")
        red += [f"{outcome.part.name}: {name}: {_short(why)}" for name, why in outcome.named("failed")]
    chosen = {row for outcome in outcomes for row in outcome.part.rows}
    parts = [HEAD, *_of_the_run(lines, outcomes, seed), *_red(red)]
    for row in sorted(chosen | {row for row, _ in told}):
        parts += _row(row, {what: one for (of, what), one in told.items() if of == row}, outcomes)
    return Paper("\n".join(parts).rstrip() + "\n", red)


def _of_the_run(lines: list[dict[str, Any]], outcomes: list[Outcome], seed: int) -> list[str]:
    versions: dict[str, set[str]] = {}
    for line in lines:
        for name, value in line["versions"].items():
            versions.setdefault(name, set()).add(value)
    passed, failed, skipped = (
        sum(len(one.named(kind)) for one in outcomes) for kind in ("passed", "failed", "skipped")
    )
    took = sum(one.seconds for one in outcomes)
    names = " · ".join(f"{name} {', '.join(sorted(found))}" for name, found in versions.items())
    return [
        "| | |",
        "|---|---|",
        f"| date | {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC |",
        f"| versions | {names} |",
        f"| machine | {os.cpu_count()} processors, load {os.getloadavg()[1]:.1f} at the end |",
        f"| seed | {seed} (`make faults SEED=N` takes others) |",
        f"| time | {took / 60:.0f} min, {len(outcomes)} of {len(PARTS)} parts |",
        f"| tests | {passed} passed, {failed} failed, {skipped} skipped |",
        "",
    ]


def _red(red: list[str]) -> list[str]:
    if not red:
        return ["Nothing is red.", ""]
    return ["## Red", "", *(f"- {_cell(line)}" for line in red), ""]


def _row(row: int, told: dict[str, Figure], outcomes: list[Outcome]) -> list[str]:
    title, figure = ROWS[row]
    out = [f"## {row}. {title[0].upper()}{title[1:]}", "", f"Asked: {figure}.", ""]
    if told:
        out += ["| What | asked | reached | violations | seed | seconds |", "|---|--:|--:|--:|---|--:|"]
        out += [
            f"| {_cell(what)} | {one.asked:,} | {one.reached:,} | {one.violations} "
            f"| {_seeds(one.seeds)} | {one.seconds:.0f} |"
            for what, one in told.items()
        ]
        out += [""]
        notes = [
            f"- {_cell(what)}: {_cell(detail)}{f' ({count} times)' if count > 1 else ''}"
            for what, one in told.items()
            for detail, count in one.details.items()
        ]
        out += [*notes, ""] if notes else []
    skipped = Counter(why for one in outcomes if row in one.part.rows for _, why in one.named("skipped"))
    if skipped:
        out += [*(f"- skipped, {count}: {_cell(_short(why))}" for why, count in skipped.items()), ""]
    if not told and not skipped:
        out += ["Nothing was reported.", ""]
    return out


def _seeds(seeds: set[str]) -> str:
    few = sorted(seeds)
    return ", ".join(few) if len(few) <= 3 else f"{few[0]} … {few[-1]}"


def _short(why: str) -> str:
    return why if len(why) <= 200 else why[:197] + "..."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
