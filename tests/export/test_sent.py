"""What was sent of a capture that was encrypted stands in the manifest, and every reader holds it to the log."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Receipt, Strength
from agent.custody.export import evidock_verify
from agent.journal import copies
from tests.export.make import POLICY, station
from tests.export.test_command import CONFIG, run, sign

if TYPE_CHECKING:
    from pathlib import Path

SENT: dict[str, Any] = {
    "checksum": {"algorithm": "Sha512", "digest": "ab" * 64},
    "encryption": {"iv": "AAAA", "key_id": "https://vault.example.org/1", "wrapped_key": "BBBB"},
    "evidence": "812",
}


@pytest.fixture
def bag(tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "state"
    folder.mkdir()
    with station(folder) as made:
        capture = asyncio.run(made.take("CLIP1", b"clip 1"))
        made.receipt(capture)
        with made.journal.transaction():
            length = made.journal.get(capture).digest.length
            copies.copied(made.journal, capture, Receipt(Strength.LENGTH, "clearance", length, sent=SENT))
        sign(made)
    (folder / "policy.note").write_bytes(POLICY)
    (tmp_path / "agent.toml").write_text(CONFIG.format(state=folder))
    done = run("--config", tmp_path / "agent.toml", "capture", "export", capture, "--to", tmp_path / "bag")
    assert done.exit_code == 0, done.output
    return tmp_path / "bag", capture


def test_the_manifest_says_what_was_sent_and_every_verifier_proves_it(bag: tuple[Path, str]) -> None:
    folder, capture = bag
    (told,) = json.loads((folder / f"manifests/{capture}.json").read_bytes())["sent"]
    assert (told["destination"], told["sent"]) == ("clearance", SENT)
    entry = json.loads((folder / f"custody/{told['entry']:06d}.json").read_bytes())["predicate"]
    assert (entry["event"], entry["receipt"]["sent"]) == ("copied", SENT)
    done = run("verify", folder, "--json")
    assert (done.exit_code, {one["outcome"] for one in json.loads(done.output)["checks"]}) == (0, {"OK", "NOTE"})
    assert evidock_verify.main([str(folder)]) == 0
    if all(shutil.which(one) for one in ("sh", "openssl", "xxd", "sha256sum")):
        shown = subprocess.run(["sh", folder / "verify.sh"], cwd=folder, capture_output=True, text=True, check=False)
        assert shown.returncode == 0, shown.stdout


def test_a_manifest_that_says_another_thing_was_sent_is_found(bag: tuple[Path, str]) -> None:
    folder, capture = bag
    path = folder / f"manifests/{capture}.json"
    manifest = json.loads(path.read_bytes())
    manifest["sent"][0]["sent"]["checksum"]["digest"] = "cd" * 64
    path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    found = json.loads(run("verify", folder, "--json").output)["checks"]
    assert any(one["what"] == "manifest" and one["outcome"] == "FAILED" for one in found)
    assert evidock_verify.main([str(folder)]) != 0
