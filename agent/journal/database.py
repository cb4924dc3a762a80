"""The door to SQLite: opened so that a commit survives a power cut, migrated forwards only, errors translated here.

One connection, exclusive, WAL, `synchronous=FULL`. Exclusive because a race between two connections that reset the
WAL can corrupt it (fixed in SQLite 3.51.3); apsw brings a current SQLite, Debian 12's is 3.40.1.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, nullcontext
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import apsw

from agent import durable
from agent.errors import JournalError, JournalFull
from agent.journal import wal
from agent.journal.spans import span_as_json
from agent.journal.words import words_as_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

__all__ = ["APPLICATION_ID", "bring_forward", "fold", "open_database", "transaction", "translated"]

APPLICATION_ID: Final = 0x45764464
"""`EvDd`: marks the file as ours (sqlite.org/fileformat section 1.3.17)."""

_MINIMUM: Final = (3, 51, 3)
_BEFORE_FORCING: Final = frozenset({apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_TRUNCATE, apsw.SQLITE_CANTOPEN})
"""Failures of which nothing remains."""


@contextmanager
def translated(doing: str, connection: apsw.Connection | None = None) -> Iterator[None]:
    """Raise what SQLite says as `JournalError`: as `JournalFull` where it wrote nothing because there is no room.

    `connection`: the one that was used; what the system said to it tells a quota from a disk that fails.
    """
    try:
        yield
    except apsw.BusyError as error:
        raise JournalError(
            f"{doing}: another program has the journal open",
            hint="Only one program may open the journal. Is the daemon running? Then this command asks it instead.",
        ) from error
    except apsw.Error as error:
        if _no_room(error, connection):
            raise JournalFull(f"{doing}: the disk is full") from error
        raise JournalError(f"{doing}: {error}") from error


def _no_room(error: apsw.Error, connection: apsw.Connection | None) -> bool:
    """Whether nothing was written because there is no room.

    SQLite knows the one answer of a disk that is full to the last block, and takes that of a quota for a failure. Where
    forcing failed, for whatever reason, nobody knows what was written: that is never taken for this.
    """
    if isinstance(error, apsw.FullError):
        return True
    failed = getattr(error, "extendedresult", None) in _BEFORE_FORCING
    return failed and connection is not None and connection.system_errno in durable.NO_ROOM


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commit what the block did, or undo it; inside another transaction a savepoint, which is all of it or nothing.

    `with connection` would do the same, and hold the interpreter's lock while the commit waits for the disk: every
    other thread would wait with it. It would also begin with a savepoint, which keeps copies of all pages that change.
    """
    if not connection.get_autocommit():
        with _savepoint(connection):
            yield
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Where the disk failed SQLite may have undone it already.
        if not connection.get_autocommit():
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _savepoint(connection: apsw.Connection) -> Iterator[None]:
    failed: BaseException | None = None
    try:
        with connection:
            try:
                yield
            except BaseException as error:
                failed = error
                raise
    except apsw.Error:
        # Where the disk is full or fails SQLite undoes all of the transaction itself, and misses its savepoint then.
        if failed is not None and connection.get_autocommit():
            raise failed from None
        raise


def open_database(path: Path) -> apsw.Connection:
    """Open the journal at `path`, make it where it is not, and bring it to the newest schema.

    Raises `JournalError` when the file is no journal, is damaged, is open elsewhere, or is newer than this program, and
    `JournalFull` where it must be made or brought forwards first, and there is no room. Nothing may be written before
    `fold` was called.
    """
    if tuple(map(int, apsw.sqlite_lib_version().split("."))) < _MINIMUM:
        raise JournalError(f"SQLite {apsw.sqlite_lib_version()} can corrupt a journal; 3.51.3 or later is needed")
    with translated(f"the journal {path} cannot be opened"):
        _forget_what_memory_says(path)
        _look_at_the_log(path)
        _make_the_log(path)
        connection = apsw.Connection(str(path))
        try:
            with translated(f"the journal {path} cannot be opened", connection):
                _prepare(connection)
                _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def fold(connection: apsw.Connection) -> None:
    """Write what was read of the log to its final place, and force it: whatever is built on it stands on that.

    `JournalFull` where there is no room for it: it can be read all the same, and nothing can be written yet.
    """
    with translated("the journal cannot be written", connection):
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def _forget_what_memory_says(path: Path) -> None:
    """Let the disk itself say what is in the journal.

    After a failed fsync the kernel goes on showing what never reached the disk, and takes it for written. Whoever is
    started again would read an entry that a power cut takes away, and all that were committed after it.
    """
    for file in (path, path.with_name(path.name + "-wal")):
        try:
            fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            durable.force(fd)  # a process that was killed has left behind what only needs to be written
            durable.drop_cache(fd)
        except OSError as error:
            raise JournalError(f"the journal {path} cannot be opened: {file.name}: {error.strerror}") from error
        finally:
            os.close(fd)


