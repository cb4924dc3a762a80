"""Keys changed: entries that they signed are judged again. What was said before stays in the log beside it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.capture import rfc3339
from drivers.enotes.awaiting import put_awaited
from drivers.enotes.judging import judge
from drivers.enotes.notebooks import entry_of, items_of
from drivers.enotes.offers import device_of
from drivers.enotes.receiving import note_changes, put_changes
from firmware_specs.formats.enote import Status, moment
from firmware_specs.formats.enote_notebook import Item, Notebook

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from agent.driver import Intake
    from drivers.enotes.notebooks import Notebooks
    from drivers.enotes.options import EnotesOptions
    from drivers.enotes.register import Key, Register
    from drivers.enotes.shelf import Shelf

__all__ = ["Reconsidering"]

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Reconsidering:
    """Judges again what certain keys signed."""

    def __init__(
        self, options: EnotesOptions, shelf: Shelf, register: Register, notebooks: Notebooks, intake: Intake
    ) -> None:
        self._options, self._shelf, self._register = options, shelf, register
        self._notebooks, self._intake = notebooks, intake

    async def keys(self, kids: Sequence[str]) -> None:
        """Look at every notebook in which one of these keys signed something, one after another."""
        marks, before = ",".join("?" * len(kids)), dict(self._register.keys)
        sql = f"SELECT DISTINCT notebook FROM envelope WHERE notebook IS NOT NULL AND kid IN ({marks})"  # noqa: S608
        names = await self._shelf.look(lambda db: [row[0] for row in db.execute(sql, list(kids))])
        for name in names:
            await self._notebook(name, frozenset(kids))
        # What became of a key meanwhile is looked at by whoever changed it, or by the next start.
        done = [(kid,) for kid in kids if self._register.keys.get(kid) == before.get(kid)]
        await self._shelf.run(lambda db: db.executemany("UPDATE key SET judged = 1 WHERE kid = ?", done))

    async def left(self) -> None:
        """Every key that changed since what it signed was judged: by an enrolment, or in an earlier run."""
        left = await self._shelf.look(lambda db: db.execute("SELECT kid FROM key WHERE judged = 0").fetchall())
        if left:
            await self.keys([row[0] for row in left])

    async def _notebook(self, name: str, kids: frozenset[str]) -> None:
        late_after = timedelta(seconds=self._options.late_after)
        keys = dict(self._register.keys)
        async with self._notebooks.alone(name):
            self._notebooks.forget(name)
            # Two steps: what signatures say stands in the index before the entry about the notebook is written, and
            # what follows for the chain behind it. After a crash between them the same comes out once more.
            await self._shelf.run(lambda db: _rejudge(db, name, kids, keys))
            chain, changed = await self._shelf.look(lambda db: replayed(db, name, late_after))
            device = device_of("register", self._options.name)
            if changed:
                await self._intake.sight(device)
                await note_changes(self._intake, device, name, chain, changed, datetime.now(UTC))
            await self._shelf.run(lambda db: put_changes(db, changed))
            self._notebooks.forget(name)


def _rejudge(db: sqlite3.Connection, notebook: str, kids: frozenset[str], keys: Mapping[str, Key]) -> None:
    """What signature, key and form say now, for everything of a notebook that these keys signed."""
    marks = ",".join("?" * len(kids))
    sql = f"SELECT number FROM envelope WHERE notebook = ? AND kid IN ({marks})"  # noqa: S608
    now = rfc3339(datetime.now(UTC))
    for (number,) in db.execute(sql, (notebook, *kids)).fetchall():  # each line by itself: all of them may be much
        sql = "SELECT line, received_at, base_flags FROM envelope WHERE number = ?"
        line, received_at, flags = db.execute(sql, (number,)).fetchone()
        found = judge(line, keys, tablet=None, received_at=moment(received_at) or _LONG_AGO)
        kept = [flag for flag in json.loads(flags) if flag.startswith(("tablet_", "other_"))]
        told = json.dumps([*found.flags, *kept])
        base = "" if found.base is None else found.base.value
        db.execute("UPDATE envelope SET base = ?, base_flags = ? WHERE number = ?", (base, told, number))
        put_awaited(db, [found], now)


def replayed(db: sqlite3.Connection, notebook: str, late_after: timedelta) -> tuple[Notebook, list[Item]]:
    """The chain from its beginning, and every entry that is something else than the index says."""
    chain = Notebook(late_after=late_after, entry_of=lambda item: entry_of(db, item.number))
    items: dict[int, Item] = {}
    for item in items_of(db, notebook):
        chain.add(item)
        item.entry = None
        items[item.number] = item
    changed: list[Item] = []
    sql = "SELECT number, seq, status, base, base_flags, envelope FROM envelope WHERE notebook = ?"
    for number, seq, status, base, flags, digest in db.execute(sql, (notebook,)):
        if not base:
            if items[number].status.value != status:
                changed.append(items[number])
        elif base != status:  # no link of the chain, or no longer one
            entry = {"seq": seq or 0, "prev": None}
            changed.append(Item(number, digest, b"", entry, Status(base), tuple(json.loads(flags))))
    return chain, changed
