"""Notebooks as sets of entries: in any order, with any one missing, with forks; and the text that comes of it."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.enotes.emulator import Notebook as Book
from drivers.enotes.emulator.notebook import Signer
from firmware_specs.formats import enote_notebook
from firmware_specs.formats.enote import Status, envelope, payload_of, unb64url
from firmware_specs.formats.enote_notebook import Item, Notebook, struck
from firmware_specs.formats.enote_pieces import Piece, pieces_of

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

SIGNER = Signer("1", "one")


def item(line: bytes, number: int = 0) -> Item:
    found = envelope(line)
    entry, wrong, _ = payload_of(found)
    assert entry is not None
    assert wrong == (), wrong
    return Item(number, found.digest, sha256(unb64url(found.payload)).digest(), entry)


def book() -> Book:
    made = Book(SIGNER)
    note = made.create("one two three 👮🏽 four")
    made.correct(note, "two", "2", "r")
    made.append(note, " five")
    made.correct(note, "2 three", "two and three", "r")
    other = made.create("other")
    made.finalize(note)
    made.supplement(note, "six")
    made.write("void_page", other, reason="r")
    return made


WRITTEN = [item(line) for line in book().written]


def chained(items: Sequence[Item]) -> tuple[Notebook, list[Item]]:
    chain = Notebook(late_after=timedelta(hours=12))
    made = [replace(one, number=number) for number, one in enumerate(items)]
    for one in made:
        chain.add(one)
    return chain, made


def read(entries: list[dict[str, Any]]) -> list[tuple[Piece, str]]:
    """What ever stood in a note, with its text."""
    by_rev = {entry["rev"]: entry for entry in entries}
    return [(piece, piece.text_in(by_rev[piece.rev])) for piece in pieces_of(entries)]


@settings(max_examples=150, deadline=None)
@given(st.permutations(range(len(WRITTEN))), st.integers(0, len(WRITTEN) - 1), st.integers(0, len(WRITTEN)))
def test_any_order_with_any_one_late(order: list[int], late: int, twice: int) -> None:
    first = [at for at in order if at != late]
    chain, made = chained([WRITTEN[at] for at in first])
    assert {one.status for one in made if one.seq <= late} <= {Status.OK}
    assert {one.status for one in made if one.seq > late + 1} <= {Status.CHAIN_GAP}
    assert list(chain.missing) == ([(late + 1, late + 1)] if late + 1 < len(WRITTEN) else [])
    last = replace(WRITTEN[late], number=99)
    changed = chain.add(last)
    assert {one.status for one in [*made, last, *changed]} == {Status.OK}
    assert len(changed) == len(WRITTEN) - late - 1
    again = replace(WRITTEN[twice % len(WRITTEN)], number=100)
    assert chain.add(again) == []
    assert again.status is Status.DUPLICATE
    whole, _ = chained(WRITTEN)
    assert (chain.head, chain.head_digest, chain.notes) == (whole.head, whole.head_digest, whole.notes)


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 7))
def test_a_fork_is_never_merged_in_whatever_order(chance: random.Random, at: int) -> None:
    """Whatever comes first has the place; each status is one of three, and the head follows one branch alone."""
    made = Book(SIGNER)
    for number in range(8):
        made.create(f"{number}")
        if number == at:
            other = made.backup()
    for number in range(3):
        other.create(f"other {number}")
        made.create(f"ours {number}")
    items = [item(line) for line in {*made.written, *other.written}]
    chance.shuffle(items)
    chain, found = chained(items)
    assert {one.status for one in found} <= {Status.OK, Status.FORK, Status.CHAIN_GAP, Status.TWIN}
    linked = [one for one in found if one.status is Status.OK]
    assert [one.seq for one in sorted(linked, key=lambda one: one.seq)] == list(range(1, chain.head + 1))
    by_seq = {one.seq: one for one in linked}
    for one in linked:
        assert one.seq == 1 or one.prev == by_seq[one.seq - 1].digest


def test_a_twin_that_the_next_entry_names_is_the_one_of_the_chain() -> None:
    """The same payload was signed twice, and the tablet went on from the second signature."""
    made = Book(SIGNER)
    made.create("one")
    first = made.written[0]
    payload = json.loads(unb64url(json.loads(first)["payload"]))
    signed = SIGNER.sign(payload, "enote+jws", "enote-entry+json")
    second = json.dumps(signed, separators=(",", ":"), sort_keys=True).encode()
    made.prev = f"sha-256:{envelope(second).digest.hex()}"
    made.create("two")
    for order in ([first, second, made.written[1]], [first, made.written[1], second], [second, made.written[1], first]):
        _, found = chained([item(line) for line in order])
        assert sorted(one.status.value for one in found) == ["ok", "ok", "twin"], order


def test_what_was_struck_stays_where_it_stood() -> None:
    chain, _ = chained(WRITTEN)
    note = chain.notes["n-0001"]
    assert (note.state, note.text) == ("final", ""), "nothing can change what is final, and nobody needs it here"
    entries = [one.entry for one in WRITTEN if one.entry is not None and one.entry["note"] == "n-0001"]
    told = [(text, piece.rev, piece.struck_by) for piece, text in read(entries)]
    assert told == [
        ("one ", 1, None),
        ("two", 1, 2),
        ("2", 2, 4),
        (" three", 1, 4),
        ("two and three", 4, None),
        (" 👮🏽 four", 1, None),
        (" five", 3, None),
        ("six", 6, None),
    ]


@pytest.mark.parametrize(
    ("text", "ops", "result"),
    [
        ("a👮🏽b", [(1, 3, "x")], "axb"),
        ("abc", [(0, 0, "x"), (3, 3, "y")], "xabcy"),
        ("abc", [(0, 1, ""), (1, 2, "")], "c"),
        ("abc", [(0, 2, "x"), (1, 3, "y")], None),
        ("abc", [(2, 1, "x")], None),
        ("abc", [(0, 4, "x")], None),
        ("", [(0, 0, "x")], "x"),
    ],
)
def test_strikes_count_code_points(text: str, ops: list[tuple[int, int, str]], result: str | None) -> None:
    assert struck(text, [{"at": [first, last], "with": new} for first, last, new in ops]) == result


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.data())
def test_pieces_that_stand_are_always_the_text(text: str, data: st.DataObject) -> None:
    """Whatever is struck, and however often: what stands is the text, and what was struck is still there."""
    entries, now, rev = [_entry(1, text=text, op="create", kind="x")], text, 1
    ever = text
    for _ in range(data.draw(st.integers(0, 4))):
        ends = sorted(data.draw(st.lists(st.integers(0, len(now)), min_size=2, max_size=6)))
        ops = [
            {"op": "strike", "at": [first, last], "with": data.draw(st.text(max_size=4))}
            for first, last in zip(ends[::2], ends[1::2], strict=False)
        ]
        new = struck(now, ops)
        assert new is not None
        rev += 1
        entries.append(_entry(rev, op="correct", text=new, ops=ops, supersedes=rev - 1, reason="r"))
        ever += "".join(op["with"] for op in ops)
        now = new
    chain = Notebook(late_after=timedelta(hours=12))
    for number, entry in enumerate(entries):
        entry["prev"] = None if number == 0 else f"sha-256:{bytes([number - 1] * 32).hex()}"
        made = Item(number, bytes([number] * 32), b"", entry)
        chain.add(made)
        assert made.status is Status.OK
    pieces = read(entries)
    assert "".join(text for piece, text in pieces if piece.struck_by is None) == now == chain.notes["n"].text
    assert sorted("".join(text for _, text in pieces)) == sorted(ever)


def test_the_text_of_open_notes_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is never finalized lies in memory: what is too much is refused in its meaning, and finalizing frees."""
    monkeypatch.setattr(enote_notebook, "OPEN_MAX", 10)
    made = Book(SIGNER)
    note = made.create("12345")
    other = made.create("6789")
    made.append(note, "xx")
    made.pages[note].rev -= 1
    made.pages[note].text, made.pages[note].text_rev = "12345", 1
    made.correct(note, "5", "5xx", "r")
    made.pages[note].rev -= 1
    made.pages[note].text, made.pages[note].text_rev = "12345", 1
    made.correct(note, "45", "4", "r")
    made.append(note, "yy")
    made.finalize(note)
    made.create("12345", "third")
    made.write("void_page", other, reason="r")
    made.create("1234", "fourth")
    chain, found = chained([item(line) for line in made.written])
    told = [one.status.value for one in found]
    assert told == ["ok", "ok", "out_of_order", "out_of_order", "ok", "ok", "ok", "ok", "ok", "ok"]
    assert chain.open_text == 9


