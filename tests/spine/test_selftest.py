"""Known answers before every entry, and clocks that say how well they are kept."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from agent import clock, selftest
from agent.clock import Clock, Word
from agent.errors import JournalError
from agent.journal import Journal, entry
from tests.spine.make import LOG, hold

if TYPE_CHECKING:
    from pathlib import Path


def test_every_answer_is_right_and_stands_in_every_entry(journal: Journal) -> None:
    assert selftest.run().tests == ("blake3", "ecdsa-p256", "ed25519", "rfc6962", "sha256")
    hold(journal, "a")
    for _, leaf in journal.leaves.between(0, journal.leaves.size):
        said = json.loads(leaf)["predicate"]["agent"]
        assert said == {
            "build_sha256": entry.build_digest(),
            "self_test": {"at": said["self_test"]["at"], "result": "passed"},
            "version": entry.agent_version(),
        }
        assert datetime.fromisoformat(said["self_test"]["at"]) <= datetime.now(UTC)


@pytest.mark.parametrize("name", list(selftest.TESTS))
def test_one_wrong_answer_and_nothing_is_written(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "TESTS", MappingProxyType({**selftest.TESTS, name: lambda: False}))
    monkeypatch.setattr(selftest, "_last", None)
    with pytest.raises(JournalError, match=f"standards say: {name}"):
        Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp)


def test_a_clock_says_when_it_was_set_right_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ((900, -3), (1400, -2), (1_000_000, 0), (700, 12))
    words = [Word(synchronised=True, uncertainty_us=error, offset_us=left) for error, left in said]
    monkeypatch.setattr(clock, "kernel_word", lambda: words.pop(0))
    one = Clock(tmp_path / "word", tmp_path / "synchronized")

    def ask() -> dict[str, object]:
        if one._asked_at >= 0:
            one._asked_at -= 2
        return one.stamp().claims

    assert ask() == {
        "last_sync_at": None, "offset_us": -3, "source": "kernel", "synchronised": True, "uncertainty_us": 900,
    }  # fmt: skip
    assert ask()["last_sync_at"] is None
    assert ask()["last_sync_at"] is None
    told = ask()
    assert told["offset_us"] == 12
    assert abs((datetime.fromisoformat(str(told["last_sync_at"])) - datetime.now(UTC)).total_seconds()) < 60


def test_a_clock_believes_the_file_of_timesyncd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "kernel_word", lambda: Word(synchronised=True, uncertainty_us=900))
    (tmp_path / "synchronized").touch()
    os.utime(tmp_path / "synchronized", (1_795_332_000, 1_795_332_000))
    told = Clock(tmp_path / "word", tmp_path / "synchronized").stamp().claims
    assert told["last_sync_at"] == "2026-11-22T07:20:00.000Z"
