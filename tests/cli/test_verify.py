"""`journal verify` against a hand that may write to the file: each change is named, at its place."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import apsw
import pytest
from blake3 import blake3

from agent.capture import Capture, Device, Digest, Parts, Priority, Receipt, Stamp, Standing, Strength, canonical
from agent.clock import Clock
from agent.custody.checkpoint import Checkpoint, sign_checkpoint
from agent.journal import Journal, anchors, contexts
from agent.journal.rows import text_id
from agent.journal.verify import PROBLEMS_MAX, Report, Verification
from agent.merkle import leaf_hash
from agent.note import Signer

if TYPE_CHECKING:
    from pathlib import Path

LOG = "edge.example.org/dock-1/log1"
CAPTURES = 60
FORGED = "CAST(substr(note, 1, length(note) - 9) || 'AAAA' || substr(note, length(note) - 4) AS BLOB)"
"""With other bytes in its signature."""
KEY = Signer.ed25519(LOG, bytes(range(32)))
WITNESS = Signer.cosigner("dems.example.org/witness1", bytes(32))


def opened(path: Path) -> Journal:
    return Journal.open(path, log=LOG, stamp=Clock().stamp)


def signed(size: int, root: bytes, *others: Signer) -> bytes:
    """The station's word for a head."""
    return sign_checkpoint(Checkpoint(LOG, size, root), KEY, *others)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of more than a tile, in which captures went every permitted way."""
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    journal = opened(path)
    device = Device("usb:bench:1", "body_worn", "bay-1")
    captures = [Capture(device, f"CLIP{number:04d}.MP4", None, number, group="g") for number in range(CAPTURES)]
    with journal.transaction():
        for number, capture in enumerate(captures):
            data = b"x" * number
            digest = Digest(sha256(data).digest(), blake3(data).digest(), number)
            held = journal.hold(capture, digest, Parts(b"p" * 64, b"t" * 64) if number % 7 == 0 else Parts())
            live(journal, held.id, number, capture, digest)
    assert journal.leaves.size > 256
    assert verified(journal).ok
    journal.close()
    return path


def live(journal: Journal, name: str, number: int, capture: Capture, digest: Digest) -> None:
    signed = Receipt(Strength.SIGNED, "dems", digest.length, digest.sha256, b"note")
    by = {"actor": "user:anna(1000)", "why": "case 7"}
    match number % 10:
        case 0:
            return
        case 1:
            journal.refuse(name, "too long")
            journal.retry(name, **by)
        case 2:
            journal.quarantine(name, "odd")
            journal.retry(name, **by)
            journal.retry(name, **by)
        case 3:
            journal.receipt(name, signed)
            journal.intend_release(name, {})
            journal.quarantine(name, "differs", superseded=True)
        case 4:
            journal.prioritise(name, Priority.FIRST, **by)
            journal.retain(name, keep=True, **by)
            journal.receipt(name, replace(signed, strength=Strength.LENGTH, note=None, sha256=None))
            journal.refuse_release(name, "only its length")
        case 5:
            journal.lose(name)
            journal.hold(capture, digest, Parts())
        case _:
            journal.receipt(name, replace(signed, strength=Strength.DIGEST, note=None))
            journal.receipt(name, signed)
            journal.intend_release(name, {})
            journal.refuse_release(name, "the card is locked")
            journal.release(name)
            journal.check_fixity(name, {})
            journal.purge(name)
            if number % 10 == 9:
                journal.hold(capture, digest, Parts())


def verified(journal: Journal) -> Report:
    work = Verification(journal)
    while not work.done:
        work.step(journal)
    return work.report()


def test_a_clock_that_is_set_within_an_act_leaves_nothing_that_looks_tampered_with(tmp_path: Path) -> None:
    """As when a car without a clock of its own gets its time: it is years between two looks at it."""
    clock, looks = Clock(), itertools.count()

    def stamp() -> Stamp:
        now = clock.stamp()
        return replace(now, at=now.at + timedelta(days=365 * next(looks) % 3650))

    device = Device("usb:bench:1", "body_worn", "bay-1")
    journal = Journal.open(tmp_path / "journal.db", log=LOG, stamp=stamp)
    try:
        for number in range(20):
            capture, data = Capture(device, f"CLIP{number:04d}.MP4", None, number), b"x" * number
            digest = Digest(sha256(data).digest(), blake3(data).digest(), number)
            held = journal.hold(capture, digest, Parts())
            live(journal, held.id, number, capture, digest)
        assert verified(journal).problems == []
    finally:
        journal.close()


@pytest.fixture
def tampered(lived: Path, tmp_path: Path) -> Tampered:
    path = tmp_path / "journal.db"
    path.write_bytes(lived.read_bytes())
    return Tampered(path)


class Tampered:
    """A copy of it, and someone who may write to the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def by(self, sql: str, values: tuple[Any, ...] = (), *, look: bool = True) -> list[str]:
        connection = apsw.Connection(str(self.path))
        connection.execute(sql, values)
        assert connection.changes() > 0
        connection.close()
        return self.problems() if look else []

    def problems(self) -> list[str]:
        journal = opened(self.path)
        try:
            report = verified(journal)
        finally:
            journal.close()
        assert report.ok is (not report.problems)
        return report.problems

    def leaf(self, seq: int) -> dict[str, Any]:
        connection = apsw.Connection(str(self.path))
        leaf = connection.execute("SELECT leaf FROM entry WHERE seq = ?", (seq,)).get
        connection.close()
        told: dict[str, Any] = json.loads(leaf)
        return told


