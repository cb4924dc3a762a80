"""A small database of a driver's own: what it must know after a restart beside what the journal holds.

It promises nothing about evidence. Each write is a transaction of its own, which is on the disk when `run` returns, or
has never been.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from agent.errors import DeviceRefused, in_words

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Database"]

T = TypeVar("T")


class Database:
    """One connection in one thread; its calls run one after another."""

    def __init__(self, path: Path, schema: str, whose: str, *, lost: str) -> None:
        """`whose`: who it belongs to, in words that `is closing` can follow. `lost`: what it costs to begin another."""
        self.path, self._schema, self._whose, self._lost = path, schema, whose, lost
        # One thread: what a cancelled caller began ends before the next begins.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=path.stem)
        self._db: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open or make it. Raises `DeviceRefused` where that cannot be done: then nothing is received."""

        def opening() -> sqlite3.Connection:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            # A rollback journal and not a WAL: whoever may read the file can look at it without writing beside it.
            db.execute("PRAGMA synchronous = EXTRA")
            db.executescript(self._schema)
            return db

        try:
            self._db = await asyncio.get_running_loop().run_in_executor(self._thread, opening)
        except (OSError, sqlite3.Error) as error:
            hint = self._todo(error, "Give `state` a folder that the service may write to.")
            raise DeviceRefused(f"{self.path} cannot be used: {in_words(error)}", hint=hint) from error

    async def close(self) -> None:
        """Close it. It can be opened again."""
        if (db := self._db) is not None:
            self._db = None
            await asyncio.get_running_loop().run_in_executor(self._thread, db.close)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do it in a transaction; what it raises undoes it. Raises `DeviceRefused` where the database fails."""

        def working(db: sqlite3.Connection) -> T:
            db.execute("BEGIN IMMEDIATE")
            try:
                found = work(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return found

        return await self.look(working)

    async def look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Only look. Raises `DeviceRefused` where the database fails."""
        if (db := self._db) is None:
            raise DeviceRefused(f"{self._whose} is closing")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, db)
        except sqlite3.Error as error:
            raise DeviceRefused(
                f"{self.path}: {error}", hint=self._todo(error, "Look at this station's disk.")
            ) from error

    def _todo(self, error: Exception, otherwise: str) -> str:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF  # the rest says more of the same
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return f"Stop the service, move {self.path} away and start it: another one is begun. {self._lost}"
        if code == sqlite3.SQLITE_FULL:
            return "Make room on the disk that it lies on."
        return otherwise