def _look_at_the_log(path: Path) -> None:
    """Before SQLite does: whatever it takes for the end of the log it throws away."""
    log = path.with_name(path.name + "-wal")
    try:
        found = wal.damage(log)
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be opened: {log.name}: {error.strerror}") from error
    if found is not None:
        raise JournalError(
            f"the journal {path} cannot be opened: the disk has changed what was committed ({log.name}: {found})",
            hint="Nothing was changed, and devices keep what they have. Copy the state folder to another disk before"
            " anything else, and call the station's administrator: this disk is not to be trusted.",
        )


def _make_the_log(path: Path) -> None:
    """Before SQLite does: where it cannot, because there is no room for another file, it does not say why."""
    log = path.with_name(path.name + "-wal")
    try:
        os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, path.stat().st_mode & 0o777))
    except OSError as error:
        if error.errno in durable.NO_ROOM:
            raise JournalFull(f"the journal {path} cannot be opened: {log.name}: {error.strerror}") from error
        return  # there is no journal yet, or SQLite has a word for it


def _prepare(connection: apsw.Connection) -> None:
    # EXCLUSIVE comes before the first access, so that no shared-memory file is ever made.
    connection.pragma("locking_mode", "exclusive")
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("wal_autocheckpoint", 1000)
    connection.pragma("journal_size_limit", 16 * 1024 * 1024)
    connection.pragma("foreign_keys", True)  # noqa: FBT003 - the pragma's own spelling
    # What a savepoint keeps of the pages that change lies in memory: each act of a batch has one, and a file of them
    # would be written many times over.
    connection.pragma("temp_store", "memory")
    connection.pragma("cache_size", -16 * 1024)
    connection.pragma("trusted_schema", False)  # noqa: FBT003
    # Else a statement is compiled anew whenever a value that is bound to it changes, in search of a better plan by
    # statistics that no journal has.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)


def _migrate(connection: apsw.Connection, path: Path) -> None:
    application, found = connection.pragma("application_id"), connection.pragma("user_version")
    empty = found == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get == 0
    if not empty and application != APPLICATION_ID:
        raise JournalError(f"{path} is a database of another program")
    newest = _schemas()[-1][0]
    if found > newest:
        raise JournalError(
            f"{path} was written by a newer Evidock (schema {found}; this one knows {newest})",
            hint="Install the newer version again. Nothing was changed.",
        )
    bring_forward(connection, found)


def bring_forward(connection: apsw.Connection, found: int) -> None:
    """Bring the schema from `found` forwards, each file in one transaction: after a crash it is the old or the new.

    A new journal is made in one: it waits for the disk once.
    """
    connection.create_scalar_function("span_of", span_as_json, 1, deterministic=True)  # type: ignore[arg-type]
    connection.create_scalar_function("words_of", words_as_json, 1, deterministic=True)  # type: ignore[arg-type]
    with transaction(connection) if found == 0 else nullcontext():
        for number, file in _schemas():
            if number > found:
                with transaction(connection):
                    connection.execute(file.read_text(encoding="utf-8"))
                    connection.pragma("application_id", APPLICATION_ID)
                    connection.pragma("user_version", number)


def _schemas() -> list[tuple[int, Traversable]]:
    return sorted(
        (int(file.name.removesuffix(".sql")), file)
        for file in files(__package__).joinpath("schema").iterdir()
        if file.name.endswith(".sql")
    )


if __name__ == "__main__":  # what a package does after an upgrade: bring a journal forwards before the daemon starts
    made = open_database(Path(sys.argv[1]))
    try:
        fold(made)
    finally:
        made.close()
