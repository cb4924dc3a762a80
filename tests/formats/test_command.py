"""`evidock spec parse FILE`, as a person calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.formats.make import camm_film

if TYPE_CHECKING:
    from pathlib import Path


def parse(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent.cli", "spec", "parse", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_film(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(camm_film()[:-3] + b"\0\0\0" + bytes(9))
    done = parse(path)
    assert done.returncode == 0, done.stderr
    for words in (
        "ISO base media",
        "zero_tail",
        "nothing to recover",
        "moov",
        "camm",
        "42.5000000 -81.2500000",
        "local time",
    ):
        assert words in done.stdout
    told = json.loads(parse("--json", path).stdout)
    assert told["verdict"] == "zero_tail"
    assert told["told"]["telemetry"][0]["count"] == 2
    assert [one["name"] for one in told["boxes"]] == ["ftyp", "mdat", "moov"]


def test_what_is_no_film_says_so(tmp_path: Path) -> None:
    path = tmp_path / "note\x1b[31m.txt"
    path.write_text("a note")
    os.mkfifo(tmp_path / "pipe")
    wrongs = {path: "no format that is known", tmp_path: "is no file", tmp_path / "pipe": "is no file"}
    for wrong, sentence in {**wrongs, tmp_path / "nothing": "No such file"}.items():
        done = parse(wrong)
        assert done.returncode == 3
        assert sentence in done.stderr
        assert "\x1b" not in done.stderr
