"""Locks, lost answers, crashes and expiry: one capture stays one upload, and ends with the receipt that it earned."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from agent.capture import Strength
from agent.errors import BadReceipt, UplinkDown
from agent.uplink.http.trip import CREATIONS
from tests.uplinks.double import cut, drop_answer, events, methods, said, says, stall, stranger, then, whole
from tests.uplinks.memory import MIB, MemorySending, some_bytes

if TYPE_CHECKING:
    from aiohttp import web

    from tests.uplinks.double import Connect, Double, Seen, Serve

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


async def test_res_6_a_server_that_signs_nothing_may_keep_one_copy_more_and_that_is_said(
    serve: Serve, connect: Connect
) -> None:
    double = await serve()
    double.next("POST", drop_answer(), *[cut()] * 2)
    sending = MemorySending(b"abc")
    uplink = connect(double.url)
    with capture_logs() as logs:
        with pytest.raises(UplinkDown):
            await uplink.send(sending)
        await uplink.send(sending)
    assert events(logs) == ["upload_perhaps_twice"]
    assert [seen.received for seen in double.seen if seen.method == "POST"] == [
        3,
        0,
        0,
        0,
    ]  # bytes once
    assert methods(double)[-3:] == ["POST", "PATCH", "HEAD"]
    assert [bytes(one.held) for one in double.uploads.values()] == [b"abc"] * 2


async def test_res_6_an_idle_connection_that_was_closed_costs_nothing(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("POST", cut())
    sending = MemorySending(b"abc")
    await connect(double.url, with_creation=0).send(sending)
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


@pytest.mark.parametrize("says_404", [("HEAD", "OPTIONS", "POST"), ("HEAD", "OPTIONS")])
async def test_res_8_a_404_of_a_proxy_without_its_back_end_forgets_nothing(
    serve: Serve, connect: Connect, says_404: tuple[str, ...]
) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(4 * MIB))
    uplink = connect(double.url, part_length=MIB)
    double.next("PATCH", then(lambda *_: None), stranger(503))
    with pytest.raises(UplinkDown):
        await uplink.send(sending)
    await uplink.door.abilities()  # it was well a moment ago
    for method in says_404:
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
