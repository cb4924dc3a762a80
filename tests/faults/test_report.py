"""The lab's own paper: what is reported is what is told, and what was not reached says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.paper import Outcome, keep, kept, paper
from tests.faults.parts import PARTS, ROWS, WHOLE
from tests.faults.report import reached

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]


def test_without_a_file_nothing_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EVIDOCK_FAULT_REPORT", raising=False)
    monkeypatch.chdir(tmp_path)
    reached(1, "kills", asked=1, reached=1, violations=0)
    assert not list(tmp_path.iterdir())


def test_each_figure_is_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    monkeypatch.setenv("EVIDOCK_FAULT_REPORT", str(lines))
    reached(1, "kills", asked=2, reached=1, violations=0, seed=7, detail="the time was over")
    reached(2, "cuts", asked=1, reached=1, violations=1)
    first, second = map(json.loads, lines.read_text().splitlines())
    assert (first["row"], first["asked"], first["reached"], first["seed"]) == (1, 2, 1, 7)
    assert first["versions"].keys() >= {"evidock", "python", "sqlite", "kernel"}
    assert (second["what"], second["violations"], second["detail"]) == ("cuts", 1, "")


def test_the_parts_end_within_the_hour_and_every_row_has_one() -> None:
    assert sum(part.seconds for part in PARTS) <= WHOLE
    assert {row for part in PARTS for row in part.rows} == ROWS.keys()
    assert all((ROOT / test).exists() for part in PARTS for test in part.tests)


def test_what_is_red_is_told_and_what_was_not_reached_says_why() -> None:
    line = {"row": 1, "seconds": 1.0, "seed": 1, "versions": {"kernel": "6"}, "detail": ""}
    figures = [
        {**line, "what": "good", "asked": 2, "reached": 2, "violations": 0},
        {**line, "what": "bad", "asked": 2, "reached": 2, "violations": 1},
        {**line, "what": "silent", "asked": 2, "reached": 1, "violations": 0},
        {**line, "what": "late", "asked": 2, "reached": 1, "violations": 0, "detail": "its time was over"},
    ]
    tests = {"a": ("passed", ""), "b": ("failed", "boom | and more")}
    told = paper([Outcome(PARTS[0], 1, 2.0, tests, lines=figures)])
    assert [name in " ".join(told.red) for name in ("good", "bad", "silent", "late", "boom")] == [
        False,
        True,
        True,
        False,
        True,
    ]
    assert "| late | 2 | 1 | 0 | 1 | 1 |" in told.text
    assert "- late: its time was over" in told.text
    assert "boom \\| and more" in told.text


def test_a_part_that_runs_again_leaves_the_others_their_figures(tmp_path: Path) -> None:
    line = {"row": 1, "what": "kills", "asked": 2, "reached": 2, "violations": 0, "seconds": 1.0, "seed": 1}
    line |= {"versions": {"kernel": "6"}, "detail": ""}
    first, second = PARTS[:2]
    for tree in ("old", "new"):
        keep(tmp_path, Outcome(first, 0, 2.0, {"a": ("passed", "")}, lines=[line], tree=tree, began="2026-01-01 10:00"))
        keep(tmp_path, Outcome(second, 0, 2.0, {}, lines=[{**line, "row": 3}], tree="old"))
    ran = kept(tmp_path)
    assert [(one.part.name, one.tree) for one in ran] == [(first.name, "new"), (second.name, "old")]
    told = paper(ran)
    assert f"| {first.name} | 2026-01-01 10:00 | new | 1 | 0.0 min | 0.0 | 1 passed, 0 failed, 0 skipped |" in told.text
    assert f"Not run: {PARTS[2].name}," in told.text
    assert told.red == []
