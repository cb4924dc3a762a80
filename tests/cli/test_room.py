"""`evidock room` as a person sees it: what goes on in the room, and which camera is not recorded."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from agent.errors import Refusal
from drivers.interview_room import cli

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import pytest


def told(state: str = "recording") -> dict[str, Any]:
    return {
        "interview": "20261128T134104Z-34048e16",
        "recorder": "main",
        "room": "room-1",
        "since": "2026-11-28T13:41:04.000Z",
        "started_by": "uid:1000",
        "streams": {
            "front": {"gaps": 0, "held": 3, "state": "recording"},
            "back": {"gaps": 1, "held": 0, "state": state},
        },
        "to_be_held": 0,
    }


def test_a_camera_that_is_not_recorded_is_shown_in_red_and_capitals(capsys: pytest.CaptureFixture[str]) -> None:
    cli._show(told("no stream: 401 Unauthorized"), as_json=False)
    said = capsys.readouterr().out
    assert "back is NOT recorded" in said
    assert "front is NOT" not in said
    assert "401 Unauthorized" in said


def test_what_is_well_needs_no_word_more(capsys: pytest.CaptureFixture[str]) -> None:
    cli._show(told(), as_json=False)
    assert "NOT" not in capsys.readouterr().out


def test_nothing_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    cli._show({**told(), "interview": None, "streams": {}, "to_be_held": 1}, as_json=False)
    said = capsys.readouterr().out
    assert "nothing is recorded in room-1" in said
    assert "still to be held" in said


# -- copies beside each other ------------------------------------------------------------------------------------------


class Told:
    """What a station tells of its captures; three recorders of two rooms."""

    def __init__(self, log: str, *pieces: tuple[str, int, int]) -> None:
        self.all = [self.one(log, *piece) for piece in pieces]
        self.since: object = None

    @staticmethod
    def one(log: str, recorder: str, begin: int, end: int) -> dict[str, Any]:
        return {
            "began_at": f"2026-11-28T12:{begin:02}:00.000Z",
            "device": f"room:{recorder}",
            "id": f"{recorder}-{begin}",
            "log": log,
            "media_type": "video/quicktime",
            "minutes": end - begin,
            "sha256": "00",
            "standing": "held",
        }

    def captures(self, **asked: object) -> dict[str, Any]:
        """In pages of one: the command must ask for all of them."""
        self.since = asked["since"]
        at = int(str(asked.get("before") or 0))
        return {"captures": self.all[at : at + 1], "next": at + 1 if at + 1 < len(self.all) else None}

    def capture(self, name: str) -> dict[str, Any]:
        (one,) = [one for one in self.all if one["id"] == name]
        claims = {"live": {"stream": "front", "seconds": ["0.0", f"{one['minutes'] * 60}.0"]}}
        return {"story": [{"predicate": {"event": "other"}}, {"predicate": {"capture": {"claims": claims}}}]}


def shown(monkeypatch: pytest.MonkeyPatch, told: Told, *words: str) -> str:
    monkeypatch.setattr(cli, "source", lambda _: nullcontext(told))
    result = CliRunner().invoke(cli.app, ["interviews", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_which_copy_has_what(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = Told("station-a", ("room-1:main", 0, 10), ("room-1:backup", 2, 20), ("room-2:main", 0, 5))
    said = shown(monkeypatch, here, "--room", "room-1")
    assert "room-2" not in said
    assert "room:room-1:main alone has +0:00:00 to +0:02:00" in said
    assert "room:room-1:backup alone has +0:10:00 to +0:20:00" in said
    assert "no copy has" not in said
    assert datetime.fromisoformat(str(here.since)) < datetime.now(UTC) - timedelta(hours=23), "one day by default"
    there = tmp_path / "b.json"
    there.write_text(shown(monkeypatch, Told("station-b", ("room-1:main", 15, 25)), "--json"))
    said = shown(monkeypatch, here, "--room", "room-1", "--with", str(there))
    assert "+0:10:00 to +0:15:00" in said
    assert "(0:25:00)" in said


def test_another_stations_file_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "source", lambda _: nullcontext(Told("a")))
    for content in ("", "[]", '{"pieces": [{}]}', '{"pieces": 5}', "[" * 100_000):
        (tmp_path / "b.json").write_text(content)
        result = CliRunner().invoke(cli.app, ["interviews", "--with", str(tmp_path / "b.json")])
        assert isinstance(result.exception, Refusal), content
