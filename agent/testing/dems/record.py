"""The database of an emulated DEMS: one thread writes, and all that wait for it share one commit that is on the disk.

A commit costs one fsync of the database and, where files were made, one of their folder; a hundred small uploads that
finish together pay for it once. What is not committed was never answered, so a crash at any moment leaves only files
that no row names; the next start removes them.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import apsw

from agent import durable
from agent.journal.database import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Record", "Row", "Statement"]

Value: TypeAlias = "str | int | float | bytes | None"
Row: TypeAlias = "tuple[Value, ...]"
Statement: TypeAlias = "tuple[str, tuple[Value, ...]]"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS uploads (
    number     INTEGER PRIMARY KEY,   -- in the order of their commits
    id         TEXT NOT NULL UNIQUE,  -- made here; also the name of the file
    capture    TEXT,                  -- claimed; NULL where nothing was
    sha256     BLOB,                  -- claimed
    blake3     BLOB,                  -- claimed
    length     INTEGER NOT NULL,
    "offset"   INTEGER NOT NULL,      -- everything before it is verified and on the disk
    state      TEXT NOT NULL,
    received   INTEGER NOT NULL,      -- bytes of bodies that were read, thrown away ones too
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    stored_at  REAL
) STRICT;
-- One upload for each capture: what was set aside does not count.
CREATE UNIQUE INDEX IF NOT EXISTS one_upload ON uploads (capture)
    WHERE capture IS NOT NULL AND state IN ('open', 'stored');
CREATE INDEX IF NOT EXISTS by_expiry ON uploads (expires_at) WHERE state = 'open';
-- A door is one URL of an upload. Two docks that hold the same capture have two doors, for each has its own log entry.
CREATE TABLE IF NOT EXISTS doors (
    token    TEXT PRIMARY KEY,
    upload   TEXT NOT NULL REFERENCES uploads (id),
    log      TEXT,
    "index"  INTEGER,
    metadata TEXT NOT NULL,           -- the header as it came
    note     BLOB,                    -- the receipt, before it is answered
    noted_at REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_upload ON doors (upload);
CREATE TABLE IF NOT EXISTS released (capture TEXT PRIMARY KEY, released_at REAL NOT NULL) STRICT, WITHOUT ROWID;
-- As a witness: whose checkpoints are taken, and what was cosigned last of each log.
CREATE TABLE IF NOT EXISTS logs (origin TEXT, vkey TEXT, PRIMARY KEY (origin, vkey)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cosigned (origin TEXT PRIMARY KEY, note BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS violations (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, capture TEXT, sentence TEXT NOT NULL
) STRICT;
"""
_TOGETHER: Final = 512
_WAIT_MS: Final = 10_000


@dataclass(slots=True)
class _Job:
    statements: Sequence[Statement]
    names: bool
    done: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)


class Record:
    """The tables. `rows` reads what is committed; `commit` returns when the statements are on the disk."""

    def __init__(self, path: Path, files_fd: int) -> None:
        self._files_fd = files_fd
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writing = _connect(path)
        for _ in self._writing.execute(_SCHEMA):
            pass
        self._reading = _connect(path)
        self._thread = threading.Thread(target=self._write, name="dems-record", daemon=True)
        self._thread.start()

    def rows(self, sql: str, *values: Value) -> list[Row]:
        """Return the rows of a query over what is committed."""
        return [tuple(row) for row in self._reading.execute(sql, values)]

    async def commit(self, *statements: Statement, names: bool = False) -> None:
        """Write all of the statements or none. `names`: files were made or removed, so their folder is forced first."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._jobs.put(_Job(statements, names, done, loop))
        # Cancelling the one who waits must not tear the commit out of the batch, nor leave its outcome unread.
        await asyncio.shield(done)

    def close(self) -> None:
        """Write what is asked for, then close."""
        self._jobs.put(None)
        self._thread.join()
        self._reading.close()
        self._writing.close()

    def _write(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, last = [job], False
            while len(batch) < _TOGETHER and not last:
                try:
                    following = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    last = True
                else:
                    batch.append(following)
            failure = self._write_batch(batch)
            for one in batch:
                one.loop.call_soon_threadsafe(_finish, one.done, failure)
            if last:
                return

    def _write_batch(self, batch: Sequence[_Job]) -> Exception | None:
        try:
            if any(job.names for job in batch):
                durable.force_folder(self._files_fd)
            with transaction(self._writing):  # one for all: nothing here is expected to fail for one job alone
                for job in batch:
                    for sql, values in job.statements:
                        self._writing.execute(sql, values)
        except (apsw.Error, OSError) as error:
            return error
        return None


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(_WAIT_MS)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # no statement is compiled anew for other values
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        for _ in connection.execute(f"PRAGMA {pragma}"):
            pass
    return connection


def _finish(done: asyncio.Future[None], failure: Exception | None) -> None:
    if done.done():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
