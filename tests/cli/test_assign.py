"""`evidock device assign`, `unassign` and `assign-all`, with the daemon and without: the same words and entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import Refusal
from tests.cli.conftest import until
from tests.cli.test_commands import documented, first

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli.conftest import Dock, Evidock


def test_a_device_is_assigned_corrected_and_found(evidock: Evidock, dock: Dock) -> None:
    def run(*words: str) -> object:
        told = evidock("--config", dock.config, *words, "--json")
        assert told.code == 0, told.err
        return told.json

    one = first(evidock, dock)
    device, why = str(one["device"]), ("--why", "case 9")
    told = run("device", "assign", device, "--officer", "4471", "--unit", "B12", "--from", "2000-01-01T00:00:00Z", *why)
    assert set(told) == documented("device assign")  # type: ignore[call-overload]
    assert [(row.get("officer"), row.get("unit")) for row in told["assignments"]] == [  # type: ignore[index]
        ("4471", None),
        (None, "B12"),
    ]
    until(lambda: len(run("capture", "find", "--officer", "4471")["captures"]) == 3)  # type: ignore[index]
    assert len(run("capture", "find", "--unit", "b12")["captures"]) == 3  # type: ignore[index]
    run("device", "assign", device, "--officer", "5520", "--from", "2000-01-01T00:00:00Z", *why)
    until(lambda: len(run("capture", "find", "--officer", "5520")["captures"]) == 3)  # type: ignore[index]
    assert run("capture", "find", "--officer", "4471")["captures"] == []  # type: ignore[index]
    context = run("capture", "show", str(one["id"]))["context"]  # type: ignore[index]
    assert context["officer"] == ["5520"]
    assert context["before"][0]["officers"][0]["officer"] == "4471"
    shown = evidock("--config", dock.config, "capture", "show", one["id"]).out
    assert "Officer: 5520, from 2000-01-01 00:00:00" in shown
    assert "this stood in entry" in shown
    assert "By device and time there belongs to it: officer 5520; unit B12, instead of what entry" in shown
    explained = run("device", "explain", device)
    assert set(explained) == documented("device explain")  # type: ignore[call-overload]
    assert explained["assigned"]["officer"]["officer"] == "5520"  # type: ignore[index]
    assert [word["why"] for word in explained["assigned"]["words"]] == ["case 9"] * 3  # type: ignore[index]
    assert "5520 since 2000-01-01" in evidock("--config", dock.config, "device", "explain", device).out
    told = run("device", "unassign", device, *why)
    assert set(told) == documented("device unassign")  # type: ignore[call-overload]
    assert run("device", "explain", device)["assigned"]["officer"]["officer"] is None  # type: ignore[index]
    assert evidock("--config", dock.config, "journal", "verify").code == 0


def test_a_file_of_assignments(evidock: Evidock, dock: Dock, tmp_path: Path) -> None:
    device = str(first(evidock, dock)["device"])
    file = tmp_path / "shift.csv"
    file.write_text(f"﻿device,officer,unit,from,until\r\n{device},7700,,2001-01-01T00:00:00Z,2001-01-01T08:00:00Z\r\n"
                    f"{device},-,B13,2001-01-01T08:00:00Z,2001-01-01T09:00:00Z\r\n")  # fmt: skip
    words = ("--config", dock.config, "device", "assign-all", str(file), "--why", "the shift of January 1")
    told = evidock(*words, "--json")
    assert told.code == 0, told.err
    assert set(told.json) == documented("device assign-all")
    rows = [(row.get("officer", "-"), row.get("unit", "-"), row["already"]) for row in told.json["assignments"]]
    assert rows == [("7700", "-", False), (None, "-", False), ("-", "B13", False)]
    assert [row["already"] for row in evidock(*words, "--json").json["assignments"]] == [True] * 3
    assert "as was known" in evidock(*words).out
    for wrong in (
        "officer\n1\n",
        "device,officer,rank\na,b,c\n",
        "[1]",
        '{"a": 1}',
        "device,officer\nnobody,1\n",
        "\xff",
    ):
        file.write_bytes(wrong.encode("latin-1"))
        refused = evidock(*words)
        assert refused.code == Refusal.exit_code, wrong
        assert len(refused.err.splitlines()) == 2


def test_what_a_person_mistypes_is_refused(evidock: Evidock, dock: Dock) -> None:
    device = str(first(evidock, dock)["device"])
    before = evidock("--config", dock.config, "journal", "export").out
    for words in (
        ("assign", device, "--why", "x"),
        ("assign", device, "--officer", "1", "--why", " "),
        ("assign", device, "--officer", "1", "--from", "yesterday", "--why", "x"),
        ("assign", device, "--officer", "1", "--from", "2 h", "--until", "3 h", "--why", "x"),
        ("assign", "no-such-device", "--officer", "1", "--why", "x"),
        ("unassign", "no-such-device", "--why", "x"),
    ):
        told = evidock("--config", dock.config, "device", *words)
        assert told.code == Refusal.exit_code, words
        assert len(told.err.splitlines()) == 2
    assert evidock("--config", dock.config, "journal", "export").out == before


def test_where_in_a_file_it_was_mistyped_and_what_of_it_stands(
    evidock: Evidock, dock: Dock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = str(first(evidock, dock)["device"])
    told = evidock("--config", dock.config, "device", "unassign", "nowhere", "--why", "x")
    assert told.err.startswith("no device is known here under 'nowhere'"), told.err
    words = ("device", "assign", "nowhere", "--officer", "1", "--unit", "2", "--why", "x")
    assert evidock("--config", dock.config, *words).err.startswith("no device is known")
    file = tmp_path / "shift.csv"
    file.write_text(f"device,officer,unit\n{device},8811,B14\n\nnowhere,8812,\n")
    words = ("--config", dock.config, "device", "assign-all", str(file), "--why", "x")
    told = evidock(*words)
    assert told.err.startswith("line 4: no device is known"), told.err
    assert "Nothing was changed" in told.err
    monkeypatch.setattr("agent.cli.assigning._PAGE", 2)
    told = evidock(*words)
    assert told.code == Refusal.exit_code
    assert "Nothing was changed" not in told.err
    assert "The 2 before it stand" in told.err