class Shelf:
    """Gives again what an entry says, as a station's index does; counts how often it is asked."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.entries = {one.number: one.entry for one in items}
        self.asked = 0

    def entry_of(self, one: Item) -> dict[str, Any]:
        self.asked += 1
        entry = self.entries[one.number]
        assert entry is not None
        return entry


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(len(WRITTEN))))
def test_what_waits_is_not_kept_in_memory_and_comes_out_the_same(order: list[int]) -> None:
    made = [replace(WRITTEN[at], number=number) for number, at in enumerate(order)]
    shelf = Shelf(made)
    chain = Notebook(late_after=timedelta(hours=12), entry_of=shelf.entry_of)
    for one in made:
        chain.add(one)
        assert one.entry is None
    whole, _ = chained(WRITTEN)
    assert (chain.head, chain.head_digest, chain.notes) == (whole.head, whole.head_digest, whole.notes)
    assert {one.status for one in made} == {Status.OK}


def test_a_notebook_without_its_first_entry_takes_little_memory() -> None:
    """Entries of 100 kB each that wait for ever."""

    def added() -> Notebook:
        chain = Notebook(late_after=timedelta(hours=12), entry_of=lambda _: {})
        for number in range(2, 502):
            entry = _entry(number, op="create", text=f"{number}" * 30_000, prev=f"sha-256:{number:064x}")
            chain.add(Item(number, b"%d" % number, b"", entry))
        return chain

    tracemalloc.start()
    try:
        chain = added()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert list(chain.missing) == [(1, 1)]
    assert taken < 2000 * 500


def test_a_notebook_that_is_full_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enote_notebook, "ENTRIES_MAX", len(WRITTEN) - 1)
    chain, made = chained([*WRITTEN[1:], WRITTEN[0]])
    assert {one.status for one in made[:-1]} == {Status.CHAIN_GAP}
    assert (made[-1].status, made[-1].flags) == (Status.OUT_OF_ORDER, ("notebook_full",))
    assert chain.head == 0
    chain, made = chained(WRITTEN)
    assert [one.status for one in made] == [Status.OK] * (len(WRITTEN) - 1) + [Status.OUT_OF_ORDER]


def test_many_for_one_place_are_each_looked_at_once() -> None:
    """Wrong strikes that all follow the head, and entries that name something else: none is tried again and again."""
    made = [Item(0, b"\0", b"first", _entry(1, op="create", text="x", prev=None))]
    wrong = _entry(2, op="correct", text="z", ops=[], supersedes=1, reason="r", prev="sha-256:00")
    made += [Item(number, b"%d" % number, b"%d" % number, dict(wrong)) for number in range(1, 400)]
    other = _entry(2, op="append", text="z", prev=f"sha-256:{b'other'.hex()}")
    made += [Item(number, b"%d" % number, b"%d" % number, dict(other)) for number in range(400, 800)]
    right = _entry(2, op="append", text="y", prev="sha-256:00")
    made.append(Item(800, b"800", b"right", right))
    for order in (made, [*made[1:], made[0]]):
        items = [replace(one, number=number) for number, one in enumerate(order)]
        shelf = Shelf(items)
        chain = Notebook(late_after=timedelta(hours=12), entry_of=shelf.entry_of)
        for one in items:
            chain.add(one)
        assert (chain.head, chain.notes["n"].text) == (2, "xy")
        told = {status: sum(one.status is status for one in items) for status in Status}
        assert (told[Status.OK], told[Status.BAD_OPS], told[Status.FORK]) == (2, 399, 400)
        assert shelf.asked <= len(items)


def _entry(rev: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "seq": rev, "rev": rev, "note": "n", "occurred_at": None, "recorded_at": "2026-11-22T07:43:12.250Z", **more,
    }  # fmt: skip
