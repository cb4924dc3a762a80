"""A disk that takes nothing more: nothing is left half-written, and what is said fits what whoever typed it can do."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.cli.device import _write_secret
from agent.cli.writing import made
from agent.errors import JournalFull, Refusal, SpoolFull
from agent.recorder import RecordingHand, Veil, write
from tests.spine.full_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Answer, Dock
    from tests.spine.full_disk import Disk

    Evidock = Callable[..., Answer]

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


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path) as found:
        (found.top / "lost+found").rmdir()
        yield found


def lies_there(disk: Disk) -> set[str]:
    return {path.name for path in disk.top.iterdir()} - {"others"}


@pytest.mark.parametrize("left", [0, 16_000, 90_000], ids=["nothing", "too little", "enough for the bytes alone"])
def test_an_export_to_a_full_disk(evidock: Evidock, still: Dock, disk: Disk, left: int) -> None:
    """What is known not to fit is not begun, and the log says nothing of it; what does not fit leaves nothing."""
    found = evidock("--config", still.config, "capture", "list", "--json").json["captures"]
    least = min(found, key=lambda one: one["length"])
    entries = len(evidock("--config", still.config, "journal", "export").lines)
    disk.fill(but=left)
    done = evidock("--config", still.config, "capture", "export", least["id"], "--to", disk.top / "bag")
    assert done.code == SpoolFull.exit_code, done.err
    assert "Make room on that disk" in done.err
    assert lies_there(disk) == set()
    if not left:
        assert len(evidock("--config", still.config, "journal", "export").lines) == entries
    disk.give_back()
    assert evidock("--config", still.config, "capture", "export", least["id"], "--to", disk.top / "bag").code in {0, 3}


def test_an_export_to_a_disk_that_may_only_be_read(evidock: Evidock, still: Dock, disk: Disk) -> None:
    id_ = evidock("--config", still.config, "capture", "list", "--json").json["captures"][0]["id"]
    disk.become_read_only()
    done = evidock("--config", still.config, "capture", "export", id_, "--to", disk.top / "bag")
    assert done.code == Refusal.exit_code, done.err
    assert "Name another folder" in done.err
    assert lies_there(disk) == set()


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_what_a_command_writes_is_there_whole_or_not_at_all(
    evidock: Evidock, still: Dock, disk: Disk, how: str
) -> None:
    disk.fill() if how == "full" else disk.become_read_only()
    for words in (
        ("journal", "export", disk.top / "log"),
        ("support-bundle", "--yes", "--to", disk.top / "bundle.tar.gz"),
        ("hotlist", "export-audit", "--html", disk.top / "page.html"),
    ):
        done = evidock("--config", still.config, *words)
        assert done.code == Refusal.exit_code, done.err
        assert "Nothing was" in done.err, done.err
        assert ("room" in done.err) == (how == "full") or "audit" in str(words), done.err
        assert lies_there(disk) == set(), words


def test_a_password_that_finds_no_room_leaves_the_old_one(disk: Disk) -> None:
    path = disk.top / "enrolment"
    _write_secret(path, b"old", force=False)
    with pytest.raises(Refusal, match="is there already"):
        _write_secret(path, b"new", force=False)
    _write_secret(path, b"newer", force=True)
    disk.fill()
    with pytest.raises(Refusal, match="No space left") as told:
        _write_secret(path, b"newest" * 10_000, force=True)
    assert "Make room" in told.value.what_to_do
    assert path.read_bytes() == b"newer"
    with pytest.raises(Refusal, match="No space left"):
        _write_secret(disk.top / "other", b"x" * 10_000, force=False)
    assert lies_there(disk) == {"enrolment"}


def test_what_cannot_be_taken_back_is_not_begun_without_room_for_its_answer(disk: Disk) -> None:
    """Of an invitation of a tablet there is one page; without it the tablet is invited and nobody can come."""
    with made(disk.top / "page", room=100_000) as file:
        file.write(b"short")
    assert (disk.top / "page").read_bytes() == b"short"
    assert (disk.top / "page").stat().st_blocks <= 8
    disk.fill(but=50_000)
    begun = []
    with pytest.raises(Refusal, match="No space left"), made(disk.top / "other", room=100_000):
        begun.append(1)
    assert not begun
    assert lies_there(disk) == {"page"}


def test_a_recording_of_a_device_that_finds_no_room(disk: Disk) -> None:
    disk.fill(but=4096)
    hand = RecordingHand(Veil())
    hand.observations.extend({"n": "x" * 1000} for _ in range(100))
    with pytest.raises(Refusal, match="No space left") as told:
        write(disk.top / "recorded", hand, {}, who="x", day="2026-11-30", version="0")
    assert "Make room" in told.value.what_to_do
    assert lies_there(disk) == set()
