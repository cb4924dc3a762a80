"""What the journal's entries are to a stranger, and what the other rooms ask of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf.json_format import Parse
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from agent.capture import Priority, Standing
from agent.errors import Refusal
from agent.journal import Event, Journal, finding, queries
from agent.station import dossiers, views
from agent.testing.audit import read_journal
from tests.spine.make import DEVICE, WAYS, brought, digest, hold, receipt, reopened

if TYPE_CHECKING:
    from pathlib import Path


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
    assert len(queries.listing(journal, queries.Search(standing=Standing.HELD, device="usb:0951:1666:SN-1"))) == 1
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
    assert finding.was_purged(journal, first.digest.sha256)


def test_clips_of_one_recording_stand_in_the_devices_order(journal: Journal) -> None:
    for key, clip, group in (
        ("c", 3, "REC-7"),
        ("a", 1, "REC-7"),
        ("b", 2, "REC-7"),
        ("x", 1, "REC-8"),
        ("y", 2, None),
    ):
        hold(journal, key, group=group, clip=clip)
    found = queries.recording(journal, DEVICE.id, "REC-7", 2)
    assert [(one.origin.key, one.clip) for one in found] == [("a", 1), ("b", 2)]
    told = views.capture(journal, found[0].id)["capture"]
    assert [one["key"] for one in told["recording"]] == ["a", "b", "c"]
    assert told["clip"] == 1
    assert read_journal(journal).problems == []
    sql = (
        "EXPLAIN QUERY PLAN SELECT 1 FROM capture WHERE device = 'd' AND grouping = 'g' ORDER BY clip, held_seq LIMIT 9"
    )
    assert "capture_grouping" in str(list(journal.connection.execute(sql)))


def test_an_export_is_an_entry_about_each_capture_and_waits_for_no_checkpoint(journal: Journal) -> None:
    known = [hold(journal, key, group="REC-7") for key in "abc"]
    with journal.transaction():
        told = dossiers.exported(journal, [one.id for one in known[:2]], actor="user:anna(1000)", why="case 7")
    assert told["left_out"] == [known[2].id]
    for one in known[:2]:
        story = list(queries.story(journal, one.id))
        said = story[-1]["predicate"]
        assert (said["command"], said["actor"], said["why"]) == ("export", "user:anna(1000)", "case 7")
        assert len(dossiers.dossiers(journal, [one.id])["captures"][0]["story"]) == 1
    assert read_journal(journal).problems == []
    with pytest.raises(Refusal, match="say why"), journal.transaction():
        dossiers.exported(journal, [known[0].id], actor="user:anna(1000)", why=" ")