def test_nothing_is_wrong_with_an_honest_one(tampered: Tampered) -> None:
    assert tampered.problems() == []


def test_a_changed_entry_of_a_full_tile(tampered: Tampered) -> None:
    told = tampered.leaf(40)
    told["predicate"]["recorded_at"] = "2020-01-01T00:00:00.000Z"
    problems = tampered.by("UPDATE entry SET leaf = ? WHERE seq = 40", (canonical(told),))
    assert any("tile 0 of level 0" in problem for problem in problems)


def test_a_changed_tile(tampered: Tampered) -> None:
    problems = tampered.by("UPDATE tile SET hashes = zeroblob(8192) WHERE level = 0 AND idx = 0")
    assert any("tile 0 of level 0" in problem for problem in problems)
    assert any("root" in problem for problem in problems)


def test_an_entry_that_is_no_canonical_json(tampered: Tampered) -> None:
    problems = tampered.by("UPDATE entry SET leaf = CAST(leaf || ' ' AS BLOB) WHERE seq = 10")
    assert any(problem.startswith("entry 10: is not canonical") for problem in problems)


_ABOUT = [{"digest": {"sha256": ""}, "name": 5}]
_NAMELESS = canonical({"_type": "", "predicate": {"event": "held", "seq": 0}, "predicateType": "", "subject": _ABOUT})


@pytest.mark.parametrize(
    "leaf",
    [b"", b"{}", b"[1]", b'"x"', b"\xff", b"{", b'{"predicate":{},"subject":[]}', _NAMELESS, b"[" * 60_000],
)
def test_an_entry_that_is_none(tampered: Tampered, leaf: bytes) -> None:
    assert any(
        problem.startswith("entry 0: ") for problem in tampered.by("UPDATE entry SET leaf = ? WHERE seq = 0", (leaf,))
    )


def test_a_missing_entry(tampered: Tampered) -> None:
    problems = tampered.by("DELETE FROM entry WHERE seq = 100")
    assert "entry 100: is missing" in problems


def test_an_entry_that_names_another_past(tampered: Tampered) -> None:
    told = tampered.leaf(0)
    told["subject"][0]["digest"]["sha256"] = "00" * 32
    problems = tampered.by("UPDATE entry SET leaf = ? WHERE seq = 0", (canonical(told),))
    assert any("names another root" in problem for problem in problems)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("standing = 3", "standing released"),
        ("priority = 0", "priority"),
        ("spooled = 0", "spooled False"),
        ("retained = 1", "order to keep True"),
        ("strength = 3, destination = 'dems'", "receipt"),
        ("reason = 'because'", "reason because"),
        ("superseded = 1", "superseded"),
        ("length = 7", "another length"),
        ("media_type = 'text/plain'", "another kind"),
        ("grouping = NULL", "another kind"),
        ("key = 'CLIP9999.MP4'", "another origin"),
        ("device = 'usb:bench:2'", "another origin"),
        ("held_seq = 0", "another place in the log"),
        ("part_sha256 = x'00'", "another digests of parts"),
        ("sha256 = zeroblob(32)", "speaks of something else"),
        ("origin = zeroblob(16)", "has not the id"),
        ("priority = 99", "cannot be read"),
    ],
)
def test_a_changed_table(tampered: Tampered, change: str, named: str) -> None:
    problems = tampered.by(f"UPDATE capture SET {change} WHERE row = 11")  # noqa: S608 - a capture that stands held
    assert any(named in problem for problem in problems), problems


