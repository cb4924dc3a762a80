"""docs/status.md against the program: every setting, every path, every word that a bay can say."""

from __future__ import annotations

import json
from pathlib import Path

from agent.config import StatusConfig
from agent.station.bays import STATES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "status.md").read_text("utf-8")
WEB = ROOT / "agent" / "station" / "web"


def test_every_setting_every_path_and_every_state() -> None:
    words = json.loads((WEB / "lang" / "en.json").read_text("utf-8"))
    assert [name for name in StatusConfig.model_fields if f"`{name}`" not in TEXT] == []
    assert [
        path for path in json.loads((WEB / "openapi.json").read_text("utf-8"))["paths"] if f"| `{path}` |" not in TEXT
    ] == []
    assert [state for state in STATES if f"**{words['states'][state]}** (`{state}`)" not in TEXT] == []
    assert f"**{words['lost']}**" in TEXT


def test_the_picture_is_there_and_small() -> None:
    picture = ROOT / "docs" / "screen.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 200_000
    assert "docs/screen.png" in (ROOT / "README.md").read_text("utf-8")
