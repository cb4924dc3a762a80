"""The journal: entries and standings move together, along the table and no other way."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from agent.capture import STEPS, Priority, Standing, Strength
from agent.errors import Refusal
from agent.journal import Journal, queries
from agent.testing.audit import read_journal
from tests.spine.make import ACTS, WAYS, brought, capture, hold, receipt

LOG = "edge.example.org/bench-1/log1"


def entry(journal: Journal, seq: int = -1) -> dict:
    return json.loads(journal.leaves.leaf(seq if seq >= 0 else journal.leaves.size + seq))


# --- the table of steps -----------------------------------------------------------------------------------------------


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
            ACTS[after](journal, known)
    except Refusal:
        assert not (after in STEPS[before] and known.spooled)
        assert (journal.leaves.size, journal.leaves.root()) == (size, root)
        assert journal.get(known.id).standing is before
    else:
        assert allowed
        assert journal.get(known.id).standing is after
    assert read_journal(journal).problems == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"began_at": None},
        {"began_at": datetime(2026, 11, 22, 7, 2, 17, 123456, tzinfo=UTC)},
        {"began_at": datetime(2026, 11, 22, 9, 2, 17, 123000, tzinfo=timezone(timedelta(hours=2)))},
        {"group": "REC1", "clip": 3, "members": 7, "media_type": "video/mp4", "priority": Priority.BULK},
        {"volatile": True, "claims": {"officer": "4711"}},
        {"forgets": "overwrites its oldest recordings by itself"},
    ],
)
def test_what_is_told_of_a_capture_when_it_is_held_is_what_is_read_of_it_later(journal: Journal, fields: dict) -> None:
    held = hold(journal, "a", **fields)
    assert held == journal.get(held.id)
    assert held.origin.token == journal.get(held.id).origin.token


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
    assert known.id == queries.of_origin(journal, capture("a").origin.token).id


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
            journal.receipt(known.id, receipt(known, strength))
        assert journal.get(known.id).receipt.strength is stands


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
    assert queries.of_origin(journal, capture("a").origin.token).id == second.id


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