def test_a_release_that_nobody_began(tampered: Tampered) -> None:
    problems = tampered.by("INSERT INTO intended VALUES (11, 3)")
    assert any("release begun by entry 3, and none did" in problem for problem in problems), problems


def test_a_release_of_no_capture(tampered: Tampered) -> None:
    problems = tampered.by("INSERT INTO intended VALUES (0, 3)")
    assert any(problem.startswith("releases: ") for problem in problems), problems


def test_a_capture_without_entries(tampered: Tampered) -> None:
    problems = tampered.by("UPDATE entry SET capture = 12 WHERE capture = 11")
    assert any("speaks of something else" in problem for problem in problems)


def test_a_row_that_was_taken_away(tampered: Tampered) -> None:
    problems = tampered.by("DELETE FROM capture WHERE row = 11")
    assert any(problem.startswith("captures: ") for problem in problems)
    assert any(problem.startswith("tally: held") for problem in problems)


def test_a_changed_tally(tampered: Tampered) -> None:
    problems = tampered.by("UPDATE tally SET bytes = bytes + 1 WHERE standing = 1")
    assert [problem.partition(":")[0] for problem in problems] == ["tally"]


@pytest.mark.parametrize("size", [300, 310])
def test_a_tree_that_is_not_the_one_that_was_signed(tampered: Tampered, size: int) -> None:
    """Whoever changes an entry of the last, partial tile and its hash: the signed checkpoint above it is what tells."""
    journal = opened(tampered.path)
    with journal.transaction():
        anchors.keep_log_vkey(journal, KEY.vkey)
        root = anchors.root_at(journal, size)
        anchors.keep_signed(journal, anchors.Signed(size, root, signed(size, root), Clock().stamp().at))
    journal.close()
    assert tampered.problems() == []
    told = tampered.leaf(290)
    told["predicate"]["recorded_at"] = "2020-01-01T00:00:00.000Z"
    tampered.by("UPDATE tail SET hash = ? WHERE seq = 290", (leaf_hash(canonical(told)),), look=False)
    problems = tampered.by("UPDATE entry SET leaf = ? WHERE seq = 290", (canonical(told),))
    assert f"checkpoint over {size} entries: was signed with another root than these entries have" in problems
    tampered.by("DELETE FROM tail WHERE seq >= 280", look=False)
    problems = tampered.by("DELETE FROM entry WHERE seq >= 280")
    assert f"checkpoint over {size} entries: was signed, and there are not so many entries" in problems


@pytest.fixture
def quoted(tampered: Tampered) -> Tampered:
    """Signed, cosigned, stamped and quoted, and signed once more: (size, event) of the quotes are its last entries."""
    journal, now = opened(tampered.path), Clock().stamp().at
    with journal.transaction():
        anchors.keep_log_vkey(journal, KEY.vkey)
        size = journal.leaves.size
        first = anchors.Signed(size, root := journal.leaves.root(), signed(size, root), now)
        anchors.keep_signed(journal, first)
        note = signed(size, root, WITNESS.at(now))
        anchors.keep_cosigned(journal, first, note, now)
        assert anchors.anchor_cosigned(journal, [WITNESS.verifier.name])
        anchors.keep_time_stamp(journal, anchors.TimeStamp(size, note, b"token", "https://tsa.example", now))
        last = journal.leaves.size
        anchors.keep_signed(journal, anchors.Signed(last, root := journal.leaves.root(), signed(last, root), now))
    journal.close()
    assert tampered.problems() == []
    return tampered


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (f"checkpoint SET note = {FORGED} WHERE anchored IS NOT NULL", "did not sign"),
        (f"checkpoint SET note = {FORGED} WHERE anchored IS NULL", "did not sign"),
        ("checkpoint SET root = zeroblob(32) WHERE anchored IS NOT NULL", "with another root"),
        ("checkpoint SET root = zeroblob(32) WHERE anchored IS NULL", "states another head"),
        ("checkpoint SET cosigned = note WHERE anchored IS NOT NULL", "not kept as it was"),
        ("checkpoint SET cosigned_at = cosigned_at + 60000000 WHERE anchored IS NOT NULL", "not kept as it was"),
        ("checkpoint SET anchored = NULL", "not kept as it was"),
        ("checkpoint SET anchored = 7 WHERE anchored IS NULL", "the table checkpoint names 2"),
        ("meta SET value = replace(value, '+', '-') WHERE name = 'log_vkey'", "is none of them"),
        ("meta SET value = replace(value, 'dock-1', 'dock-2') WHERE name = 'log_vkeys'", "is none of them"),
        ("time_stamp SET token = CAST('tokem' AS BLOB)", "not kept as it was"),
        ("time_stamp SET authority = 'https://tsb.example'", "not kept as it was"),
        ("time_stamp SET stamped_at = stamped_at - 60000000", "not kept as it was"),
        ("time_stamp SET note = CAST('nothing' AS BLOB)", "is over no checkpoint"),
        ("time_stamp SET note = CAST(replace(note, 'edge', 'edgy') AS BLOB)", "states another head"),
    ],
)
def test_what_was_signed_and_quoted_cannot_be_changed(quoted: Tampered, change: str, named: str) -> None:
    """Only the newest heads were compared once; what courts are shown are the older ones, with their witnesses."""
    problems = quoted.by(f"UPDATE {change}")
    assert any(named in problem for problem in problems), problems


