"""Captures are found by officer, incident, device and time: by indexes, also those of an older journal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from agent.capture import DRILL, Device, Parts
from agent.clock import Clock
from agent.errors import Refusal
from agent.journal import Journal, database, queries
from agent.journal.verify import Verification
from agent.journal.words import WORDS_MAX, folded, words
from agent.station import views
from tests.spine.make import DEVICE, LOG, capture, digest, hold, reopened

if TYPE_CHECKING:
    from agent.journal.verify import Report

OTHER = Device(id="usb:0951:1666:SN-2", family="body_worn", driver="bay1", serial="SN-2")
AXIS = {"said": {"UserID": "b7e0", "UserName": "PC Anna  Lind"}, "triggers": [{"CaseNumber": 4711}]}
NOTE = {"author": {"badge": "4471", "name": "PC A. Sample"}, "incident": "urn:incident:9"}


def names(found: dict[str, object]) -> list[str]:
    return [one["key"] for one in found["captures"]]  # type: ignore[index, attr-defined]


def verified(journal: Journal) -> Report:
    work = Verification(journal)
    while not work.done:
        work.step(journal)
    return work.report()


def test_by_what_a_device_claims_in_its_own_words(journal: Journal) -> None:
    hold(journal, "a", claims=AXIS)
    hold(journal, "b", claims=NOTE, device=OTHER)
    hold(journal, "c", claims={"officer": "PC Anna Lind", "note": "4711"}, device=OTHER)
    assert names(views.captures(journal, officer="pc anna lind")) == ["c", "a"]
    assert names(views.captures(journal, officer="4471")) == ["b"]
    assert names(views.captures(journal, officer="PC A. SAMPLE")) == ["b"]
    assert names(views.captures(journal, incident="4711")) == ["a"]
    assert names(views.captures(journal, incident="urn:incident:9", officer="B7E0")) == []
    assert names(views.captures(journal, device="SN-2")) == ["c", "b"]
    assert names(views.captures(journal, device=DEVICE.id, officer="PC Anna Lind")) == ["a"]
    page = views.captures(journal, device="sn-2", limit=1)
    assert names(views.captures(journal, device="sn-2", before=page["next"])) == ["b"]
    assert verified(journal).ok


def test_by_time(journal: Journal) -> None:
    known = hold(journal, "a")
    hold(journal, "b")
    assert names(views.captures(journal, since=known.held_at.isoformat())) == ["b", "a"]
    assert names(views.captures(journal, since="2999-01-01")) == []
    with pytest.raises(Refusal, match="no time"):
        views.captures(journal, since="yesterday")


def test_a_drill_is_in_no_list_of_evidence_and_in_no_sum(journal: Journal) -> None:
    drill = Device(id=f"{DRILL}bench-1", family="drill", driver="drill")
    hold(journal, "a")
    made = hold(journal, "d", device=drill)
    assert names(views.captures(journal)) == ["a"]
    assert names(views.captures(journal, device=drill.id)) == []
    assert names(views.captures(journal, drills=True)) == ["d"]
    assert views.summary(journal)["tally"]["held"]["captures"] == 1
    assert [one["id"] for one in views.devices(journal)["devices"]] == [DEVICE.id]
    with journal.transaction():
        journal.refuse(made.id, "no")
    assert views.summary(journal)["aside"]["refused"] == 0
    assert [one.id for one in queries.aside(journal)] == [made.id]  # it is not forgotten either
    assert verified(journal).ok


def test_what_a_device_claims_is_bounded() -> None:
    deep: dict[str, object] = {"officer": "found too deep"}
    for _ in range(20):
        deep = {"x": deep}
    claims = {
        "officer": [f"{n}" for n in range(1000)],
        "badge": "x" * 10_000,
        "user": [None, True, 1.5, {}, "  "],
        "deep": deep,
    }
    found = words({"device": {"id": "d", "serial": None}, "capture": {"claims": claims}})
    assert len(found) == WORDS_MAX
    assert all(len(value) < 10 for _, value in found)
    assert folded(" PC\t4471  A ") == "pc 4471 a"


def test_an_older_journal_is_found_through_as_well(journal: Journal, tmp_path: Path) -> None:
    """What it held before there was an index, in a file of that schema."""
    hold(journal, "a", claims=AXIS)
    hold(journal, "b", claims=NOTE, device=OTHER)
    path = tmp_path / "older.db"
    _older(journal, path)
    again = reopened(journal, path)
    try:
        assert names(views.captures(again, officer="PC Anna Lind")) == ["a"]
        assert names(views.captures(again, device="SN-2")) == ["b"]
        assert verified(again).ok
    finally:
        again.close()


def _older(journal: Journal, path: Path) -> None:
    """The rows of this journal in a file of schema 2, with the columns that it had."""
    older = apsw.Connection(str(path))
    for file in sorted((Path(database.__file__).parent / "schema").glob("*.sql"))[:2]:
        older.execute(file.read_text())
    older.pragma("application_id", database.APPLICATION_ID)
    older.pragma("user_version", 2)
    for (table,) in older.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        columns = ", ".join(one[1] for one in older.execute(f"PRAGMA table_info({table})"))
        rows = journal.connection.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608 - names are ours
        if rows:
            older.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608
    older.close()


def test_a_changed_index_is_found_out(journal: Journal) -> None:
    hold(journal, "a", claims=AXIS)
    journal.connection.execute("UPDATE word SET value = 'pc nobody' WHERE value = 'pc anna lind'")
    assert any("officer" in one for one in verified(journal).problems)
    journal.connection.execute("INSERT INTO word VALUES ('officer', 'pc anna lind', 1)")
    assert any("no entry tells" in one for one in verified(journal).problems)


def test_a_search_reads_no_more_than_it_finds(tmp_path: Path) -> None:
    """Each search is answered after a few steps of SQLite: by an index, and not by looking at every capture."""
    stamped = Clock().stamp
    journal = Journal.open(tmp_path / "many.db", log=LOG, stamp=stamped)
    journal.connection.pragma("synchronous", "off")
    try:
        with journal.transaction():
            for number in range(3000):
                claims = {"officer": f"{number % 100}", "incident": f"case {number // 7}"}
                journal.hold(capture(f"{number}", claims=claims), digest(f"{number}"), Parts())
        steps = _steps(journal)
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        for wanted, most in (
            ({"officer": "17"}, 30),
            ({"incident": "case 3"}, 7),
            ({"officer": "17", "incident": "case 2"}, 1),
            ({"since": tomorrow}, 0),
        ):
            before = steps()
            assert len(views.captures(journal, **wanted)["captures"]) == most
            assert steps() - before < 3000, wanted  # looking at all of them takes some 10,000
    finally:
        journal.close()


def _steps(journal: Journal) -> object:
    count = [0]

    def tick() -> bool:
        count[0] += 1
        return False

    journal.connection.set_progress_handler(tick, 10)
    return lambda: count[0] * 10


def test_words_are_json_of_a_leaf(journal: Journal) -> None:
    hold(journal, "a", claims=AXIS)
    rows = journal.connection.execute("SELECT words_of(leaf) FROM entry WHERE seq = 1").get
    assert ["incident", "4711"] in json.loads(rows)
    assert isinstance(journal.connection, apsw.Connection)
