"""`evidock room` as a person sees it: what goes on in the room, and which camera is not recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.interview_room import cli

if TYPE_CHECKING:
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
