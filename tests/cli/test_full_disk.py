"""A disk that takes nothing more: nothing is left half-written, and what is said fits what whoever typed it can do."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.errors import JournalFull, Refusal, SpoolFull

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Dock

SETS_UP = ("init", "--name", "dock-1", "--agency", "example.org", "--dems", "", "--bays", "0")


def full(*words: object, most: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command where no file may become longer than so many bytes, as on a disk that is full."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    return subprocess.run(
        [sys.executable, "-B", "-m", "agent.cli", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited,
    )


@pytest.mark.parametrize("most", [0, 100_000])
def test_a_station_is_set_up_or_not_at_all(tmp_path: Path, most: int) -> None:
    """At 100,000 bytes the configuration fits, and its schema does not."""
    done = full("--config", tmp_path / "agent.toml", *SETS_UP, most=most)
    assert done.returncode == Refusal.exit_code, done.stderr
    assert "Make room" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_state_folder_without_room(tmp_path: Path) -> None:
    code = (
        "import agent.durable as durable, agent.cli, errno, sys\n"
        "true = durable.replace_file\n"
        "def cut(path, *rest, **more):\n"
        "    if path.name == 'log.key': raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "    return true(path, *rest, **more)\n"
        "durable.replace_file = cut\n"
        f"sys.argv = {['evidock', '--config', str(tmp_path / 'agent.toml'), *SETS_UP]!r}\n"
        "agent.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == SpoolFull.exit_code, done.stderr
    assert "--state" in done.stderr
    assert not (tmp_path / "agent.toml").exists()


def test_nothing_is_left_of_files_that_did_not_fit(still: Dock, tmp_path: Path) -> None:
    medium, out = tmp_path / "medium", tmp_path / "out"
    medium.mkdir()
    out.mkdir()
    for words in (
        ("handover", "prepare", medium),
        ("mqtt", "key", "alice.example.org", out / "key"),
        ("journal", "export", out / "log"),
        ("hotlist", "export-audit", "--html", out / "page.html"),
    ):
        done = full("--config", still.config, *words)
        assert "Traceback" not in done.stderr
        assert done.returncode in (Refusal.exit_code, JournalFull.exit_code), done.stderr
    assert [path for path in medium.rglob("*") if path.is_file()] == []
    assert list(out.iterdir()) == []


def test_an_emulated_dems_without_room(tmp_path: Path) -> None:
    done = full("dems", "serve", tmp_path / "dems", "--no-tls")
    assert done.returncode == Refusal.exit_code, done.stderr
    assert "it cannot serve" in done.stderr


def test_a_journal_without_room_says_to_make_some() -> None:
    import apsw  # noqa: PLC0415

    from agent.journal.database import translated  # noqa: PLC0415

    with pytest.raises(JournalFull, match="the disk is full") as told, translated("the journal cannot be written"):
        raise apsw.FullError("database or disk is full")
    assert "make room" in told.value.what_to_do
