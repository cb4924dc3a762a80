"""What happens after a break: the same upload goes on, is proven to be ours, and never becomes two."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from agent.capture import PART_LENGTH, Strength
from agent.errors import BadReceipt, UplinkDown
from agent.uplink.tus import body as body_module
from agent.uplink.tus import trip
from agent.uplink.tus.create import CREATIONS
from tests.uplinks.double import Stored, cut, drop_answer, lies, said, says, stall, stranger, then
from tests.uplinks.memory import MIB, MemorySending, some_bytes
from tests.uplinks.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

    from aiohttp import web

    from tests.uplinks.double import Connect, Double, Seen, Serve

EIGHT = 8 * MIB


def whole(double: Double, sending: MemorySending) -> bool:
    return bytes(double.only.held) == sending.data


def methods(double: Double) -> list[str]:
    return [seen.method for seen in double.seen]


def events(logs: list[MutableMapping[str, Any]]) -> list[str]:
    return [entry["event"] for entry in logs]


# --- RES-1: a break costs one request body at most


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("at", [1, 70_000, 3 * MIB + 5, 7 * MIB])
async def test_res_1_a_cut_costs_at_most_one_request_body(
    serve: Serve, connect: Connect, *, checksums: bool, at: int
) -> None:
    double = await serve(checksums=checksums)
    sending = MemorySending(some_bytes(EIGHT))
    async with Wire(f"ok cut@{at}", double.port) as wire:
        uplink = connect(wire.url, part_length=2 * MIB)
        await uplink.check()  # takes the first connection away
        await uplink.aclose()
        await uplink.send(sending)
        assert wire.upstream <= EIGHT + 2 * MIB + 20_000  # headers
    assert whole(double, sending)
    assert double.made <= 1 + (at < 1000)  # a plain server cannot know that a creation was asked twice


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


# --- RES-4: locks


@pytest.mark.parametrize("method", ["PATCH", "HEAD", "POST"])
async def test_res_4_a_lock_is_waited_for_and_the_same_upload_goes_on(
    serve: Serve, connect: Connect, method: str
) -> None:
    double = await serve(signs=method == "POST")
    double.next(method, *[says(423)] * 4)
    sending = MemorySending(some_bytes(MIB))
    await connect(double.url).send(sending)
    assert double.made == 1
    assert whole(double, sending)


async def test_res_4_a_lock_that_lasts_leaves_the_same_upload_for_later(serve: Serve, connect: Connect) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(2 * MIB))
    uplink = connect(double.url, part_length=MIB)
    for _ in range(3):
        double.next("HEAD", *[says(423, {"Retry-After": "9"})] * 99)
        double.next("PATCH", *[says(423, {"Retry-After": "9"})] * 99)
        with pytest.raises(UplinkDown, match="earlier request") as caught:
            await uplink.send(sending)
        assert caught.value.retry_after == 9
        double._faults.clear()
    await uplink.send(sending)
    assert double.made == 1
    assert whole(double, sending)


# --- RES-5: an upload that acts as if it were finished


def swapped(double: Double, path: str) -> None:
    held = double.uploads[path].held
    held[:10], held[10:20] = held[10:20], held[:10]


async def test_res_5_a_part_that_the_server_swaps_is_no_receipt(serve: Serve, connect: Connect) -> None:
    double = await serve(digests=True)
    double.next("HEAD", then(swapped))
    with pytest.raises(BadReceipt):
        await connect(double.url).send(MemorySending(some_bytes(MIB)))


async def test_res_5_a_dropped_part_is_seen_when_the_whole_is_asked_for(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("PATCH", _drop)
    sending = MemorySending(some_bytes(2 * MIB))
    await connect(double.url, part_length=MIB).send(sending)
    assert whole(double, sending)


async def _drop(double: Double, request: web.Request, seen: Seen) -> web.StreamResponse:
    body = await double.read(request, seen)
    return said(204, {"Upload-Offset": str(len(body))})


# --- RES-6: nothing is doubled


async def test_res_6_a_lost_answer_to_one_request_creation_doubles_nothing(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    double.next("POST", drop_answer())
    sending = MemorySending(some_bytes(MIB))
    receipt = await connect(double.url).send(sending)
    assert receipt.strength is Strength.SIGNED
    assert methods(double) == ["OPTIONS", "POST", "POST"]
    assert double.received() == MIB  # the second one only asks
    assert double.made == 1


async def test_res_6_an_idle_connection_that_was_closed_costs_nothing(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("POST", cut())
    sending = MemorySending(b"abc")
    await connect(double.url).send(sending)
    assert methods(double) == ["OPTIONS", "POST", "POST", "PATCH", "HEAD"]
    assert whole(double, sending)


@pytest.mark.parametrize("signs", [True, False])
async def test_res_6_a_crash_after_the_end_finds_the_upload_and_its_receipt_again(
    serve: Serve, connect: Connect, *, signs: bool
) -> None:
    double = await serve(signs=signs)
    sending = MemorySending(some_bytes(3 * MIB))
    first = await connect(double.url, part_length=MIB).send(sending)
    again = MemorySending(sending.data)  # our record of the receipt was lost, what `remember` kept was not
    again.state = sending.state
    second = await connect(double.url, part_length=MIB).send(again)
    assert second == first
    assert double.made == 1
    assert double.received() == 3 * MIB


async def test_res_6_a_crash_after_a_one_request_upload_gets_the_receipt_again(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    data = some_bytes(MIB)
    first = await connect(double.url).send(MemorySending(data))
    assert await connect(double.url).send(MemorySending(data)) == first
    assert double.made == 1


async def test_res_6_a_lost_last_answer_is_asked_for(serve: Serve, connect: Connect) -> None:
    for signs in (True, False):
        double = await serve(signs=signs)
        double.next("PATCH", then(lambda *_: None), drop_answer())
        sending = MemorySending(some_bytes(2 * MIB))
        receipt = await connect(double.url, part_length=MIB).send(sending)
        assert receipt.strength is (Strength.SIGNED if signs else Strength.LENGTH)
        assert double.received() == 2 * MIB


async def test_res_6_crashes_at_any_moment_leave_one_object_each(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    rounds = 300
    for number in range(rounds):
        data, key = some_bytes(1000, number), f"{number}"
        task = asyncio.create_task(connect(double.url).send(MemorySending(data, key=key)))
        await asyncio.sleep(number % 30 / 5000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        receipt = await connect(double.url).send(MemorySending(data, key=key))
        assert receipt.strength is Strength.SIGNED
    assert double.made == rounds


async def test_cancellation_leaves_an_upload_that_goes_on(serve: Serve, connect: Connect) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(4 * MIB))
    double.next("PATCH", then(lambda *_: None), stall(100))
    uplink = connect(double.url, part_length=MIB, stall=30)
    task = asyncio.create_task(uplink.send(sending))
    while double.count("PATCH") < 2:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await uplink.send(sending)
    assert double.made == 1
    assert whole(double, sending)


# --- RES-8: expiry


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("method", ["PATCH", "HEAD"])
async def test_res_8_an_upload_that_expired_is_created_again(
    serve: Serve, connect: Connect, status: int, method: str
) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(4 * MIB))

    def expire(double: Double, path: str) -> None:
        double.uploads.pop(path)

    if method == "PATCH":
        double.next("PATCH", then(lambda *_: None), then(expire, says(status)))
        double.next("HEAD", says(status))
    else:  # after the last byte, before anybody asked
        double.next("HEAD", then(expire, says(status)))
    with capture_logs() as logs:
        await connect(double.url, part_length=MIB).send(sending)
    assert "upload_gone" in events(logs)
    assert double.made == 2
    assert sending.state == f"{double.url}/2"
    assert whole(double, sending)


async def test_res_8_expired_while_the_agent_was_away(serve: Serve, connect: Connect) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(MIB))
    sending.state = f"{double.url}/42"
    await connect(double.url).send(sending)
    assert sending.state == f"{double.url}/1"
    assert whole(double, sending)


async def test_res_8_a_404_of_a_proxy_without_its_back_end_forgets_nothing(serve: Serve, connect: Connect) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(4 * MIB))
    uplink = connect(double.url, part_length=MIB)
    double.next("PATCH", then(lambda *_: None), stranger(503))
    with pytest.raises(UplinkDown):
        await uplink.send(sending)
    for method in ("HEAD", "OPTIONS", "POST"):
        double.next(method, stranger(404, "no back end", "text/html"))
    with pytest.raises(UplinkDown):
        await uplink.send(sending)
    double._faults.clear()
    await uplink.send(sending)
    assert double.made == 1
    assert double.received() == 4 * MIB


async def test_res_8_a_server_that_loses_each_upload_is_left_alone(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("HEAD", *[says(404)] * 99)
    sending = MemorySending(b"abc")
    with pytest.raises(UplinkDown, match="again and again"):
        await connect(double.url).send(sending)
    assert double.made == CREATIONS


# --- stalls and links


@pytest.mark.parametrize("after", [0, 300_000])
async def test_a_server_that_stops_reading_is_left_after_the_stall_time(
    serve: Serve, connect: Connect, after: int
) -> None:
    double = await serve()
    double.next("PATCH", stall(after))
    sending = MemorySending(some_bytes(EIGHT + EIGHT))
    loop = asyncio.get_running_loop()
    started = loop.time()
    await connect(double.url, stall=0.4).send(sending)
    assert 0.4 <= loop.time() - started < 4
    assert whole(double, sending)


async def test_a_server_that_takes_everything_and_never_answers_is_left(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    for method in ("POST", "HEAD"):
        double.next(method, stall(MIB if method == "POST" else 0))
    sending = MemorySending(some_bytes(MIB))
    receipt = await connect(double.url, stall=0.3, connect_timeout=0.2).send(sending)
    assert receipt.strength is Strength.SIGNED


async def test_answers_that_are_lost_on_the_way_are_asked_for(serve: Serve, connect: Connect) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(2 * MIB))
    async with Wire("ok mute@1000000", double.port) as wire:
        uplink = connect(wire.url, part_length=2 * MIB, stall=0.4)
        await uplink.check()
        await uplink.aclose()
        await uplink.send(sending)
    assert double.received() == 2 * MIB
    assert whole(double, sending)


async def test_a_server_may_take_its_time_to_verify_the_whole(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trip, "REREAD", MIB)

    async def slowly(double: Double, request: web.Request, seen: Seen) -> web.StreamResponse:
        response = await double.work(request, seen)
        await asyncio.sleep(0.8)
        return response

    double = await serve()
    double.next("PATCH", then(lambda *_: None), slowly)
    double.next("HEAD", slowly)
    await connect(double.url, part_length=MIB, stall=0.3, connect_timeout=0.2).send(MemorySending(some_bytes(2 * MIB)))
    assert methods(double) == ["OPTIONS", "POST", "PATCH", "PATCH", "HEAD"]


async def test_a_slow_link_is_no_stall(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "SLOW", 0.1)
    double = await serve(signs=True)
    sending = MemorySending(some_bytes(3 * MIB // 2))
    async with Wire("limit=600000", double.port) as wire:
        await connect(wire.url, stall=1.5).send(sending)  # 2.6 s in one request
    assert methods(double) == ["OPTIONS", "POST"]
    assert whole(double, sending)


async def test_a_proxy_that_takes_fast_and_passes_on_slowly_is_no_stall(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "SLOWEST", MIB // 2)
    double = await serve(signs=True)

    async def slowly(double: Double, request: web.Request, seen: Seen) -> web.StreamResponse:
        response = await double.work(request, seen)
        await asyncio.sleep(1.2)
        return response

    double.next("POST", slowly)
    await connect(double.url, stall=0.3).send(MemorySending(some_bytes(MIB)))
    assert methods(double) == ["OPTIONS", "POST"]


async def test_blocks_become_pieces_where_one_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "SLOW", 0.05)
    sending = MemorySending(some_bytes(MIB))
    body = body_module.Body(sending.blocks(0, MIB), MIB, 1.0)
    lengths = []
    async for piece in body:
        lengths.append(len(piece))
        await asyncio.sleep(0.06 if len(lengths) < 4 else 0)
    assert lengths == [256 * 1024, *[body_module.PIECE] * 3, 256 * 1024 - 3 * body_module.PIECE, 256 * 1024, 256 * 1024]
    await body.close()


async def test_a_slow_disk_is_no_stalled_link(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)

    class Slow(MemorySending):
        async def blocks(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
            async for block in super().blocks(offset, length):
                await asyncio.sleep(0.5)
                yield block

    sending = Slow(some_bytes(MIB))
    await connect(double.url, stall=0.3).send(sending)
    assert methods(double) == ["OPTIONS", "POST"]


async def test_the_source_is_closed_when_a_request_ends_early(serve: Serve, connect: Connect) -> None:
    double = await serve()
    closed: dict[int, bool] = {}

    class Watched(MemorySending):
        async def blocks(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
            closed[len(closed)] = False
            number = len(closed) - 1
            try:
                async for block in super().blocks(offset, length):
                    yield block
            finally:
                closed[number] = True

    double.next("PATCH", stranger(500), cut(500_000), stall(500_000), stranger(413))
    sending = Watched(some_bytes(EIGHT))
    with pytest.raises(UplinkDown):
        await connect(double.url, part_length=4 * MIB, stall=0.3).send(sending)
    assert closed
    assert all(closed.values())
