"""The journal as a file: whole transactions, the same tree after each start, and nobody else's database."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Never

import apsw
import pymerkle
import pytest

from agent.capture import Parts, Standing
from agent.clock import Clock
from agent.errors import JournalError
from agent.journal import Event, Journal, database, queries
from agent.testing.audit import read_journal
from tests.spine.make import LOG, capture, digest, hold, reopened


def test_a_transaction_is_whole_or_not_at_all(journal: Journal, tmp_path: Path) -> Never:
    hold(journal, "a")
    before = journal.leaves.size, journal.leaves.root()
    with pytest.raises(RuntimeError), journal.transaction():  # noqa: PT012
        journal.hold(capture("b"), digest("b"), Parts())
        journal.hold(capture("c"), digest("c"), Parts())
        raise RuntimeError
    assert (journal.leaves.size, journal.leaves.root()) == before
    hold(journal, "d")
    assert read_journal(journal).problems == []


def test_what_a_savepoint_keeps_is_not_written_to_a_file(journal: Journal) -> None:
    before = files_without_a_name()
    with journal.transaction():
        for number in range(300):
            with journal.transaction():
                journal.hold(capture(str(number)), digest(str(number)), Parts())
        assert files_without_a_name() <= before


def test_no_statement_of_a_capture_is_compiled_anew_for_other_values(journal: Journal) -> None:
    compiled: list[str] = []

    def asked(action: int, *names: str | None) -> int:
        if action not in (apsw.SQLITE_SAVEPOINT, apsw.SQLITE_TRANSACTION):
            compiled.append(f"{apsw.mapping_authorizer_function[action]} {names}")
        return apsw.SQLITE_OK

    journal.connection.authorizer = asked
    for key in "abc":
        if key == "b":
            assert compiled, "SQLite asks whenever it compiles"
            compiled.clear()
        held = hold(journal, key)
        assert queries.standing_of(journal, held.origin.token) == (Standing.HELD, 1)
        assert queries.parts_of(journal, held.origin.token, 1) == []
    assert compiled == []


def files_without_a_name() -> set[str]:
    links = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]  # noqa: PTH115
    return {link for link in links if link.endswith("(deleted)")}


@pytest.mark.parametrize("length", [0, 254, 255, 256, 511])
def test_what_is_undone_is_undone_across_the_end_of_a_tile(journal: Journal, length: int) -> Never:
    for number in range(length):
        with journal.transaction():
            journal.record(Event.OBSERVED, {"n": number})
    root = journal.leaves.root()
    with pytest.raises(RuntimeError), journal.transaction():  # noqa: PT012
        for number in range(3):
            journal.record(Event.OBSERVED, {"n": number})
        raise RuntimeError
    assert journal.leaves.root() == root
    hold(journal, "a")
    assert read_journal(journal).problems == []


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 600])
def test_reopened_it_has_the_same_tree(journal: Journal, tmp_path: Path, size: int) -> None:
    with journal.transaction():
        for number in range(size - journal.leaves.size):
            journal.record(Event.OBSERVED, {"n": number})
    known = hold(journal, "a")
    root = journal.leaves.root()
    journal = reopened(journal, tmp_path / "journal.db")
    assert journal.leaves.root() == root
    assert journal.get(known.id) == known
    hold(journal, "b")
    assert read_journal(journal).problems == []
    journal.close()


def test_the_root_is_what_an_independent_program_computes(journal: Journal) -> None:
    for number in range(300):
        hold(journal, f"{number}")
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for _, leaf in journal.leaves.between(0, journal.leaves.size):
        tree.append_entry(leaf)
    assert tree.get_root() == journal.leaves.root()


def test_full_tiles_of_the_lowest_level_make_tiles_of_the_next(journal: Journal) -> None:
    with journal.transaction():
        for number in range(70_000):
            journal.leaves.append(b"%d" % number, None)
    assert journal.connection.execute("SELECT max(level) FROM tile").get == 1


def test_a_journal_keeps_the_name_it_was_begun_with(journal: Journal, tmp_path: Path) -> None:
    journal.close()
    with pytest.raises(JournalError, match="this journal is the log"):
        Journal.open(tmp_path / "journal.db", log="edge.example.org/other/log1", stamp=Clock().stamp)
    Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp).close()


def test_only_one_program_may_have_it_open(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="another program has the journal open"):
        Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp)


def test_a_newer_schema_is_refused_and_left_alone(journal: Journal, tmp_path: Path) -> None:
    journal.connection.pragma("user_version", 999)
    journal.close()
    before = (tmp_path / "journal.db").read_bytes()
    with pytest.raises(JournalError, match="newer Evidock"):
        Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp)
    assert (tmp_path / "journal.db").read_bytes() == before


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "journal.db"))
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(JournalError, match="another program"):
        Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal.db").write_bytes(content)
    with pytest.raises(JournalError):
        Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp)


def test_a_migration_is_a_step_of_its_own_and_keeps_everything(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = hold(journal, "a")
    journal.close()
    schema = tmp_path / "schemas" / "schema"
    shutil.copytree(Path(database.__file__).parent / "schema", schema)
    newest = max(int(file.stem) for file in schema.glob("*.sql"))
    (schema / f"{newest + 1:04}.sql").write_text("CREATE TABLE later (x INTEGER) STRICT;")
    (schema / f"{newest + 2:04}.sql").write_text("CREATE TABLE later (x INTEGER) STRICT;")  # fails: it is there
    monkeypatch.setattr(database, "files", lambda _: tmp_path / "schemas")
    with pytest.raises(JournalError):
        Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp)
    (schema / f"{newest + 2:04}.sql").write_text("ALTER TABLE later ADD COLUMN y INTEGER;")
    journal = Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp)
    assert journal.connection.pragma("user_version") == newest + 2
    assert journal.get(known.id) == known
    journal.close()
    monkeypatch.undo()
    with pytest.raises(JournalError, match="newer"):
        Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp)


def test_what_only_memory_has_of_it_is_not_built_upon(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit failed, and memory shows it all the same: it is read again from the disk, which does not have it."""
    hold(journal, "a")
    wal, size = tmp_path / "journal.db-wal", journal.leaves.size
    on_disk = wal.read_bytes()
    hold(journal, "b")
    shown = wal.read_bytes()  # as a process leaves it that is killed
    shutil.copy(tmp_path / "journal.db", tmp_path / "killed.db")
    journal.close()
    (killed := tmp_path / "killed.db-wal").write_bytes(shown)

    def forget(fd: int) -> None:
        if os.fstat(fd).st_ino == killed.stat().st_ino:
            killed.write_bytes(on_disk)

    monkeypatch.setattr(database.durable, "drop_cache", forget)
    again = Journal.open(tmp_path / "killed.db", log=LOG, stamp=Clock().stamp)
    assert again.leaves.size == size
    assert killed.stat().st_size == 0  # and what was read is at its final place
    again.close()


def test_a_journal_that_cannot_be_forced_is_not_opened(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.close()

    def fail(_: int) -> None:
        raise database.durable.ForceFailed(errno.EIO, "Input/output error")

    monkeypatch.setattr(database.durable, "force", fail)
    with pytest.raises(JournalError, match=r"journal\.db: Input/output error"):
        Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp)


def test_it_is_opened_so_that_a_commit_survives_a_power_cut(journal: Journal, tmp_path: Path) -> None:
    pragma = journal.connection.pragma
    assert (pragma("journal_mode"), pragma("synchronous"), pragma("locking_mode")) == ("wal", 2, "exclusive")
    assert not (tmp_path / "journal.db-shm").exists()