def test_keys_that_were_taken_away(quoted: Tampered) -> None:
    """Without them nothing that was signed could be looked at, and whatever stands there would pass."""
    quoted.by("DELETE FROM meta WHERE name IN ('log_vkey', 'log_vkeys')", look=False)
    problems = quoted.by(f"UPDATE checkpoint SET note = {FORGED} WHERE anchored IS NULL")  # noqa: S608 - ours
    assert problems == ["keys: 2 checkpoints are kept, and no key of this log is known that signed them"]


def test_a_quoted_checkpoint_cannot_be_taken_away(quoted: Tampered) -> None:
    assert any("not kept as it was" in problem for problem in quoted.by("DELETE FROM checkpoint WHERE anchored > 0"))
    assert any("not kept as it was" in problem for problem in quoted.by("DELETE FROM time_stamp"))


def test_problems_beyond_count_are_counted(tampered: Tampered) -> None:
    connection = apsw.Connection(str(tampered.path))
    connection.execute("UPDATE entry SET leaf = CAST(leaf || ' ' AS BLOB) WHERE seq < 256")
    connection.close()
    journal = opened(tampered.path)
    report = verified(journal)
    journal.close()
    assert len(report.problems) == PROBLEMS_MAX
    assert report.more > 100


def test_what_is_written_about_captures_that_were_looked_at_is_no_fault(tampered: Tampered) -> None:
    """A station goes on while it is verified: a device forgets, and it is told whose it was."""
    journal = opened(tampered.path)
    work, written = Verification(journal), 0
    name = text_id(journal.connection.execute("SELECT id FROM capture WHERE row = 10").get)
    while not work.done:
        work.step(journal)
        if work.seen == work.total and not written:
            for officer in ("4471", "5520"):
                parts: dict[str, Any] = {part: [] for part in ("units", "incidents", "marks", "track")}
                told = {**parts, "interval": None, "officers": [{"officer": officer}] * 2, "priority": None}
                with journal.transaction():
                    contexts.join(journal, name, told, None)
            with journal.transaction():
                journal.intend_release(name, {})
            written = journal.leaves.size - work.report().size
    assert written == 3
    assert work.report().problems == []
    assert verified(journal).problems == []
    journal.close()


def test_a_word_that_no_entry_tells(tampered: Tampered) -> None:
    problems = tampered.by("INSERT INTO word VALUES ('officer', '4471', 10)")
    assert problems == ["words: captures are found by words that no entry tells"]


def test_what_comes_while_it_looks_is_left_for_the_next_time(tampered: Tampered) -> None:
    journal = opened(tampered.path)
    work, size = Verification(journal), journal.leaves.size
    device = Device("usb:bench:1", "body_worn", "bay-1")
    number = 0
    while not work.done:
        work.step(journal)
        number += 1
        data = b"new" * number
        digest = Digest(sha256(data).digest(), blake3(data).digest(), len(data))
        with journal.transaction():
            held = journal.hold(Capture(device, f"NEW{number}", None, len(data)), digest, Parts())
            journal.refuse(held.id, "no")
            assert journal.retry(held.id, actor="user:anna(1000)", why="yes").standing is Standing.HELD
    assert work.report().ok, work.report().problems
    assert work.report().size == size
    assert verified(journal).ok
    journal.close()
