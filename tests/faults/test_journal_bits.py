"""One bit of the journal's file turned over: it does not open, or the look through it says so, or nothing is different.

The journal is one that the real daemon wrote, with full tiles, receipts and releases. Nothing is different means: every
row of every table is the same, SQLite finds nothing, and the look finds nothing.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from itertools import zip_longest
from random import Random
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from agent.clock import Clock
from agent.errors import JournalError
from agent.journal import Journal
from agent.journal.verify import Verification
from agent.testing.dems import EmulatedDems
from agent.testing.devices import some_bytes
from agent.testing.process import LOG
from tests.faults.form import SEED, form, time_is_over, why
from tests.faults.report import reached
from tests.faults.rig import Nursery, Rig

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = form(60, 3_000)
CAMPAIGNS = form(1, 2)
NOTED = {"destinations", "context_told", "roster", "mqtt.through", "mqtt.bd"}
"""Rows of `meta` that say how far something got; what a promise rests on are the names and keys of the log."""
HINTS = {"upload", "span", "spent", "unsettled", "alias", "checkpoint"}
"""Tables that no promise rests on: where an upload is, when to look at what, and heads (the newest are compared)."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a daemon that took and released a hundred captures, and has ended in order."""
    folder = tmp_path_factory.mktemp("written")

    async def live() -> Path:
        nursery = Nursery(EVIDOCK_FORKED="1")
        async with EmulatedDems(folder / "dems") as dems:
            rig = Rig(folder, nursery, dems)
            for number in range(70):
                rig.camera.record(some_bytes(300, number))
            await rig.drain()
            await dems.add_fault("*:*:503")
            for number in range(5):
                rig.camera.record(some_bytes(300, 1000 + number))
            pid = await rig.start()
            while rig.daemon.words.read_text().count(" held ") < 75:  # noqa: ASYNC110 - its words tell nobody
                await asyncio.sleep(0.05)
            await nursery.end(pid, signal.SIGTERM)
        nursery.close()
        return rig.daemon.state / "journal.db"

    return asyncio.run(live())


def everything(connection: apsw.Connection) -> dict[str, list[Any]]:
    """Every row of every table on which a promise rests, and the schema."""
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    found = {
        name: connection.execute(f'SELECT * FROM "{name}" NOT INDEXED').fetchall()  # noqa: S608 - names of our schema
        for (name,) in names
        if name not in HINTS
    }
    found["meta"] = [row for row in found["meta"] if row[0] not in NOTED]
    # An entry says its moment to the millisecond; on what the table has beyond that no promise rests.
    columns = [row[1] for row in connection.execute("PRAGMA table_xinfo(capture)")]
    moments = [columns.index(name) for name in ("held_at", "changed_at", "receipted_at")]
    found["capture"] = [
        tuple(value // 1000 if at in moments and value is not None else value for at, value in enumerate(row))
        for row in found["capture"]
    ]
    return found | {"schema": connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()}


def looked(path: Path) -> tuple[list[str], dict[str, list[Any]]]:
    """(what the look through it finds, everything that stands in it)."""
    journal = Journal.open(path, log=LOG, stamp=Clock().stamp)
    try:
        look = Verification(journal)
        while not look.done:
            look.step(journal)
        problems = look.report().problems
        return problems, {} if problems else everything(journal.connection)
    finally:
        journal.close()


def difference(true: dict[str, list[Any]], found: dict[str, list[Any]]) -> str:
    name = next(one for one in true if found[one] != true[one])
    rows = [pair for pair in zip_longest(true[name], found[name]) if pair[0] != pair[1]]
    return f"{len(rows)} rows of {name}, the first {rows[0][0]!r:.300} and now {rows[0][1]!r:.300}"


@pytest.mark.slow
@pytest.mark.parametrize("campaign", range(CAMPAIGNS))
def test_a_bit_of_the_journal_that_turned_over_is_named(written: Path, tmp_path: Path, campaign: int) -> None:
    seed, asked = SEED * 1_000_003 + campaign, FLIPS // CAMPAIGNS
    chance, raw, path = Random(seed), written.read_bytes(), tmp_path / "journal.db"
    shutil.copy(written, path)
    problems, true = looked(path)
    assert not problems, problems
    told = {"does not open": 0, "is named": 0, "is of no use": 0}
    wrong: list[str] = []
    while sum(told.values()) < asked and not time_is_over():
        at, bit = chance.randrange(len(raw)), chance.randrange(8)
        for old in tmp_path.glob("journal.db*"):
            old.unlink()
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :])
        try:
            problems, found = looked(path)
        except JournalError:
            told["does not open"] += 1
            continue
        told["is named" if problems else "is of no use"] += 1
        if not problems and found != true:
            wrong.append(f"bit {bit} of byte {at}: {', '.join(name for name in true if found[name] != true[name])}")
    done = sum(told.values())
    for how, count in told.items():
        reached(7, f"a bit of the journal's pages that {how}", asked=count, reached=count, violations=0, seed=seed)
    reached(
        7,
        "bits of the journal's pages",
        asked=asked,
        reached=done,
        violations=len(wrong),
        seed=seed,
        detail=why(asked, done),
    )
    assert not wrong, wrong[:10]


def test_a_leaf_that_the_disk_changed_after_the_last_full_tile_does_not_start(written: Path, tmp_path: Path) -> None:
    """Found by a flipped bit: such a leaf was hashed anew at the next start, and the tree agreed with it."""
    path = tmp_path / "journal.db"
    shutil.copy(written, path)
    connection = apsw.Connection(str(path))
    last = connection.execute("SELECT max(seq) FROM entry").get
    connection.execute(
        "UPDATE entry SET leaf = CAST(replace(leaf, 'edge.example', 'edge.exbmple') AS BLOB) WHERE seq = ?", (last,)
    )
    connection.close()
    with pytest.raises(JournalError, match=f"entry {last} .* does not agree"):
        looked(path)


def test_entries_without_the_name_of_their_log_are_not_gone_on_with(written: Path, tmp_path: Path) -> None:
    """One bit of that name's own name, and the log began a second time behind its own entries."""
    path = tmp_path / "journal.db"
    shutil.copy(written, path)
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE meta SET name = 'mog' WHERE name = 'log'")
    connection.close()
    with pytest.raises(JournalError, match="does not say which log they are of"):
        looked(path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("DROP INDEX capture_origin", "index capture_origin is not as it was written"),
        ("UPDATE capture SET changed_at = changed_at + 3600000000 WHERE row = 3", "was changed at"),
        ("UPDATE entry SET capture = 1 WHERE seq = 0", "belongs to another capture"),
        ("UPDATE capture SET spooled = 9 WHERE standing = 1 AND row % 2", "is not spelled as it is written"),
        ("UPDATE capture SET began_at = replace(began_at, 'T', 'U') WHERE row = 3", "is not spelled as it is written"),
    ],
)
def test_what_no_entry_contradicts_is_named_all_the_same(
    written: Path, tmp_path: Path, change: str, named: str
) -> None:
    """Each was found by a flipped bit."""
    path = tmp_path / "journal.db"
    shutil.copy(written, path)
    connection = apsw.Connection(str(path))
    connection.execute(change)
    connection.close()
    problems, _ = looked(path)
    assert any(named in problem for problem in problems), problems
