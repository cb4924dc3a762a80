"""What was assigned and corrected is in the bag, apart from the claim of the device, with the entries it rests on."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent.capture import Observation
from agent.context import ContextOptions
from agent.custody.export import evidock_verify
from agent.joining import assign, look_at_all
from agent.joining.touched import tell
from tests.export.make import AT, POLICY, station
from tests.export.test_command import CONFIG, run, sign

if TYPE_CHECKING:
    from pathlib import Path

    from tests.export.make import Station

OPTIONS = ContextOptions()


def told(made: Station, device: str, officer: str) -> None:
    with made.journal.transaction():
        asked = {"device": device, "officer": officer, "from": "2020-01-01T00:00:00Z"}
        assign(made.journal, OPTIONS, asked, actor="user:anna(1000)", why="shift")
        look_at_all(made.journal, OPTIONS)


@pytest.fixture
def bag(tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "state"
    folder.mkdir()
    with station(folder) as made:
        capture = asyncio.run(made.take("CLIP1", b"clip 1"))
        device = made.journal.get(capture).origin.device
        told(made, device, "4471")
        told(made, device, "5520")
        detail = {"incident": "2026-117", "device": device, "category": "traffic stop", "from": "2020-01-01T00:00:00Z",
                  "until": "2030-01-01T00:00:00Z"}  # fmt: skip
        with made.journal.transaction():
            tell(made.journal, OPTIONS, Observation("cad:1", "incident", AT, detail))
            look_at_all(made.journal, OPTIONS)
        made.receipt(capture)
        sign(made)
    (folder / "policy.note").write_bytes(POLICY)
    (tmp_path / "agent.toml").write_text(CONFIG.format(state=folder))
    made_bag = tmp_path / "bag"
    done = run("--config", tmp_path / "agent.toml", "capture", "export", capture, "--to", made_bag)
    assert done.exit_code == 0, done.output
    return made_bag, capture


def test_claim_assignment_and_correction_stand_apart(bag: tuple[Path, str]) -> None:
    folder, capture = bag
    manifest = json.loads((folder / f"manifests/{capture}.json").read_bytes())
    assert "context" not in manifest["device_said"]
    first, second, third = manifest["context"]
    assert first["instead_of"] is None
    assert (second["instead_of"], third["instead_of"]) == (first["entry"], second["entry"])
    assert [one["context"]["officers"][0]["officer"] for one in (first, second)] == ["4471", "5520"]
    assert third["context"]["incidents"][0]["incident"] == "2026-117"
    sources = [one["entry"] for said in (first, second) for one in said["context"]["officers"]]
    for index in sources:
        entry = json.loads((folder / f"custody/{index:06d}.json").read_bytes())["predicate"]
        assert entry["actor"] == "user:anna(1000)"
        assert entry["why"] == "shift"
        assert (folder / f"custody/{index:06d}.tlog-proof").exists()


def test_every_verifier_proves_it(bag: tuple[Path, str]) -> None:
    folder, _ = bag
    done = run("verify", folder, "--json")
    assert (done.exit_code, {one["outcome"] for one in json.loads(done.output)["checks"]}) == (0, {"OK", "NOTE"})
    assert evidock_verify.main([str(folder)]) == 0
    if all(shutil.which(one) for one in ("sh", "openssl", "xxd", "sha256sum")):
        shown = subprocess.run(["sh", folder / "verify.sh"], cwd=folder, capture_output=True, text=True, check=False)
        assert shown.returncode == 0, shown.stdout
        assert "FAILED" not in shown.stdout


@pytest.mark.parametrize("change", ["officer", "entry", "left out"])
def test_a_manifest_that_tells_another_context_is_found(bag: tuple[Path, str], change: str) -> None:
    folder, capture = bag
    path = folder / f"manifests/{capture}.json"
    manifest = json.loads(path.read_bytes())
    if change == "officer":
        manifest["context"][1]["context"]["officers"][0]["officer"] = "4471"
    elif change == "entry":
        manifest["context"].pop()
    else:
        del manifest["context"]
    path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    found = json.loads(run("verify", folder, "--json").output)["checks"]
    assert any(one["what"] == "manifest" and one["outcome"] == "FAILED" for one in found)
