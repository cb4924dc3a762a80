from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.custody.receipt import ReceiptNote, check_receipt, earliest, open_receipt, write
from agent.errors import BadReceipt
from agent.note import BadNote, Signer, Verifier, sign

VECTORS = Path(__file__).parent / "vectors"


def seed(sentence: str) -> bytes:
    return hashlib.sha256(sentence.encode()).digest()


dems = Signer.ed25519("dems.example.org/receipts", seed("test dems receipt key"))
LOG, WITNESS, RECEIPTS = (Verifier.parse(line) for line in (VECTORS / "log/vkeys").read_text().split())

# What the journal says of capture 34, whose entry 137 is: see vectors/log.
OURS = ReceiptNote(
    capture="2af9c7d1-059d-8826-9ded-a9884260c4e5",
    sha256=bytes.fromhex("9e361d4683989ec50b3855886453f103efa39f1a8f1a9be698966405b3be1096"),
    length=2258,
    log="edge.example.org/dock-0042/log1",
    index=137,
    stored_at=datetime(2026, 11, 22, 7, 2, 17, tzinfo=UTC),
    copies=2,
)
HELD_AT = datetime(2026, 11, 22, 7, 2, 17, 123_000, tzinfo=UTC)


def check(note: bytes, *verifiers: Verifier, ours: ReceiptNote = OURS, not_before: datetime = HELD_AT) -> ReceiptNote:
    return check_receipt(
        note,
        verifiers or [RECEIPTS],
        capture=ours.capture,
        sha256=ours.sha256,
        length=ours.length,
        log=ours.log,
        index=ours.index,
        not_before=not_before,
    )


def cases() -> list[Any]:
    table = json.loads((VECTORS / "log/cases/cases.json").read_text())
    return [pytest.param(case, id=case["file"]) for case in table if case["kind"] == "receipt"]


@pytest.mark.parametrize("case", cases())
def test_cases(case: dict[str, Any], vectors: Path) -> None:
    raw = (vectors / "log/cases" / case["file"]).read_bytes()
    if case["accept"]:
        assert check(raw) == OURS
    else:
        with pytest.raises(BadReceipt):
            check(raw)


def test_a_receipt_is_written_as_published(vectors: Path) -> None:
    assert dems.verifier == RECEIPTS
    assert sign(write(OURS), dems) == (vectors / "log/cases/receipt-good.note").read_bytes()
    published = (vectors / "small/receipt.note").read_bytes()
    receipt = open_receipt(published, [RECEIPTS])
    assert receipt == ReceiptNote(
        capture="0193f0c2-6a1e-7d43-9f0e-0a6c6f2f9b11",
        sha256=bytes.fromhex("d80eae6e96d148b3b2abbbc6760077b66c4ea071f847dab573d507a32c4d99a5"),
        length=123456789,
        log="edge.example.org/dock-0042/log1",
        index=137,
        stored_at=datetime(2026, 11, 22, 7, 48, 12, tzinfo=UTC),
        copies=2,
    )
    assert sign(write(receipt), dems) == published


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        ({"capture": "x"}, "its capture is x, ours is 2af9c7d1-059d-8826-9ded-a9884260c4e5"),
        ({"sha256": bytes(32)}, f"its sha256 is {bytes(32).hex()}, ours is {OURS.sha256.hex()}"),
        ({"length": 2257}, "its length is 2257, ours is 2258"),
        ({"log": "edge.example.org/dock-0042/log2"}, "its log is edge.example.org/dock-0042/log2, ours is edge"),
        ({"index": 136}, "its entry is 136, ours is 137"),
        (
            {"stored_at": OURS.stored_at - timedelta(seconds=1)},
            "stored at 2026-11-22T07:02:16+00:00, before 2026-11-22",
        ),
        ({"length": 1, "index": 2}, "its length is 1, ours is 2258; its entry is 2, ours is 137"),
    ],
)
def test_the_refusal_says_exactly_what_differs(theirs: dict[str, Any], why: str) -> None:
    with pytest.raises(BadReceipt, match=re.escape(why)):
        check(sign(write(replace(OURS, **theirs)), dems))


def test_the_second_in_which_the_capture_was_held_is_soon_enough() -> None:
    assert check(sign(write(OURS), dems)).stored_at < HELD_AT
    with pytest.raises(BadReceipt, match="stored at"):
        check(sign(write(OURS), dems), not_before=HELD_AT + timedelta(seconds=1))


def test_the_times_of_other_zones_are_compared_as_times() -> None:
    east = timezone(timedelta(hours=2))
    assert write(replace(OURS, stored_at=OURS.stored_at.astimezone(east))) == write(OURS)
    check(sign(write(OURS), dems), not_before=HELD_AT.astimezone(east))


def test_a_witness_key_is_no_receipt_key_even_if_it_is_given() -> None:
    witness = Signer.cosigner(WITNESS.name, seed("test dems witness key"))
    note = sign(write(OURS), witness.at(HELD_AT))
    with pytest.raises(BadReceipt, match="no known key"):
        check(note, WITNESS, RECEIPTS)


def test_a_checkpoint_is_no_receipt(vectors: Path) -> None:
    with pytest.raises(BadReceipt, match="first line"):
        open_receipt((vectors / "log/checkpoint").read_bytes(), [LOG])


