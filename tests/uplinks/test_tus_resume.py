"""After a break the same upload goes on, from where the server stands, once what it holds is proven to be ours."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from agent.capture import PART_LENGTH, Strength
from agent.errors import BadReceipt, UplinkDown
from agent.uplink.http import trip
from tests.uplinks.double import Stored, cut, events, lies, methods, says, stranger, then, whole
from tests.uplinks.memory import MIB, MemorySending, some_bytes
from tests.uplinks.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.uplinks.double import Connect, Double, Serve

EIGHT = 8 * MIB

# --- RES-1: a break costs one request body at most


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("at", [1, 70_000, 3 * MIB + 5, 7 * MIB])
async def test_res_1_a_cut_costs_at_most_one_request_body(
    serve: Serve, connect: Connect, *, checksums: bool, at: int
) -> None:
    double = await serve(checksums=checksums)
    sending = MemorySending(some_bytes(EIGHT))
    async with Wire(f"ok cut@{at}", double.port) as wire:
        uplink = connect(wire.url, part_length=2 * MIB)
        await uplink.door.abilities()  # takes the first connection away
        await uplink.aclose()
        await uplink.send(sending)
        assert wire.upstream <= EIGHT + 2 * MIB + 20_000  # headers
    assert whole(double, sending)
    assert double.made <= 1 + (at < 1000)  # a plain server cannot know that a creation was asked twice


@pytest.mark.usefixtures("both_ways")
async def test_res_1_a_restart_continues_where_the_server_stands(serve: Serve, connect: Connect) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(EIGHT))
    double.next("PATCH", *[then(lambda *_: None)] * 3, stranger(503))
    with pytest.raises(UplinkDown):
        await connect(double.url, part_length=2 * MIB).send(sending)
    double.seen.clear()
    await connect(double.url, part_length=2 * MIB).send(sending)  # as a new process would
    assert methods(double) == ["HEAD", "OPTIONS", "PATCH", "HEAD"]
    assert double.received() == 2 * MIB
    assert whole(double, sending)


async def test_res_1_a_resume_in_mid_part_goes_to_the_next_boundary_with_its_own_digest(
    serve: Serve, connect: Connect
) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(2 * PART_LENGTH + 9))
    at = PART_LENGTH + 12_345
    double.uploads["/files/7"] = Stored(len(sending.data), "", bytearray(sending.data[:at]))
    sending.state = f"{double.url}/7"
    await connect(double.url).send(sending)
    first, second = [seen for seen in double.seen if seen.method == "PATCH"]
    assert (first.headers["Upload-Offset"], first.received) == (str(at), 2 * PART_LENGTH - at)
    digest = hashlib.sha256(sending.data[at : 2 * PART_LENGTH]).digest()
    assert first.headers["Upload-Checksum"] == f"sha256 {base64.b64encode(digest).decode()}"
    assert (second.headers["Upload-Offset"], second.received) == (str(2 * PART_LENGTH), 9)
    assert whole(double, sending)


async def test_res_1_a_server_that_is_restarted_elsewhere_is_found_through_its_address(
    serve: Serve, connect: Connect
) -> None:
    double = await serve(signs=True)
    sending = MemorySending(some_bytes(4 * MIB))
    double.next("PATCH", then(lambda *_: None), stranger(503))
    with pytest.raises(UplinkDown):
        await connect(double.url, part_length=MIB).send(sending)
    async with Wire("", double.port) as wire:  # the same DEMS at another address
        await connect(wire.url, part_length=MIB).send(sending)
        assert sending.state == f"{wire.url}/1"
    assert double.made == 1
    assert double.received() == 4 * MIB + 0 * MIB
    assert whole(double, sending)


async def test_res_1_a_link_that_breaks_within_every_part_still_makes_way(serve: Serve, connect: Connect) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(4 * MIB))
    faults = " ".join(["ok"] + ["cut@700000"] * 40)
    async with Wire(faults, double.port) as wire:
        uplink = connect(wire.url, part_length=4 * MIB)
        for _ in range(10):
            try:
                await uplink.send(sending)
                break
            except UplinkDown:
                continue
    assert whole(double, sending)
    assert double.made == 1


async def test_res_1_offsets_beyond_four_gigabytes(serve: Serve, connect: Connect) -> None:
    double = await serve()
    length, at = 2**33 + 5, 2**33 - MIB

    class Huge(MemorySending):
        async def blocks(self, _: int, length: int, /) -> AsyncIterator[bytes]:
            yield bytes(length)

    sending = Huge(b"")
    digest = dataclasses.replace(sending.holding.digest, length=length)
    sending.holding = dataclasses.replace(sending.holding, digest=digest)
    sending.state = f"{double.url}/1"
    double.uploads["/files/1"] = Stored(length, "", before=at)
    receipt = await connect(double.url).send(sending)
    assert receipt.length == length
    offsets = [seen.headers["Upload-Offset"] for seen in double.seen if seen.method == "PATCH"]
    assert offsets == [str(at), str(2**33)]


# --- RES-2: is the prefix ours?


@pytest.mark.parametrize("extensions", [("creation", "termination"), ("creation",)])
async def test_res_2_a_prefix_that_is_not_ours_is_given_up(
    serve: Serve, connect: Connect, extensions: tuple[str, ...]
) -> None:
    double = await serve(digests=True, extensions=extensions)
    sending = MemorySending(some_bytes(4 * MIB))
    wrong = bytearray(sending.data[: 2 * MIB])
    wrong[1_000_000] ^= 1
    double.uploads["/files/9"] = Stored(len(sending.data), "", wrong)
    sending.state = f"{double.url}/9"
    with capture_logs() as logs:
        receipt = await connect(double.url, part_length=MIB).send(sending)
    assert receipt.strength is Strength.DIGEST
    assert "upload_holds_other_bytes" in events(logs)
    assert double.deleted == (["/files/9"] if "termination" in extensions else [])
    assert sending.state == f"{double.url}/1"
    assert bytes(double.uploads["/files/1"].held) == sending.data


async def test_res_2_a_prefix_that_comes_back_after_it_was_given_up_is_for_a_person(
    serve: Serve, connect: Connect
) -> None:
    double = await serve(signs=True, digests=True, extensions=("creation",))  # nothing can be terminated
    sending = MemorySending(some_bytes(4 * MIB))
    uplink = connect(double.url, part_length=MIB)
    double.next("PATCH", then(lambda *_: None), stranger(503))
    with pytest.raises(UplinkDown):
        await uplink.send(sending)
    double.only.held[5] ^= 1
    with pytest.raises(BadReceipt, match="not this capture's"):
        await uplink.send(sending)
    assert double.received() == MIB


async def test_res_2_captures_that_begin_alike_and_are_as_long_are_two(serve: Serve, connect: Connect) -> None:
    double = await serve()
    uplink = connect(double.url, part_length=MIB)
    data = some_bytes(3 * MIB)
    first, second = MemorySending(data, key="1"), MemorySending(data[:-1] + b"x", key="2")
    double.next("PATCH", then(lambda *_: None), stranger(503))
    with pytest.raises(UplinkDown):
        await uplink.send(first)
    await uplink.send(second)
    await uplink.send(first)
    assert [bytes(stored.held) for stored in double.uploads.values()] == [first.data, second.data]


async def test_res_2_an_upload_of_another_capture_is_neither_continued_nor_terminated(
    serve: Serve, connect: Connect
) -> None:
    double = await serve(signs=True, digests=True)
    uplink = connect(double.url, part_length=MIB)
    other = MemorySending(some_bytes(3 * MIB, 2), key="other")
    double.next("PATCH", then(lambda *_: None), stranger(503))
    with pytest.raises(UplinkDown):
        await uplink.send(other)
    for length in (3 * MIB, 4 * MIB):
        sending = MemorySending(some_bytes(length, 3), key=f"{length}")
        sending.state = other.state
        with capture_logs() as logs:
            await uplink.send(sending)
        assert "upload_of_another_capture" in events(logs)
        assert sending.state != other.state
    assert double.deleted == []
    await uplink.send(other)


async def test_res_2_an_upload_of_another_length_is_another_though_it_has_no_name(
    serve: Serve, connect: Connect
) -> None:
    double = await serve()
    uplink = connect(double.url, part_length=MIB)
    other = MemorySending(some_bytes(3 * MIB, 2), key="other")
    double.next("PATCH", then(lambda *_: None), stranger(503))
    with pytest.raises(UplinkDown):
        await uplink.send(other)
    sending = MemorySending(some_bytes(4 * MIB, 3))
    sending.state = other.state
    double.next("HEAD", lies(Upload_Metadata=""))
    with capture_logs() as logs:
        await uplink.send(sending)
    assert "upload_of_another_capture" in events(logs)
    assert sending.state != other.state
    await uplink.send(other)
    assert {bytes(one.held) for one in double.uploads.values()} == {other.data, sending.data}


@pytest.mark.parametrize("digests", [True, False])
async def test_res_2_complete_with_other_bytes_is_a_bad_receipt_where_the_server_can_tell(
    serve: Serve, connect: Connect, *, digests: bool
) -> None:
    double = await serve(digests=digests)
    sending = MemorySending(b"abc")
    double.uploads["/files/9"] = Stored(3, "", bytearray(b"abd"))
    sending.state = f"{double.url}/9"
    if digests:
        with pytest.raises(BadReceipt):
            await connect(double.url).send(sending)
    else:  # such a server proves a length and nothing else
        assert (await connect(double.url).send(sending)).strength is Strength.LENGTH
    assert double.deleted == []


# --- RES-3: wrong offsets


@pytest.mark.parametrize("kept", [0, 100, MIB])
async def test_res_3_409_is_followed_by_head_and_goes_on_from_there(serve: Serve, connect: Connect, kept: int) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(4 * MIB))

    def move(double: Double, path: str) -> None:
        double.uploads[path].held[:] = sending.data[:kept]

    double.next("PATCH", then(lambda *_: None), then(move, says(409)))
    with capture_logs() as logs:
        await connect(double.url, part_length=MIB).send(sending)
    assert events(logs) == (["upload_offset_went_back"] if kept < MIB else [])
    assert whole(double, sending)


async def test_res_3_an_offset_that_is_ahead_of_us_is_followed(serve: Serve, connect: Connect) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(4 * MIB))

    def move(double: Double, path: str) -> None:
        double.uploads[path].held[:] = sending.data[: 3 * MIB]

    double.next("PATCH", then(move))
    await connect(double.url, part_length=MIB).send(sending)
    assert whole(double, sending)


@pytest.mark.parametrize("lie", ["0", "1", "1048577", "99999999", "-1", "x", "", "1048576, 1048576", "9" * 400])
async def test_res_3_an_offset_in_a_yes_that_is_not_ours_is_a_doubt(serve: Serve, connect: Connect, lie: str) -> None:
    double = await serve()
    double.next("PATCH", lies(Upload_Offset=lie))
    sending = MemorySending(some_bytes(2 * MIB))
    await connect(double.url, part_length=MIB).send(sending)
    assert methods(double)[2:] == ["PATCH", "HEAD", "PATCH", "HEAD"]
    assert whole(double, sending)


async def test_res_3_an_offset_beyond_the_length_is_a_bad_receipt(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("HEAD", *[lies(Upload_Offset="4")] * 5)
    with pytest.raises(BadReceipt, match="4 bytes of a capture of 3"):
        await connect(double.url).send(MemorySending(b"abc"))


async def test_res_3_confirmed_bytes_that_the_server_lost_are_an_alarm_and_sent_again(
    serve: Serve, connect: Connect
) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(4 * MIB))

    def lose(double: Double, path: str) -> None:
        del double.uploads[path].held[MIB:]

    double.next("HEAD", then(lose))
    with capture_logs() as logs:
        await connect(double.url, part_length=MIB).send(sending)
    assert events(logs) == ["upload_offset_went_back"]
    assert double.received() == 7 * MIB
    assert whole(double, sending)


async def test_res_3_bytes_that_the_server_lost_between_two_tries_are_an_alarm_too(
    serve: Serve, connect: Connect
) -> None:
    """As when its disk came back older than it was, while it did not answer."""
    double = await serve()
    sending, uplink = MemorySending(some_bytes(4 * MIB)), connect(double.url, part_length=MIB)
    double.next("PATCH", *[then(lambda *_: None)] * 3, stranger(503))
    with pytest.raises(UplinkDown):
        await uplink.send(sending)
    del double.only.held[MIB:]
    with capture_logs() as logs:
        await uplink.send(sending)
    assert [(one["event"], one["confirmed"], one["offset"]) for one in logs] == [
        ("upload_offset_went_back", 3 * MIB, MIB)
    ]
    assert whole(double, sending)


async def test_res_3_a_server_that_loses_everything_each_time_is_left_alone(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("HEAD", *[then(lambda double, path: double.uploads[path].held.clear())] * 50)
    with pytest.raises(UplinkDown, match="confirms bytes and loses them"):
        await connect(double.url).send(MemorySending(some_bytes(MIB)))
    assert double.received() <= trip.PATIENCE * MIB


async def test_res_3_the_connection_is_closed_instead_of_a_409(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("PATCH", then(lambda double, path: double.uploads[path].held.extend(b"abc"), cut()))
    sending = MemorySending(b"abcdef")
    await connect(double.url).send(sending)
    assert whole(double, sending)
