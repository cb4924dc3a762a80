"""The lab's own paper: what is reported is what is told, and what was not reached says why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.faults.report import reached

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


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