TEXT = write(OURS)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("receipt/v1", "receipt/v1 "),
        TEXT.replace("capture 2af", "capture  2af"),
        TEXT.replace("capture 2af9c7d1-059d-8826-9ded-a9884260c4e5", "capture "),
        TEXT.replace("capture 2af9c7d1-059d-8826-9ded-a9884260c4e5", "capture"),
        TEXT.replace("sha256 9e36", "sha256 9E36"),
        TEXT.replace("sha256 9e36", "sha256 9e3"),
        TEXT.replace("length 2258", "length 02258"),
        TEXT.replace("length 2258", "length -2258"),
        TEXT.replace("length 2258", "length 2258.0"),
        TEXT.replace("length 2258", "length \u0662\u0662\u0665\u0668"),
        TEXT.replace("length 2258", "length 9223372036854775808"),
        TEXT.replace("log1 137", "log1"),
        TEXT.replace("log1 137", "log1  137"),
        TEXT.replace("log1 137", "log1 0137"),
        TEXT.replace("log1 137", "log1 137 "),
        TEXT.replace("log edge", "log edge+"),
        TEXT.replace("07:02:17Z", "07:02:17z"),
        TEXT.replace("07:02:17Z", "07:02:17+00:00"),
        TEXT.replace("07:02:17Z", "07:02:17.000Z"),
        TEXT.replace("07:02:17Z", "07:02:60Z"),
        TEXT.replace("2026-11-22T", "2026-11-22 "),
        TEXT.replace("2026-11-22T", "2026-02-30T"),
        TEXT.replace("2026-11-22T", "20261122T"),
        TEXT.replace("copies 2", "copies 0"),
        TEXT.replace("copies 2", "copies"),
        TEXT + "more 1\n",
        TEXT + "\n",
        TEXT.replace("copies 2\n", ""),
        TEXT.replace("\nlength", "\n\nlength"),
        "\n".join([*TEXT.split("\n")[:2], *reversed(TEXT.split("\n")[2:7]), ""]),
        "\n",
    ],
)
def test_a_signed_text_of_another_form_is_no_receipt(text: str) -> None:
    with pytest.raises(BadReceipt, match="not a receipt that can be trusted"):
        open_receipt(sign(text, dems), [RECEIPTS])


@pytest.mark.parametrize(
    "wrong",
    [
        {"capture": ""},
        {"capture": "two words"},
        {"capture": "a\nlength 1"},
        {"sha256": bytes(31)},
        {"length": -1},
        {"length": 2**63},
        {"log": "with space"},
        {"index": -1},
        {"copies": 0},
        {"stored_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - naive on purpose
    ],
)
def test_what_no_reader_would_take_is_not_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        write(replace(OURS, **wrong))


def test_every_changed_bit_and_every_cut_is_found() -> None:
    note = sign(TEXT, dems)
    for at in range(len(note) * 8):
        changed = bytearray(note)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(BadReceipt):
            check(bytes(changed))
    for length in range(len(note)):
        with pytest.raises(BadReceipt):
            check(note[:length])


receipts = st.builds(
    ReceiptNote,
    capture=st.uuids().map(str),
    sha256=st.binary(min_size=32, max_size=32),
    length=st.integers(0, 2**63 - 1),
    log=st.sampled_from(["edge.example.org/dock-0042/log1", "edge.example.org/dock-0043/log1"]),
    index=st.integers(0, 2**63 - 1),
    stored_at=st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - made UTC
    copies=st.integers(1, 9),
)


@settings(deadline=None, max_examples=60)
@given(receipts)
def test_what_is_written_is_read(receipt: ReceiptNote) -> None:
    read = open_receipt(sign(write(receipt), dems), [RECEIPTS])
    assert read == replace(receipt, stored_at=receipt.stored_at.replace(microsecond=0))


@settings(deadline=None, max_examples=60)
@given(receipts, receipts)
def test_a_receipt_serves_one_capture_only(theirs: ReceiptNote, ours: ReceiptNote) -> None:
    note = sign(write(theirs), dems)
    check(note, ours=theirs, not_before=theirs.stored_at)
    if (theirs.capture, theirs.sha256, theirs.index) != (ours.capture, ours.sha256, ours.index):
        with pytest.raises(BadReceipt):
            check(note, ours=ours, not_before=theirs.stored_at)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_give_our_error(raw: bytes) -> None:
    with pytest.raises(BadReceipt) as caught:
        open_receipt(raw, [RECEIPTS])
    assert isinstance(caught.value.__cause__, BadNote)


def test_every_receipt_of_the_larger_log(samples: Path) -> None:
    folder = samples / "log"
    entries = [json.loads(line) for line in (folder / "entries.jsonl").read_bytes().splitlines()]
    files = sorted((folder / "receipts").iterdir())
    assert len(files) == 75
    for file in files:
        entry = entries[int(file.stem)]
        held = entry["predicate"]
        ours = ReceiptNote(
            capture=entry["subject"][0]["name"],
            sha256=bytes.fromhex(entry["subject"][0]["digest"]["sha256"]),
            length=held["capture"]["length"],
            log="edge.example.org/dock-0042/log1",
            index=held["seq"],
            stored_at=datetime.fromisoformat(held["recorded_at"]),
            copies=2,
        )
        assert check(file.read_bytes(), ours=ours, not_before=ours.stored_at) == ours


def test_two_clocks_may_differ_by_a_day_and_an_entry_of_the_future_bounds_nothing() -> None:
    now = datetime(2026, 11, 28, tzinfo=UTC)
    assert earliest(now, now) == now - timedelta(days=1)
    assert earliest(now + timedelta(hours=23), now) == now - timedelta(hours=1)
    assert earliest(now.replace(year=2036), now).year == 1
