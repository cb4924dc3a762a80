"""What is never believed on the way out: receipts that prove nothing, and files that are not their name."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from agent.capture import Standing, Strength
from agent.errors import BadReceipt, SpoolDamaged
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
    ("said", "believed"),
    [
        (Strength.LENGTH, Strength.LENGTH),
        (Strength.DIGEST, Strength.DIGEST),
        (Strength.SIGNED, Strength.LENGTH),  # without a note, or without a key to check it by
    ],
)
async def test_a_receipt_counts_for_what_it_proves(
    station: Station, bench: BenchDevice, said: Strength, believed: Strength
) -> None:
    station.connect(BenchUplink(strength=said))
    await filled(station, bench, 1)
    await station.send()
    assert (await station.only()).receipt.strength is believed


async def test_a_digest_without_a_digest_proves_a_length(
    station: Station, bench: BenchDevice, uplink: BenchUplink
) -> None:
    uplink.twist = lambda receipt: dataclasses.replace(receipt, sha256=None)
    await filled(station, bench, 1)
    await station.send()
    assert (await station.only()).receipt.strength is Strength.LENGTH


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
