"""Notebooks as they stand in the index: loaded when an entry comes, and remembered for a while."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from firmware_specs.formats.enote import strict_json, unb64url
from firmware_specs.formats.enote_notebook import ENTRIES_MAX, Item, Notebook

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Iterator
    from datetime import timedelta

    from drivers.enotes.shelf import Shelf

__all__ = ["Notebooks", "entry_of", "items_of"]

_REMEMBERED: Final = 64
_ENTRIES: Final = ENTRIES_MAX
"""Entries of all remembered notebooks: beyond that they are read again when needed."""
_TEXT: Final = 1 << 25
"""Code points of text in open notes, the same."""


class Notebooks:
    """The chains that are in use, one act at a time for each."""

    def __init__(self, shelf: Shelf, *, late_after: timedelta) -> None:
        self._shelf, self._late_after = shelf, late_after
        self._loaded: OrderedDict[str, Notebook] = OrderedDict()
        self._locks: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[Notebook]:
        """One notebook, for nobody else meanwhile. What raises leaves it as the index has it."""
        async with self._alone(name):
            try:
                yield await self._get(name)
            except BaseException:
                self._loaded.pop(name, None)
                raise
            self._shrink()

    @asynccontextmanager
    async def _alone(self, name: str) -> AsyncIterator[None]:
        lock, users = self._locks.setdefault(name, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[name]

    def forget(self, name: str) -> None:
        """What is known of it changed in the index."""
        self._loaded.pop(name, None)

    async def _get(self, name: str) -> Notebook:
        if name not in self._loaded:
            late_after = self._late_after

            def load(db: sqlite3.Connection) -> Notebook:
                made = Notebook(late_after=late_after, entry_of=lambda item: entry_of(db, item.number))
                for item in items_of(db, name):
                    made.add(item)
                return made

            self._loaded[name] = await self._shelf.look(load)
        self._loaded.move_to_end(name)
        return self._loaded[name]

    def _shrink(self) -> None:
        entries = sum(one.entries for one in self._loaded.values())
        text = sum(one.open_text for one in self._loaded.values())
        while len(self._loaded) > _REMEMBERED or (len(self._loaded) > 1 and (entries > _ENTRIES or text > _TEXT)):
            _, gone = self._loaded.popitem(last=False)
            entries -= gone.entries
            text -= gone.open_text


def items_of(db: sqlite3.Connection, notebook: str) -> Iterator[Item]:
    """Every entry of a notebook that is good by itself, as it came; one after another, for all of them are its text."""
    sql = "SELECT number, envelope, line, base_flags FROM envelope WHERE notebook = ? AND base = '' ORDER BY number"
    for number, digest, line, flags in db.execute(sql, (notebook,)):
        payload = unb64url(json.loads(line)["payload"])
        entry: dict[str, Any] = strict_json(payload)
        yield Item(number, digest, sha256(payload).digest(), entry, flags=tuple(json.loads(flags)))


def entry_of(db: sqlite3.Connection, number: int) -> dict[str, Any]:
    """What an entry says that came as this number."""
    (line,) = db.execute("SELECT line FROM envelope WHERE number = ?", (number,)).fetchone()
    entry: dict[str, Any] = strict_json(unb64url(json.loads(line)["payload"]))
    return entry
