"""The journal: entries and standings move together, along the table and no other way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Never

import apsw
import pymerkle
import pytest
from google.protobuf.json_format import Parse
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from agent.capture import STEPS, Holding, Parts, Priority, Standing, Strength
from agent.clock import Clock
from agent.errors import JournalError, Refusal
from agent.journal import Event, Journal, database, queries
from agent.testing.audit import read_journal
from tests.spine.make import capture, digest, hold, receipt

LOG = "edge.example.org/bench-1/log1"


def reopened(journal: Journal, path: Path, log: str = LOG) -> Journal:
    journal.close()
    return Journal.open(path, log=log, stamp=Clock().stamp)


def entry(journal: Journal, seq: int = -1) -> dict:
    return json.loads(journal.leaves.leaf(seq if seq >= 0 else journal.leaves.size + seq))


# --- the table of steps -----------------------------------------------------------------------------------------------

ACTS = {
    Standing.HELD: lambda journal, known: journal.retry(known.id, actor="anna", why="again"),
    Standing.RECEIPTED: lambda journal, known: journal.receipt(known.id, receipt(known)),
    Standing.RELEASED: lambda journal, known: journal.intend_release(known.id, {}) and journal.release(known.id),
    Standing.PURGED: lambda journal, known: journal.purge(known.id),
    Standing.REFUSED: lambda journal, known: journal.refuse(known.id, "no"),
    Standing.QUARANTINED: lambda journal, known: journal.quarantine(known.id, "doubt"),
}
WAYS = {
    Standing.HELD: (),
    Standing.RECEIPTED: (Standing.RECEIPTED,),
    Standing.RELEASED: (Standing.RECEIPTED, Standing.RELEASED),
    Standing.PURGED: (Standing.RECEIPTED, Standing.RELEASED, Standing.PURGED),
    Standing.REFUSED: (Standing.REFUSED,),
    Standing.QUARANTINED: (Standing.QUARANTINED,),
}


def brought(journal: Journal, standing: Standing, key: str = "a") -> Holding:
    known = hold(journal, key)
    for step in WAYS[standing]:
        with journal.transaction():
            known = ACTS[step](journal, journal.get(known.id))
    assert journal.get(known.id).standing is standing
    return known


@pytest.mark.parametrize("before", list(WAYS))
@pytest.mark.parametrize("after", list(ACTS))
def test_the_journal_takes_the_steps_of_the_table_and_no_others(
    journal: Journal, before: Standing, after: Standing
) -> None:
    known = brought(journal, before)
    size, root = journal.leaves.size, journal.leaves.root()
    # A person may always ask for a retry as long as the bytes are there; the rest is the table.
    allowed = after in STEPS[before] or after is before or (after is Standing.HELD and known.spooled)
    if before is Standing.PURGED or (after is Standing.PURGED and before is Standing.RECEIPTED):
        return  # what these mean has tests of its own
    try:
        with journal.transaction():
            found = ACTS[after](journal, known)
    except Refusal:
        assert not (after in STEPS[before] and known.spooled)
        assert (journal.leaves.size, journal.leaves.root()) == (size, root)
        assert journal.get(known.id).standing is before
    else:
        assert allowed
        assert found.standing is after
    assert read_journal(journal).problems == []


def test_a_purged_capture_moves_only_when_its_device_offers_it_again(journal: Journal) -> None:
    known = brought(journal, Standing.PURGED)
    for act in ("refuse", "quarantine"):
        with pytest.raises(Refusal), journal.transaction():
            getattr(journal, act)(known.id, "no")
    with pytest.raises(Refusal), journal.transaction():
        journal.retry(known.id, actor="anna", why="gone")
    again = hold(journal, "a")
    assert (again.id, again.standing, again.spooled) == (known.id, Standing.RECEIPTED, True)
    assert read_journal(journal).problems == []


def test_a_released_capture_that_is_offered_again_is_taken_and_stands_receipted(journal: Journal) -> None:
    known = brought(journal, Standing.RELEASED)
    assert hold(journal, "a").standing is Standing.RECEIPTED
    assert entry(journal)["predicate"]["event"] == "capture.offered_again"
    assert read_journal(journal).problems == []
    assert known.id == journal.of_origin(capture("a").origin.token).id


def test_purging_a_receipted_capture_leaves_it_receipted(journal: Journal) -> None:
    known = brought(journal, Standing.RECEIPTED)
    with journal.transaction():
        found = journal.purge(known.id)
    assert (found.standing, found.spooled) == (Standing.RECEIPTED, False)
    assert read_journal(journal).problems == []


def test_what_a_person_retains_is_neither_released_nor_purged(journal: Journal) -> None:
    known = brought(journal, Standing.RECEIPTED)
    with journal.transaction():
        journal.retain(known.id, keep=True, actor="anna", why="court order")
    for act in (
        lambda: journal.release(known.id),
        lambda: journal.purge(known.id),
        lambda: journal.intend_release(known.id, {}),
    ):
        with pytest.raises(Refusal), journal.transaction():
            act()
    with journal.transaction():
        journal.retain(known.id, keep=False, actor="anna", why="lifted")
        journal.intend_release(known.id, {})
        journal.release(known.id)
    assert [e["predicate"].get("why") for e in queries.story(journal, known.id)][2:4] == ["court order", "lifted"]


def test_whatever_is_asked_nothing_goes_on_less_than_a_digest(journal: Journal) -> None:
    known = hold(journal, "a")
    with journal.transaction():
        journal.receipt(known.id, receipt(known, Strength.LENGTH))
    for act in (
        lambda: journal.intend_release(known.id, {}),
        lambda: journal.release(known.id),
        lambda: journal.purge(known.id),
    ):
        with pytest.raises(Refusal, match="digest"), journal.transaction():
            act()


def test_a_weaker_receipt_never_replaces_a_stronger_one(journal: Journal) -> None:
    known = hold(journal)
    for strength, stands in (
        (Strength.LENGTH, Strength.LENGTH),
        (Strength.DIGEST, Strength.DIGEST),
        (Strength.LENGTH, Strength.DIGEST),
        (Strength.SIGNED, Strength.SIGNED),
        (Strength.DIGEST, Strength.SIGNED),
    ):
        with journal.transaction():
            assert journal.receipt(known.id, receipt(known, strength)).receipt.strength is stands


def test_a_retry_forgets_the_receipt(journal: Journal) -> None:
    known = brought(journal, Standing.RECEIPTED)
    with journal.transaction():
        found = journal.retry(known.id, actor="anna", why="the DEMS lost it")
    assert (found.standing, found.receipt, found.receipted_at) == (Standing.HELD, None, None)


def test_holding_the_same_bytes_twice_is_one_entry(journal: Journal) -> None:
    hold(journal, "a")
    size = journal.leaves.size
    hold(journal, "a")
    assert journal.leaves.size == size


def test_other_bytes_of_one_origin_are_another_capture(journal: Journal) -> None:
    first, second = hold(journal, "a", b"one"), hold(journal, "a", b"two")
    assert first.id != second.id
    assert journal.of_origin(capture("a").origin.token).id == second.id


@pytest.mark.parametrize("act", ["refuse", "quarantine", "receipt", "release", "purge", "lose"])
@pytest.mark.parametrize("name", ["nonsense", "0e1fd2a4-7f7e-8a4b-9d5e-3a1b2c3d4e5f"])
def test_what_is_not_known_is_refused(journal: Journal, act: str, name: str) -> None:
    arguments = {"refuse": ("r",), "quarantine": ("r",), "receipt": (receipt(hold(journal)),)}.get(act, ())
    with pytest.raises(Refusal), journal.transaction():
        getattr(journal, act)(name, *arguments)


def test_a_reason_is_written_once(journal: Journal) -> None:
    known = brought(journal, Standing.RECEIPTED)
    for _ in range(5):
        with journal.transaction():
            journal.refuse_release(known.id, "the policy says no")
    events = [e["predicate"]["event"] for e in queries.story(journal, known.id)]
    assert events == ["held", "receipted", "release.refused"]


# --- one transaction --------------------------------------------------------------------------------------------------


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


# --- the file ---------------------------------------------------------------------------------------------------------


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


def test_it_is_opened_so_that_a_commit_survives_a_power_cut(journal: Journal, tmp_path: Path) -> None:
    pragma = journal.connection.pragma
    assert (pragma("journal_mode"), pragma("synchronous"), pragma("locking_mode")) == ("wal", 2, "exclusive")
    assert not (tmp_path / "journal.db-shm").exists()


# --- entries ----------------------------------------------------------------------------------------------------------


def test_every_kind_of_entry_is_a_statement_to_an_independent_reader(journal: Journal) -> None:
    known = brought(journal, Standing.RELEASED)
    with journal.transaction():
        journal.quarantine_part(digest(b"part"), "torn", origin=None, about={"key": "a"})
        journal.record(Event.DEVICE_ATTACHED, {"device": {"id": "x"}})
        journal.check_fixity(known.id, {"fixity": "ok"})
    for _, leaf in journal.leaves.between(0, journal.leaves.size):
        message = Parse(leaf, statement_pb2.Statement())
        Statement.copy_from_pb(message).validate()
        assert message.subject[0].name


def test_an_entry_that_is_too_large_is_refused_and_the_journal_goes_on(journal: Journal) -> None:
    root = journal.leaves.root()
    with pytest.raises(ValueError, match="larger than the log"), journal.transaction():
        journal.record(Event.OBSERVED, {"lots": "x" * 70_000})
    assert journal.leaves.root() == root
    hold(journal, "a")
    assert read_journal(journal).problems == []


@pytest.mark.parametrize("reason", ["x" * 100_000, "\ud800 \udcff", "\0\n\t\x7f\u202e", "", '"\\'])
def test_a_reason_may_quote_anything(journal: Journal, reason: str) -> None:
    known = hold(journal, "a")
    with journal.transaction():
        found = journal.quarantine(known.id, reason)
        journal.quarantine_part(digest(b"part"), reason, origin=None, about={})
    assert len(found.reason) <= 1000 * 6
    assert read_journal(journal).problems == []


# --- what the other rooms ask -----------------------------------------------------------------------------------------


def test_the_queue_is_in_order_of_priority_and_then_of_arrival_page_by_page(journal: Journal) -> None:
    order = [Priority.ROUTINE, Priority.FIRST, Priority.BULK, Priority.ROUTINE, Priority.FLAGGED, Priority.FIRST]
    held = [hold(journal, f"{n}", priority=priority) for n, priority in enumerate(order)]
    expected = sorted(held, key=lambda one: (one.priority, one.index))
    found, after = [], (-1, -1)
    while page := queries.queue(journal, 2, after):
        found += page
        after = (int(page[-1].priority), page[-1].index)
    assert [one.id for one in found] == [one.id for one in expected]
    with journal.transaction():
        journal.prioritise(held[2].id, Priority.USE_OF_FORCE, actor="anna", why="court")
    assert queries.queue(journal, 10)[2].id == held[2].id


def test_the_queue_is_an_index(journal: Journal) -> None:
    plan = journal.connection.execute(
        "EXPLAIN QUERY PLAN SELECT row FROM capture WHERE standing = 1 AND (priority, held_seq) > (1, 1)"
        " ORDER BY priority, held_seq LIMIT 5"
    ).fetchall()
    assert "capture_queue" in str(plan)
    assert "SCAN" not in str(plan).replace("SCAN capture USING", "")
    assert "TEMP B-TREE" not in str(plan)


def test_people_type_the_first_digits_of_an_id(journal: Journal) -> None:
    held = [hold(journal, f"{n}").id for n in range(30)]
    for name in held:
        assert queries.resolve(journal, name[:13]) == [name]
        assert queries.resolve(journal, name.replace("-", "").upper()) == [name]
        assert name in queries.resolve(journal, name[0], limit=100)
    for nonsense in ("", "xyz", "0" * 33, "%", "' OR 1"):
        assert queries.resolve(journal, nonsense) == []


def test_the_sums_follow_every_step(journal: Journal) -> None:
    for n, standing in enumerate(WAYS):
        brought(journal, standing, f"{n}")
    assert {one: tally.captures for one, tally in queries.tally(journal).items()} == dict.fromkeys(WAYS, 1)
    assert [one.standing for one in queries.aside(journal)] == [Standing.REFUSED, Standing.QUARANTINED]
    assert len(queries.listing(journal)) == 6
    assert len(queries.listing(journal, standing=Standing.HELD, device="usb:0951:1666:SN-1")) == 1
    newest = queries.listing(journal, limit=2)
    assert newest[0].index > newest[1].index
    assert queries.listing(journal, before=newest[1].index)[0].index < newest[1].index


def test_what_an_uplink_remembers_lasts_until_the_receipt(journal: Journal, tmp_path: Path) -> None:
    known = hold(journal, "a")
    with journal.transaction():
        queries.remember(journal, known.id, "dems", "https://dems.example.org/files/1")
    journal = reopened(journal, tmp_path / "journal.db")
    assert queries.recall(journal, known.id, "dems") == "https://dems.example.org/files/1"
    assert queries.recall(journal, known.id, "other") is None
    with journal.transaction():
        journal.receipt(known.id, receipt(known))
    assert queries.recall(journal, known.id, "dems") is None
    journal.close()


def test_the_same_bytes_of_two_devices_are_one_file_with_two_keepers(journal: Journal) -> None:
    first, second = hold(journal, "a", b"same"), hold(journal, "b", b"same")
    assert queries.keepers(journal, first.digest.sha256) == 2
    for known in (first, second):
        with journal.transaction():
            journal.receipt(known.id, receipt(known))
            journal.purge(known.id)
    assert queries.keepers(journal, first.digest.sha256) == 0
    assert queries.was_purged(journal, first.digest.sha256)
