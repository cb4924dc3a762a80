"""Against the emulated DEMS: signed receipts for what it verified, whatever breaks on the way, and no violation."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from agent.capture import PART_LENGTH, Strength
from agent.errors import BadReceipt, UplinkDown
from agent.testing.dems import DemsProcess, EmulatedDems
from tests.uplinks.arriving import sent, settled, verified
from tests.uplinks.memory import MIB, MemorySending, some_bytes
from tests.uplinks.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.uplinks.double import Connect

    Dems = EmulatedDems | DemsProcess


@pytest.mark.parametrize("length", [0, 1, 150 * 1024, PART_LENGTH, PART_LENGTH + 1])
async def test_a_receipt_that_verifies(dems: EmulatedDems, connect: Connect, length: int) -> None:
    sending = MemorySending(some_bytes(length), key="DCIM/Übung.MP4")
    verified(await connect(dems.url).send(sending), sending, dems)
    await settled(dems, sending)


async def test_over_tls(tmp_path: Path, connect: Connect) -> None:
    async with EmulatedDems(tmp_path / "dems", tls=True) as dems:
        sending = MemorySending(some_bytes(3 * MIB))
        uplink = connect(dems.url, ca_file=dems.ca_file, part_length=MIB)
        verified(await uplink.send(sending), sending, dems)
        assert {finding.state for finding in await uplink.check()} == {"ok"}
        await settled(dems, sending)


@pytest.mark.parametrize(
    ("options", "strength"),
    [
        ({"receipts": False}, Strength.DIGEST),
        ({"receipts": False, "checksums": False}, Strength.LENGTH),
        ({"checksums": False}, Strength.SIGNED),
    ],
)
async def test_what_less_able_servers_prove(
    tmp_path: Path, connect: Connect, options: dict[str, bool], strength: Strength
) -> None:
    async with EmulatedDems(tmp_path / "dems", **options) as dems:
        sending = MemorySending(some_bytes(3 * MIB))
        receipt = await connect(dems.url, part_length=MIB).send(sending)
        assert receipt.strength is strength
        assert await dems.violations() == []


FAULTS = [
    *("PATCH:2:cut@0", "PATCH:2:cut@700000", "PATCH:4:cut@1048575", "PATCH:2:drop", "PATCH:2:drop-answer"),
    *("PATCH:4:drop-answer", "PATCH:1-2:500", "PATCH:2:502", "PATCH:2:408", "PATCH:2:409", "PATCH:2:423"),
    *(
        "PATCH:2:offset=-100",
        "PATCH:2:offset=+100",
        "PATCH:4:offset=-1",
        "PATCH:3:delay=0.2",
        "PATCH:2:stall@500000:for=1",
    ),
    *("PATCH:3:expire", "PATCH:4:expire", "POST:1:drop-answer", "POST:1:423", "receipt:late=2", "PATCH:4:404"),
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_one_fault_and_the_capture_arrives_all_the_same(dems: EmulatedDems, connect: Connect, fault: str) -> None:
    sending = MemorySending(some_bytes(4 * MIB))
    await dems.add_fault(fault)
    uplink = connect(dems.url, part_length=MIB, stall=0.5)
    verified(await sent(uplink, sending), sending, dems)
    await settled(dems, sending, again=MIB)


@pytest.mark.parametrize("fault", ["POST:1:cut@100000", "POST:1:drop-answer", "POST:1:500", "POST:1:stall@1000:for=1"])
async def test_one_fault_to_a_small_capture(dems: EmulatedDems, connect: Connect, fault: str) -> None:
    sending = MemorySending(some_bytes(MIB))
    await dems.add_fault(fault)
    verified(await sent(connect(dems.url, stall=0.5), sending), sending, dems)
    await settled(dems, sending, again=MIB)


async def test_503_is_honoured(dems: EmulatedDems, connect: Connect) -> None:
    await dems.add_fault("PATCH:2:503:retry=7")
    sending = MemorySending(some_bytes(3 * MIB))
    uplink = connect(dems.url, part_length=MIB)
    with pytest.raises(UplinkDown) as caught:
        await uplink.send(sending)
    assert caught.value.retry_after == 7
    verified(await uplink.send(sending), sending, dems)
    await settled(dems, sending)


@pytest.mark.parametrize("part", [1, 3])
async def test_res_2_a_prefix_that_changed_at_the_server_is_given_up(
    dems: EmulatedDems, connect: Connect, part: int
) -> None:
    sending = MemorySending(some_bytes(4 * MIB))
    await dems.add_fault(f"PATCH:{part + 1}:503")
    uplink = connect(dems.url, part_length=MIB)
    with pytest.raises(UplinkDown):
        await uplink.send(sending)
    await dems.add_fault("HEAD:1:corrupt@1000")
    verified(await uplink.send(sending), sending, dems)
    await settled(dems, sending)
    assert sorted(entry.state for entry in await dems.index()) == ["stored", "terminated"]


async def test_res_5_a_byte_that_changes_in_the_store_brings_no_receipt(dems: EmulatedDems, connect: Connect) -> None:
    sending = MemorySending(some_bytes(4 * MIB))
    await dems.add_fault("PATCH:4:corrupt@1000")
    uplink = connect(dems.url, part_length=MIB)
    try:
        receipt = await uplink.send(sending)
    except BadReceipt as error:
        assert "another digest" in str(error)  # noqa: PT017 - either it saw the change, or it had read before
        verified(await uplink.send(sending), sending, dems)
        return
    assert receipt.strength is Strength.SIGNED


@pytest.mark.parametrize("tls", ["", "tls"])
async def test_killed_in_mid_upload_and_started_again(tmp_path: Path, connect: Connect, tls: str) -> None:
    async with DemsProcess(tmp_path / "dems", tls=bool(tls)) as dems:
        uplink = connect(dems.url, part_length=2 * MIB, ca_file=dems.ca_file)
        sending = MemorySending(some_bytes(24 * MIB))
        for parts in (2, 5):
            with pytest.raises(UplinkDown):
                async with killed_after(dems, sending, parts * 2 * MIB):
                    await uplink.send(sending)
            await dems.restart()
        verified(await uplink.send(sending), sending, dems)
        assert sum(entry.state != "stored" for entry in await dems.index()) == 0
        await settled(dems, sending, again=2 * 2 * MIB)


@asynccontextmanager
async def killed_after(dems: DemsProcess, sending: MemorySending, confirmed: int) -> AsyncIterator[None]:
    async def watch() -> None:
        while not sending.confirmed or sending.confirmed[-1] < confirmed:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
        dems.kill()

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()


async def test_res_1_a_bad_link_costs_a_body_for_each_break(dems: EmulatedDems, connect: Connect) -> None:
    sending = MemorySending(some_bytes(12 * MIB))
    cuts = [5_000_000, 300_000, 9_000_000]
    port = URL(dems.url).port
    assert port is not None
    async with Wire(" ".join(f"cut@{cut}" for cut in cuts), port) as wire:
        uplink = connect(str(URL(dems.url).with_port(wire.port)), part_length=MIB)
        verified(await sent(uplink, sending), sending, dems)
        assert wire.upstream <= 12 * MIB + len(cuts) * MIB + 40 * 1500
    await settled(dems, sending, again=len(cuts) * MIB)


async def test_two_docks_that_hold_the_same_capture_get_their_own_receipts(
    dems: EmulatedDems, connect: Connect
) -> None:
    data = some_bytes(2 * MIB)
    for index in (7, 8):
        sending = MemorySending(data, index=index)
        verified(await connect(dems.url, part_length=MIB).send(sending), sending, dems)


async def test_a_hundred_small_captures_at_once(dems: EmulatedDems, connect: Connect) -> None:
    uplink = connect(dems.url)
    sendings = [MemorySending(some_bytes(20_000, seed=n), key=f"READ{n}.JPG") for n in range(100)]
    for sending, receipt in zip(sendings, await asyncio.gather(*(uplink.send(one) for one in sendings)), strict=True):
        verified(receipt, sending, dems)
    await settled(dems, *sendings)
