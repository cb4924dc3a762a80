"""What goes over the wire when nothing goes wrong, and what comes back as a receipt."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import PART_LENGTH, Strength
from agent.errors import UplinkDown, UplinkRefused
from agent.uplink.http import parts as parts_of_requests
from agent.uplink.http.options import FLOOR
from tests.uplinks.double import PLAIN, lies, methods, named, says
from tests.uplinks.memory import MIB, MemorySending, some_bytes
from tests.uplinks.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.uplinks.double import Connect, Serve


async def test_a_small_capture_takes_exactly_one_request(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    uplink = connect(double.url)
    for number in range(20):
        sending = MemorySending(some_bytes(150 * 1024, seed=number), key=f"READ{number}.JPG")
        receipt = await uplink.send(sending)
        assert receipt.strength is Strength.SIGNED
        assert sending.remembered == []
    assert [seen.method for seen in double.seen] == ["OPTIONS"] + ["POST"] * 20


@pytest.mark.parametrize("told_before", [True, False])
@pytest.mark.parametrize("through", [True, False])
async def test_what_one_request_brings_is_proven_by_the_digest_that_its_receiver_computes_anyway(
    serve: Serve, connect: Connect, *, through: bool, told_before: bool
) -> None:
    double = await serve(signs=True, through=through)
    sending, uplink = MemorySending(some_bytes(4 * MIB)), connect(double.url)
    if told_before:
        await uplink.announce(sending)
    await uplink.send(sending)
    name = "sha256-through" if through else "sha256"
    digest = base64.b64encode(sending.holding.digest.sha256).decode()
    stated = [seen.headers["Upload-Checksum"] for seen in double.seen if "Upload-Checksum" in seen.headers]
    assert stated == [f"{name} {digest}"]
    assert bytes(double.only.held) == sending.data


@pytest.mark.parametrize("through", [True, False])
async def test_a_large_capture_is_one_request_for_each_part_with_the_journals_digest(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, *, through: bool
) -> None:
    monkeypatch.setattr(parts_of_requests, "AT_ONCE", 0.0)  # no request brings several
    double = await serve(signs=True, through=through)
    sending = MemorySending(some_bytes(2 * PART_LENGTH + 17))
    receipt = await connect(double.url).send(sending)
    parts = [seen for seen in double.seen if seen.method == "PATCH"]
    assert [seen.headers["Content-Length"] for seen in parts] == [str(PART_LENGTH), str(PART_LENGTH), "17"]
    assert [seen.headers["Upload-Offset"] for seen in parts] == ["0", str(PART_LENGTH), str(2 * PART_LENGTH)]
    for seen, at in zip(parts, range(0, len(sending.data), PART_LENGTH), strict=True):
        digest = hashlib.sha256(sending.data[0 if through else at : at + PART_LENGTH]).digest()
        name = "sha256-through" if through else "sha256"
        assert seen.headers["Upload-Checksum"] == f"{name} {base64.b64encode(digest).decode()}"
        assert "Transfer-Encoding" not in seen.headers
    assert [seen.method for seen in double.seen] == ["OPTIONS", "POST", "PATCH", "PATCH", "PATCH"]
    # A server that looks at one body at a time gets digests that the journal has not: each part is read for it first.
    assert sending.read == len(sending.data) * (1 if through else 2)
    assert sending.confirmed == [0, PART_LENGTH, 2 * PART_LENGTH, len(sending.data)]
    assert bytes(double.only.held) == sending.data
    assert (receipt.strength, receipt.length, receipt.destination) == (Strength.SIGNED, len(sending.data), "dems")
    assert receipt.note is not None
    assert sending.holding.digest.sha256.hex().encode() in receipt.note


async def test_the_url_is_durable_before_the_first_byte_is_sent(serve: Serve, connect: Connect) -> None:
    double = await serve()

    class Ordered(MemorySending):
        async def remember(self, state: str | None, /, **more: Any) -> None:  # noqa: ANN401 - handed on
            assert double.received() == 0
            await super().remember(state, **more)

    sending = Ordered(some_bytes(3 * MIB))
    await connect(double.url).send(sending)
    assert sending.remembered == [f"{double.url}/1"]


async def test_the_metadata_names_the_capture_and_its_entry(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    sending = MemorySending(b"abc", key="DCIM/Übung — Tür.MP4")
    await connect(double.url).send(sending)
    holding = sending.holding
    told = {pair.split(" ")[0]: named(double.only, pair.split(" ")[0]) for pair in double.only.metadata.split(",")}
    before = double.only.metadata.rpartition(",check ")[0]
    assert told == {
        "capture": holding.id,
        "sha256": holding.digest.sha256.hex(),
        "blake3": holding.digest.blake3.hex(),
        "device": "usb:0951:1666:SN-BWC-0002",
        "key": "DCIM/Übung — Tür.MP4",
        "began_at": "2026-11-22T07:02:17.123Z",
        "log": "edge.example.org/dock-0042/log1 7",
        "media_type": "video/mp4",
        "group": "recording-1",
        "group_members": "3",
        "check": hashlib.sha256(f"3 {before}".encode()).hexdigest(),
    }


@pytest.mark.parametrize(
    ("abilities", "strength"),
    [
        ({"signs": True}, Strength.SIGNED),
        ({"digests": True}, Strength.DIGEST),
        ({}, Strength.LENGTH),
        ({"checksums": False}, Strength.LENGTH),
        ({"extensions": ("creation",)}, Strength.LENGTH),
    ],
)
@pytest.mark.parametrize("length", [0, 1, MIB, 5 * MIB + 1])
async def test_each_strength_for_each_length(
    serve: Serve, connect: Connect, abilities: dict[str, bool], strength: Strength, length: int
) -> None:
    double = await serve(**abilities)
    sending = MemorySending(some_bytes(length))
    receipt = await connect(double.url, part_length=2 * MIB).send(sending)
    assert receipt.strength is strength
    assert receipt.length == length
    assert receipt.sha256 == (sending.holding.digest.sha256 if strength is Strength.DIGEST else None)
    assert bytes(double.only.held) == sending.data


async def test_one_connection_carries_a_whole_capture(serve: Serve, connect: Connect) -> None:
    double = await serve()
    async with Wire("", double.port) as wire:
        await connect(wire.url, part_length=MIB).send(MemorySending(some_bytes(8 * MIB)))
        assert wire.connections == 1


async def test_a_spool_that_takes_its_time_to_close_costs_no_connection(serve: Serve, connect: Connect) -> None:
    class Unhurried(MemorySending):
        async def outgoing(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
            async for block in self.blocks(offset, length):
                yield block
            await asyncio.sleep(0.2)  # the answer is there before

    double = await serve()
    async with Wire("", double.port) as wire:
        uplink = connect(wire.url, part_length=MIB)
        await uplink.send(Unhurried(b"abc"))  # the answer to HEAD ends a connection, and is asked for once
        for length in (17, 40_000, 300_000, MIB):
            await uplink.send(Unhurried(some_bytes(length), key=f"{length}"))
        assert methods(double) == ["OPTIONS", "POST", "HEAD", "POST", "POST", "POST", "PATCH", "POST", "PATCH"]
        assert wire.connections == 2


async def test_a_capture_of_no_bytes_is_complete_at_its_creation(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    await connect(double.url).send(MemorySending(b""))
    assert [seen.method for seen in double.seen] == ["OPTIONS", "POST"]
    assert "Content-Type" not in double.seen[1].headers
    assert double.seen[1].headers["Upload-Length"] == "0"


async def test_a_short_capture_is_one_request_to_a_server_that_signs_nothing_either(
    serve: Serve, connect: Connect
) -> None:
    double = await serve(signs=False)
    uplink = connect(double.url)
    for number, length in enumerate((4096, FLOOR, FLOOR + 1)):
        sending = MemorySending(some_bytes(length, seed=number), key=f"{number}")
        assert (await uplink.send(sending)).strength is Strength.LENGTH
        assert bytes(double.uploads[f"/files/{number + 1}"].held) == sending.data
        # What is not asked for again needs no address; what is longer than that has one before its first byte.
        assert sending.remembered == ([] if number == 1 else [f"{double.url}/{number + 1}"])
    # It is asked once whether it tells a digest, and told none.
    assert methods(double) == ["OPTIONS", "POST", "HEAD", "POST", "POST", "PATCH"]


async def test_a_server_that_tells_digests_is_asked_for_each(serve: Serve, connect: Connect) -> None:
    double = await serve(digests=True)
    uplink = connect(double.url)
    for number in range(2):
        receipt = await uplink.send(MemorySending(some_bytes(100, seed=number), key=f"{number}"))
        assert receipt.strength is Strength.DIGEST
    assert methods(double) == ["OPTIONS", "POST", "HEAD", "POST", "HEAD"]


async def test_a_capture_in_parts_is_asked_for_whatever_the_server_tells(serve: Serve, connect: Connect) -> None:
    double = await serve()
    uplink = connect(double.url, part_length=MIB)
    for number in range(2):
        await uplink.send(MemorySending(some_bytes(MIB + 1, seed=number), key=f"{number}"))
    assert methods(double) == ["OPTIONS"] + ["POST", "PATCH", "PATCH", "HEAD"] * 2


@pytest.mark.parametrize(("extensions", "options"), [(("creation",), {}), (PLAIN, {"with_creation": 0})])
async def test_the_address_comes_first_where_one_request_is_not_offered_or_not_wanted(
    serve: Serve, connect: Connect, extensions: tuple[str, ...], options: dict[str, int]
) -> None:
    double = await serve(extensions=extensions)
    await connect(double.url, **options).send(MemorySending(b"abc"))
    assert methods(double) == ["OPTIONS", "POST", "PATCH", "HEAD"]
    assert double.seen[1].received == 0


async def test_the_server_is_asked_for_its_abilities_once_in_some_minutes_and_again_after_a_surprise(
    serve: Serve, connect: Connect
) -> None:
    double = await serve(signs=True)
    uplink = connect(double.url)
    for number in range(3):
        await uplink.send(MemorySending(b"abc", key=f"{number}"))
    assert double.count("OPTIONS") == 1
    double.next("POST", says(405))
    with pytest.raises(UplinkDown):
        await uplink.send(MemorySending(b"abc", key="3"))
    await uplink.send(MemorySending(b"abc", key="3"))
    assert double.count("OPTIONS") == 2


async def test_a_relative_and_an_absolute_location_both_lead_there(serve: Serve, connect: Connect) -> None:
    for relative in (True, False):
        double = await serve(relative=relative)
        sending = MemorySending(b"abc")
        await connect(double.url).send(sending)
        assert sending.state == f"{double.url}/1"


@pytest.mark.parametrize(
    "location", ["https://elsewhere.example.org/files/1", "ftp://127.0.0.1/1", "http://[", "http://u:p@127.0.0.1/1", ""]
)
async def test_a_location_at_another_origin_is_refused_before_a_byte_goes_there(
    serve: Serve, connect: Connect, location: str
) -> None:
    double = await serve()
    double.next("POST", lies(Location=location))
    sending = MemorySending(b"abc")
    with pytest.raises(UplinkDown):
        await connect(double.url).send(sending)
    assert sending.remembered == []
    assert double.count("PATCH") == 0


async def test_another_origin_may_be_permitted(serve: Serve, connect: Connect) -> None:
    store, double = await serve(), await serve()
    double.next("POST", lies(Location=f"{store.url}/1"))
    await connect(store.url).send(MemorySending(b"abc"))  # makes /files/1 there
    sending = MemorySending(b"abc")
    await connect(double.url, other_origins=(f"http://127.0.0.1:{store.port}/",)).send(sending)
    assert sending.state == f"{store.url}/1"


async def test_a_capture_beyond_the_servers_limit_is_refused_before_it_is_sent(serve: Serve, connect: Connect) -> None:
    double = await serve(longest=1000)
    with pytest.raises(UplinkRefused, match="at most 1000 bytes"):
        await connect(double.url).send(MemorySending(b"x" * 1001))
    assert [seen.method for seen in double.seen] == ["OPTIONS"]


async def test_several_captures_at_once(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    uplink = connect(double.url, part_length=MIB)
    sendings = [MemorySending(some_bytes(3 * MIB, seed=n), key=f"{n}") for n in range(8)]
    receipts = await asyncio.gather(*(uplink.send(sending) for sending in sendings))
    assert {receipt.strength for receipt in receipts} == {Strength.SIGNED}
    assert double.count("OPTIONS") == 1
    assert {bytes(stored.held) for stored in double.uploads.values()} == {sending.data for sending in sendings}
