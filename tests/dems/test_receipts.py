"""Receipts: when one is given, what it says, and that no capture is ever stored twice."""

from __future__ import annotations

import asyncio
import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from agent.custody.receipt import check_receipt, open_receipt
from agent.errors import BadReceipt
from agent.note import Verifier
from agent.testing.dems import EmulatedDems
from tests.dems.client import checksum_of, sample

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dems.client import Client, ClientOf


def key_of(dems: EmulatedDems) -> list[Verifier]:
    return [Verifier.parse(dems.receipt_vkey)]


async def test_a_receipt_is_for_exactly_what_was_stored(tus: Client, dems: EmulatedDems) -> None:
    before = datetime.now(UTC)
    data = os.urandom(1000)
    one = sample(data, blake3=blake3(data).hexdigest())
    answer = await tus.post(one, data=one.data)
    said = check_receipt(
        answer.note,
        key_of(dems),
        capture=one.capture,
        sha256=one.sha256,
        length=1000,
        log="edge.example.org/dock-0042/log1",
        index=7,
        not_before=before,
    )
    assert said.stored_at <= datetime.now(UTC)
    assert await dems.receipt(one.capture) == answer.note
    assert (await tus.ask("GET", f"/receipts/{one.capture}")).text.encode() == answer.note
    assert (await tus.ask("GET", f"/receipts/{uuid.uuid4()}")).status == 404
    assert (await tus.ask("GET", "/receipts/x")).status == 404


async def test_every_answer_about_a_complete_upload_carries_the_same_receipt(tus: Client) -> None:
    one = sample(b"abc")
    url = await tus.create(one)
    notes = {(await tus.patch(url, 0, b"abc")).note, (await tus.head(url)).note, (await tus.post(one)).note}
    assert len(notes) == 1


async def test_creation_is_idempotent_by_capture(tus: Client, dems: EmulatedDems) -> None:
    one = sample(b"abcdef")
    url = await tus.create(one)
    await tus.patch(url, 0, b"abc")
    again = await tus.post(one)
    assert (again.status, again.headers["Location"], again.offset) == (201, url, 3)
    ignored = await tus.post(one, data=b"XXXXXX")
    assert (ignored.status, ignored.headers["Location"], ignored.offset) == (201, url, 3)
    await tus.patch(url, 3, b"def")
    assert (await tus.post(one)).headers["Location"] == url
    assert len(await dems.index()) == 1
    assert await dems.violations() == []


async def test_a_capture_has_one_sha256_and_one_length(tus: Client, dems: EmulatedDems) -> None:
    one = sample(b"abc")
    await tus.create(one)
    assert (await tus.post(sample(b"abd", capture=one.capture))).status == 409
    assert (await tus.post(one, Upload_Length="4")).status == 409
    assert [v.kind for v in await dems.violations()] == ["capture-with-other-claims"] * 2
    assert {v.capture for v in await dems.violations()} == {one.capture}
    assert len(await dems.index()) == 1


async def test_equal_bytes_are_not_the_same_capture(tus: Client, dems: EmulatedDems) -> None:
    first, second = sample(b"same"), sample(b"same")
    urls = {(await tus.post(one, data=one.data)).headers["Location"] for one in (first, second)}
    assert len(urls) == len(await dems.index()) == 2


async def test_two_docks_with_one_capture_get_a_receipt_each(tus: Client, dems: EmulatedDems) -> None:
    first = sample(b"abcdef")
    second = sample(b"abcdef", capture=first.capture, log="edge.example.org/dock-0001/log3 0")
    one, two = await tus.create(first), await tus.create(second)
    assert one != two
    await tus.patch(one, 0, b"abc")
    done = await tus.patch(two, 3, b"def")
    assert b"log edge.example.org/dock-0001/log3 0\n" in done.note
    assert b"log edge.example.org/dock-0042/log1 7\n" in (await tus.head(one)).note
    third = sample(b"abcdef", capture=first.capture, log="edge.example.org/dock-0001/log4 12")
    assert b"log4 12\n" in (await tus.post(third)).note
    assert len(await dems.index()) == 1


async def test_one_entry_has_one_receipt_however_many_ask(tus: Client) -> None:
    first = sample(b"abcdef")
    second = sample(b"abcdef", capture=first.capture, log="edge.example.org/dock-0001/log3 0")
    one, two = await tus.create(first), await tus.create(second)
    await tus.patch(one, 0, b"abcdef")
    answers = await asyncio.gather(*(tus.head(two) for _ in range(20)))
    assert len({answer.note for answer in answers}) == 1


