"""Keys that the command line makes and uses: whoever mistypes is told what to do, and never to edit agent.toml."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from agent.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Evidock = Callable[..., Answer]

STATION = "example-org/main/dock-1"


@pytest.fixture
def key(evidock: Evidock, tmp_path: Path) -> Path:
    made = evidock("mqtt", "key", "alice.example.org", tmp_path / "alice.key")
    assert made.code == 0, made.err
    assert 'operator_keys = ["alice.example.org+' in made.out
    assert stat.S_IMODE((tmp_path / "alice.key").stat().st_mode) == 0o600
    return tmp_path / "alice.key"


def refused(told: Answer, *sentences: str) -> None:
    assert (told.code, told.out) == (Refusal.exit_code, "")
    assert "agent.toml" not in told.err
    for sentence in sentences:
        assert sentence in told.err


def test_a_key_that_cannot_be_made(evidock: Evidock, key: Path, tmp_path: Path) -> None:
    before = key.read_bytes()
    refused(evidock("mqtt", "key", "alice.example.org", key), "there already", "Name another file")
    refused(evidock("mqtt", "key", "alice smith", tmp_path / "new"), "no blank and no plus")
    refused(evidock("mqtt", "key", "alice", "/proc/alice.key"), "cannot be written", "Nothing was written")
    assert key.read_bytes() == before
    assert not (tmp_path / "new").exists()


def test_a_command_that_cannot_be_signed(evidock: Evidock, key: Path) -> None:
    def sign(*words: object, why: str = "x", by: Path = key) -> Answer:
        return evidock("mqtt", "sign", *words, "--key", by, "--why", why)

    assert sign(STATION, "report").code == 0
    refused(sign("dock-1", "report"), "station must be agency/site/station, such as", "Nothing was signed")
    refused(sign(STATION, "explode"), "command must be 'report', ")
    refused(sign(STATION, "hold"), "hold needs a capture", "Nothing was signed")
    refused(sign(STATION, "hold", "ABC"), "at least four of 0 to 9, a to f")
    refused(sign(STATION, "report", why=""), "why must have at least 1 character")
    refused(sign(STATION, "report", by=key.parent / "none"), "is not there", "evidock mqtt key NAME FILE")
    refused(sign(STATION, "report", by=key.parent), "is a folder")
    (key.parent / "text").write_text("hello")
    refused(sign(STATION, "report", by=key.parent / "text"), "holds no private key")
    (key.parent / "bent").write_text(key.read_text().replace("+A", "+B"))
    (key.parent / "bent").chmod(0o600)
    refused(sign(STATION, "report", by=key.parent / "bent"), "is damaged")
    key.chmod(0o644)
    refused(sign(STATION, "report"), "others may read", f"chmod go= {key}")


def test_signing_for_a_medium(evidock: Evidock, key: Path, tmp_path: Path) -> None:
    medium, name = tmp_path / "medium", ("--name", "dems.example.org/receipts")
    medium.mkdir()
    told = evidock("handover", "sign", medium, "--key", tmp_path / "new", *name)
    assert "evidock-medium.json" in told.err
    assert not (tmp_path / "new").exists(), "a key is made where there is something to sign"
    assert evidock("handover", "prepare", medium).code == 0
    assert "No station has written" in evidock("handover", "check", medium).out
    refused(evidock("handover", "sign", medium, "--key", key, *name), "is that of 'alice.example.org'")
    refused(evidock("handover", "sign", medium, "--key", tmp_path / "new", "--name", "a b"), "no blank")
    for _ in range(2):
        assert evidock("handover", "sign", medium, "--key", tmp_path / "new", *name).code == 0
