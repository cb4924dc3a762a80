"""What is never believed on the way out: receipts that prove nothing, and files that are not their name."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Receipt, Standing, Strength
from agent.custody.receipt import ReceiptNote, write
from agent.errors import BadReceipt, SpoolDamaged
from agent.forward.belief import believed
from agent.note import Signer, sign
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.uplinks import BenchUplink
from tests.spine.docked import filled

if TYPE_CHECKING:
    from agent.testing.station import Station


WRONG = {
    "length": lambda receipt: dataclasses.replace(receipt, length=receipt.length + 1),
    "digest": lambda receipt: dataclasses.replace(receipt, sha256=bytes(32)),
}


@pytest.mark.parametrize("how", list(WRONG))
async def test_a_bad_receipt_is_never_a_yes_and_at_last_waits_for_a_person(
    station: Station, bench: BenchDevice, uplink: BenchUplink, how: str
) -> None:
    uplink.twist = WRONG[how]
    await filled(station, bench, 3)
    await station.send()
    assert await station.count(Standing.QUARANTINED) == 3
    assert len(uplink.order) == 9
    assert all("its receipt was bad 3 times" in (one.reason or "") for one in await station.holdings())
    for one in await station.holdings():
        assert "receipted" not in await station.events(one.id)


async def test_one_bad_receipt_is_sent_anew(station: Station, bench: BenchDevice, uplink: BenchUplink) -> None:
    uplink.fails.append(BadReceipt("garbled"))
    await filled(station, bench, 3)
    await station.send()
    assert await station.count(Standing.RECEIPTED) == 3


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        (Strength.LENGTH, Strength.LENGTH),
        (Strength.DIGEST, Strength.DIGEST),
        (Strength.SIGNED, Strength.LENGTH),  # without a note, or without a key to check it by
    ],
)
async def test_a_receipt_counts_for_what_it_proves(
    station: Station, bench: BenchDevice, said: Strength, counts: Strength
) -> None:
    station.connect(BenchUplink(strength=said))
    await filled(station, bench, 1)
    await station.send()
    assert (await station.only()).receipt.strength is counts


async def test_a_digest_without_a_digest_proves_a_length(
    station: Station, bench: BenchDevice, uplink: BenchUplink
) -> None:
    uplink.twist = lambda receipt: dataclasses.replace(receipt, sha256=None)
    await filled(station, bench, 1)
    await station.send()
    assert (await station.only()).receipt.strength is Strength.LENGTH


DEMS = Signer.ed25519("dems.example.org/receipts", bytes(32))
OTHER = Signer.ed25519("dems.example.org/receipts", bytes([1] * 32))


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ({"sha256": bytes(32)}, "its sha256 is"),
        ({"length": 101}, "its length is"),
        ({"index": 10**6}, "its entry is"),
        ({"log": "edge.example.org/dock-2/log1"}, "its log is"),
        ({"capture": "2af9c7d1-059d-8826-9ded-a9884260c4e5"}, "its capture is"),
        ({"stored_at": datetime(2020, 1, 1, tzinfo=UTC)}, "before"),
        (None, "verif|sign"),
    ],
)
async def test_a_signed_receipt_is_believed_of_this_capture_and_by_this_key_alone(
    station: Station, bench: BenchDevice, says: dict[str, Any] | None, why: str
) -> None:
    await filled(station, bench, 1)
    held, now = await station.only(), datetime.now(UTC)
    right = ReceiptNote(
        capture=held.id,
        sha256=held.digest.sha256,
        length=held.digest.length,
        log=held.log,
        index=held.index,
        stored_at=now.replace(microsecond=0),
        copies=2,
    )

    def given(note: ReceiptNote, signer: Signer) -> Receipt:
        return Receipt(Strength.SIGNED, "dems", held.digest.length, note=sign(write(note), signer))

    keys = [DEMS.verifier]
    proven = believed(held, given(right, DEMS), keys, "dems", now=now)
    assert (proven.strength, proven.sha256) == (Strength.SIGNED, held.digest.sha256)
    wrong = given(right, OTHER) if says is None else given(dataclasses.replace(right, **says), DEMS)
    with pytest.raises(BadReceipt, match=why):
        believed(held, wrong, keys, "dems", now=now)


@pytest.mark.parametrize("damage", ["flip", "truncate", "unlink"])
async def test_damage_in_the_spool_is_found_set_aside_and_taken_again(
    station: Station, bench: BenchDevice, uplink: BenchUplink, damage: str
) -> None:
    data = some_bytes(3_000_000)
    bench.record("a", data)
    await station.dock(bench)
    path = station.spool.path(hashlib.sha256(data).digest())
    if damage == "unlink":
        path.unlink()
    elif damage == "truncate":
        os.truncate(path, 1_000_000)
    else:
        with path.open("r+b") as file:
            file.seek(1_500_000)
            file.write(b"?")
        uplink.fails.append(SpoolDamaged("the DEMS found another digest"))
    await station.send()
    assert (await station.only()).standing is Standing.QUARANTINED
    assert path.exists() is False
    assert await station.dock(bench) == {Standing.HELD: 1}
    await station.send()
    assert (await station.only()).standing is Standing.RECEIPTED


async def test_a_complaint_about_a_file_that_is_right_costs_nothing(
    station: Station, bench: BenchDevice, uplink: BenchUplink
) -> None:
    uplink.fails.append(SpoolDamaged("a reading failed once"))
    await filled(station, bench, 1)
    await station.send()
    assert await station.count(Standing.RECEIPTED) == 1