@pytest.mark.parametrize("parts", [1, 3])
async def test_bytes_that_are_not_what_was_claimed_bring_no_receipt(
    tus: Client, dems: EmulatedDems, parts: int
) -> None:
    one, other = sample(b"abcdef"), b"abcdeX"
    url = await tus.create(one)
    for begin in range(0, 6, 6 // parts):
        part = other[begin : begin + 6 // parts]
        answer = await tus.patch(url, begin, part, **checksum_of(part))
    assert answer.status == 460
    assert answer.headers["Evidock-Receipt"] == "refused"
    assert "Upload-Offset" not in answer.headers
    assert (await tus.head(url)).status == 410
    [entry] = await dems.index()
    assert (entry.state, entry.receipted) == ("mismatch", False)
    assert dems.stored(entry).read_bytes() == other  # set aside, not thrown away
    assert await dems.receipt(one.capture) is None
    assert b"sha256" in (await tus.post(one, data=one.data)).note  # and the capture can be sent again
    assert [entry.state for entry in await dems.index()] == ["mismatch", "stored"]


async def test_a_wrong_blake3_is_a_mismatch_too(tus: Client) -> None:
    one = sample(b"abc", blake3="0" * 64)
    answer = await tus.post(one, data=one.data)
    assert (answer.status, answer.headers["Evidock-Receipt"]) == (460, "refused")


async def test_an_empty_capture_that_was_not_empty(tus: Client) -> None:
    one = sample(b"abc")
    assert (await tus.post(one, Upload_Length="0")).status == 460


async def test_a_byte_that_changes_in_the_store_is_found_before_the_receipt(tus: Client, dems: EmulatedDems) -> None:
    one = sample(os.urandom(100_000))
    url = await tus.create(one)
    await tus.patch(url, 0, one.data[:60_000])
    await dems.add_fault("PATCH:1:corrupt@59999")
    answer = await tus.patch(url, 60_000, one.data[60_000:])
    assert (answer.status, answer.headers["Evidock-Receipt"]) == (460, "refused")


async def test_a_stored_byte_that_changed_later_brings_no_second_receipt(tus: Client, dems: EmulatedDems) -> None:
    one = sample(b"abc")
    await tus.post(one, data=one.data)
    [entry] = await dems.index()
    dems.stored(entry).write_bytes(b"abX")
    other = sample(b"abc", capture=one.capture, log="edge.example.org/dock-0001/log1 1")
    assert (await tus.post(other)).status == 460
    assert [entry.state for entry in await dems.index()] == ["mismatch"]


async def test_without_receipts_nothing_is_demanded_and_nothing_remembered(tmp_path: Path, client_of: ClientOf) -> None:
    async with EmulatedDems(tmp_path / "d", receipts=False) as dems:
        tus = client_of(dems)
        one = sample(b"abc")
        first, second = await tus.create(one), await tus.create(one)
        assert first != second
        answer = await tus.patch(first, 0, b"XYZ")  # tusd would not notice either
        assert (answer.status, answer.offset) == (204, 3)
        assert "Evidock-Receipt" not in answer.headers
        assert (await tus.post(one, Upload_Metadata="")).status == 201
        assert (await tus.post(one, Upload_Metadata=None)).status == 201
        assert [entry.capture for entry in await dems.index()] == [one.capture, one.capture, None, None]
        head = await tus.head(first, Want_Repr_Digest="sha-256=10")
        assert head.headers["Repr-Digest"].startswith("sha-256=:")


async def test_plain_tus_has_neither_checksums_nor_digests(tmp_path: Path, client_of: ClientOf) -> None:
    async with EmulatedDems(tmp_path / "d", receipts=False, checksums=False) as dems:
        tus = client_of(dems)
        url = await tus.create(sample(b"abc"))
        assert (await tus.patch(url, 0, b"abc", **checksum_of(b"other"))).status == 204
        assert "Repr-Digest" not in (await tus.head(url, Want_Repr_Digest="sha-256=10")).headers


async def test_a_release_is_heard_only_with_its_receipt(tus: Client, dems: EmulatedDems) -> None:
    one, other = sample(b"abc"), sample(b"def")
    note = (await tus.post(one, data=one.data)).note
    wrong = (await tus.post(other, data=other.data)).note
    assert (await tus.ask("POST", f"/released/{one.capture}", data=note)).status == 204
    assert [entry.released for entry in await dems.index()] == [True, False]
    assert await dems.violations() == []
    for said in (b"", b"yes", note, wrong[:-4] + b"AA==", wrong.replace(b"length 3", b"length 4")):
        assert (await tus.ask("POST", f"/released/{other.capture}", data=said)).status == 409
    assert {v.kind for v in await dems.violations()} == {"released-without-receipt"}
    assert (await tus.ask("POST", "/released/x", data=wrong)).status == 400
    assert len((await tus.ask("GET", "/violations.json")).text) > 100


async def test_the_receipt_key_is_made_once_and_kept(tmp_path: Path) -> None:
    async with EmulatedDems(tmp_path / "d", key_name="dems.agency/receipts") as first:
        key = first.receipt_vkey
    assert key.startswith("dems.agency/receipts+")
    async with EmulatedDems(tmp_path / "d") as second:
        assert second.receipt_vkey == key
    assert (tmp_path / "d" / "receipt.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("twist", ["wrong-digest", "wrong-length", "wrong-signature", "other-capture", "other-log"])
async def test_a_twisted_receipt_deceives_nobody(tus: Client, dems: EmulatedDems, twist: str) -> None:
    one = sample(b"abc")
    await dems.add_fault(f"receipt:{twist}")
    answer = await tus.post(one, data=one.data)
    expected = {
        "capture": one.capture,
        "sha256": one.sha256,
        "length": 3,
        "log": "edge.example.org/dock-0042/log1",
        "index": 7,
        "not_before": datetime.now(UTC) - timedelta(seconds=60),
    }
    with pytest.raises(BadReceipt):
        check_receipt(answer.note, key_of(dems), **expected)
    if twist != "wrong-signature":
        open_receipt(answer.note, key_of(dems))  # signed rightly: only what it says is wrong
    assert (await tus.ask("GET", f"/receipts/{one.capture}")).text.encode() != await dems.receipt(one.capture)
    await dems.clear_faults()
    check_receipt((await tus.post(one)).note, key_of(dems), **expected)


async def test_a_receipt_that_is_missing_or_late(tus: Client, dems: EmulatedDems) -> None:
    one = sample(b"abc")
    await dems.add_fault("receipt:late=2")
    answer = await tus.post(one, data=one.data)
    assert (answer.status, "Evidock-Receipt" in answer.headers) == (201, False)
    assert (await tus.ask("GET", f"/receipts/{one.capture}")).status == 404
    assert (await tus.post(one)).note
    await dems.add_fault("receipt:none")
    assert "Evidock-Receipt" not in (await tus.post(one)).headers
    assert (await dems.index())[0].receipted
