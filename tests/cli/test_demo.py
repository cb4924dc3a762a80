"""The demo, with all its faults: it ends by itself, keeps its promises, and says so with its exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import demo
from agent.cli.demo.proof import Check, Proof
from agent.errors import Refusal

DOCUMENT = Path(__file__).parents[2] / "docs" / "commands.md"


@pytest.mark.slow
def test_the_demo_with_faults(tmp_path: Path) -> None:
    folder, samples = tmp_path / "demo", tmp_path / "samples"
    samples.mkdir()
    for number, length in enumerate((160 << 20, 3 << 20, 12_345), 1):
        (samples / f"film{number}.mp4").write_bytes(os.urandom(length))
    words = [sys.executable, "-m", "agent.cli", "demo", "--faults", "--json", "--folder", folder]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
        env={**os.environ, "EVIDOCK_SAMPLES": str(samples)},
    )
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads(done.stdout)
    (line,) = re.findall(r"^\| `demo` \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert set(told) == set(re.findall(r"`(\w+)`", line))
    assert told["ok"]
    assert any(one["copy_resumed_at"] for one in told["captures"])
    assert any(one["upload_resumed_at"] for one in told["captures"])
    assert len(told["captures"]) >= 3
    # What it says can be checked again by hand, as it says.
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "../SHA256SUMS"], cwd=folder / "stored", capture_output=True, check=False
    )
    assert checked.returncode == 0
    assert len((folder / "journal.jsonl").read_text().splitlines()) > len(told["captures"]) * 4


def test_a_broken_promise_ends_with_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from agent.cli.demo.play import _tell  # noqa: PLC0415
    from agent.errors import AgentError  # noqa: PLC0415

    proof = Proof(
        [], [Check("nothing is lost", ok=False, detail="1 of 2"), Check("all is well", ok=True, detail="")], 0, 0
    )
    with pytest.raises(AgentError, match="did not keep its promise: nothing is lost"):
        _tell(proof, tmp_path, 1.0, as_json=False)
    assert "1 of 2" in capsys.readouterr().out


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("do not touch")
    with pytest.raises(Refusal):
        demo._ground(tmp_path, keep=False)
    assert (tmp_path / "mine").read_text() == "do not touch"


def test_a_folder_of_an_earlier_demo_is_used_again_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = demo._ground(None, keep=False)
    (first / "agent.toml").touch()
    assert demo._ground(None, keep=False) == first
    assert not (first / "agent.toml").exists()
    kept = demo._ground(None, keep=True)
    assert kept != first
    (kept / "agent.toml").touch()
    assert demo._ground(None, keep=False) == first
    assert (kept / "agent.toml").exists()


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = demo._ground(None, keep=False)
    first.rename(tmp_path / "elsewhere")
    first.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refusal, match="not yours"):
        demo._ground(None, keep=False)
