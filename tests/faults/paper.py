"""docs/fault-report.md as text, made of nothing but what the last run of each part reported."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.faults.parts import PARTS, ROWS, Part

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HEAD = """\
# What the fault lab reached

Written by `make faults`, never by hand, of the last run of each part. Each line is one figure: how many cases were
asked for, how many were reached, and how many of these broke a promise. After each case journal, spool, stage, device
and DEMS were compared: nothing lost, nothing doubled, nothing torn, nothing released without proof. `make test` runs a
short form.
"""


@dataclass
class Outcome:
    """How the last run of one part ended."""

    part: Part
    code: int
    seconds: float
    tests: dict[str, tuple[str, str]]
    """Name of each test: `passed`, `failed` or `skipped`, and why."""
    cut_off: bool = False
    lines: list[dict[str, Any]] = field(default_factory=list)
    """What its tests reported."""
    seed: int = 1
    tree: str = ""
    """Which commit was tried; with a `+` where files were changed since."""
    began: str = ""
    load: float = 0.0
    """Processes that wanted a processor, in the middle of the last five minutes."""

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
    """What a part reported, if anything."""
    if not path.exists():
        return []
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


def keep(folder: Path, outcome: Outcome) -> None:
    """Remember this run as the last one of its part."""
    folder.mkdir(exist_ok=True)
    told = {**asdict(outcome), "part": {"name": outcome.part.name, "seconds": outcome.part.seconds}}
    fresh = folder / f".{outcome.part.name}"
    fresh.write_text(json.dumps(told), encoding="utf-8")
    fresh.rename(folder / f"{outcome.part.name}.json")


def kept(folder: Path) -> list[Outcome]:
    """The last run of each part that there is, in the order of the parts."""
    found = []
    for part in PARTS:
        if (path := folder / f"{part.name}.json").exists():
            told = json.loads(path.read_text(encoding="utf-8"))
            tests = {name: (ended, why) for name, (ended, why) in told.pop("tests").items()}
            ran = replace(part, seconds=told.pop("part")["seconds"])
            found.append(Outcome(ran, tests=tests, **told))
    return found


def paper(outcomes: list[Outcome]) -> Paper:
    """Write the report. Red is: a violation, a figure that was not reached and does not say why, a test that failed."""
    lines = [line for outcome in outcomes for line in outcome.lines]
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
    parts = [HEAD, *_of_the_runs(lines, outcomes), *_red(red)]
    for row in sorted(chosen | {row for row, _ in told}):
        parts += _row(row, {what: one for (of, what), one in told.items() if of == row}, outcomes)
    return Paper("\n".join(parts).rstrip() + "\n", red)


def _of_the_runs(lines: list[dict[str, Any]], outcomes: list[Outcome]) -> list[str]:
    versions: dict[str, set[str]] = {}
    for line in lines:
        for name, value in line["versions"].items():
            versions.setdefault(name, set()).add(value)
    names = " · ".join(f"{name} {', '.join(sorted(found))}" for name, found in versions.items())
    never = [part.name for part in PARTS if part.name not in {one.part.name for one in outcomes}]
    out = [
        f"On a machine of {os.cpu_count()} processors: {names}.",
        "",
        "| part | began (UTC) | commit | seed | took | load at the end | tests |",
        "|---|---|---|--:|--:|--:|---|",
    ]
    for one in outcomes:
        passed, failed, skipped = (len(one.named(kind)) for kind in ("passed", "failed", "skipped"))
        out.append(
            f"| {one.part.name} | {one.began} | {one.tree} | {one.seed} | {one.seconds / 60:.1f} min | {one.load:.1f} "
            f"| {passed} passed, {failed} failed, {skipped} skipped |"
        )
    took = sum(one.seconds for one in outcomes)
    out.append(f"| all | | | | {took / 60:.0f} min | | |")
    return [*out, "", *([f"Not run: {', '.join(never)}.", ""] if never else [])]


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
