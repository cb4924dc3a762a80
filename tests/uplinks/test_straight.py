"""Long bodies by threads: what comes back on a bare socket, connections that are used again, and early ends."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from contextlib import aclosing, suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, NoReturn

import pytest
from yarl import URL

from agent.errors import SpoolDamaged, UplinkDown
from agent.traffic import Bucket, Paced
from agent.uplink.http import Cut, Door, HttpOptions, carriage
from agent.uplink.http.carriage import BrokenError, UnmadeError
from agent.uplink.http.incoming import Incoming
from agent.uplink.http.straight import LONG
from tests.uplinks.bare import CHOOSES, YES, Bare, asked, body_of, way_to
from tests.uplinks.memory import MIB, MemoryLeaving, MemorySending, some_bytes

if TYPE_CHECKING:
    from agent.uplink.http.straight import Straight


async def test_the_request_is_written_as_it_was_meant(way: Straight) -> None:
    async with Bare(YES).running() as server:
        head = await asked(way, server)
    assert (head.status, head.headers["upload-offset"], head.body) == (204, "7", b"")
    first, host, *_ = server.heads[0].decode().split("\r\n")
    assert (first, host) == ("PATCH /up/a%2Fb%20c?d=e%26 HTTP/1.1", f"Host: 127.0.0.1:{server.port}")
    assert server.received == 7


async def test_segments_are_full_while_bytes_follow_and_the_last_one_waits_for_nothing() -> None:
    sockets: list[socket.socket] = []
    held: list[int] = []

    def corked() -> int:
        return sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)

    class Body(MemoryLeaving):
        def read(self, room: memoryview, /) -> int:
            held.append(corked())
            return super().read(room)

    way = way_to(sockets=sockets)
    async with Bare(YES, YES).running() as server:
        for _ in range(2):
            await way.ask(
                "PATCH",
                server.url,
                {"Content-Length": "7"},
                Body(MemorySending(b"1234567"), 0, 7),
                7,
                verifying=0.0,
            )
            assert not corked()
    way.close()
    assert held == [1, 1]
    assert server.connections == 1


async def test_a_header_that_would_be_two_is_not_sent(way: Straight) -> None:
    async with Bare(YES).running() as server:
        with pytest.raises(ValueError, match="one line"):
            await way.ask("PATCH", server.url, {"A": "b\r\nC: d"}, body_of(b"1"), 1, verifying=0.0)
    assert not server.connections


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nA: b\r\n\r\n",
            200,
            b"abc",
        ),
        (b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + YES, 204, b""),
        (b"HTTP/1.1 204\r\n\r\n", 204, b""),
    ],
)
async def test_answers_after_which_the_connection_is_used_again(
    way: Straight, answer: bytes, status: int, body: bytes
) -> None:
    async with Bare(answer, YES).running() as server:
        head = await asked(way, server)
        assert (head.status, head.body) == (status, body)
        assert (await asked(way, server)).status == 204
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 413 Too Large\r\nContent-Length: 5000\r\n\r\n" + bytes(5000), bytes(1000)),
        (YES + b"HTTP/1.1 200 OK\r\n\r\n", b""),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b""),
    ],
    ids=["of 1.0", "close", "longer than is read", "with more behind it", "another protocol"],
)
async def test_answers_after_which_it_is_not(way: Straight, answer: bytes, body: bytes) -> None:
    async with Bare(answer, YES, ends=b"1.0" in answer).running() as server:
        assert (await asked(way, server)).body == body
        assert (await asked(way, server)).status == 204
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 204 No Con",
        b"HTTP/1.1 204 No Content\r\nUpload-Offset: 7",
        b"HTTP/1.1 204 No Content\r\nUpload-Offset: 7\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 99 What\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    ],
)
async def test_half_an_answer_is_none(way: Straight, answer: bytes) -> None:
    async with Bare(answer, ends=True).running() as server:
        with pytest.raises(BrokenError) as caught:
            await asked(way, server)
    assert caught.value.handed == 7


@pytest.mark.parametrize("ends", [False, True])
async def test_an_answer_that_comes_before_the_bytes_have_gone_ends_them(way: Straight, *, ends: bool) -> None:
    """At once, also where nothing more is taken: what is sent to who said no already is lost, and the link with it."""
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    async with Bare(b"", first=(refusal,), reads=False, ends=ends).running() as server, asyncio.timeout(20):
        head = await asked(way, server, some_bytes(64 * MIB))
    assert (head.status, head.body) == (403, b"no")


INTERIM = b"HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Offset: 3\r\n\r\n"


LENGTHY = b"HTTP/1.1 102 Processing\r\n" + 70 * (b"A: " + 1000 * b"a" + b"\r\n")


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        ((INTERIM,), b""),
        ((INTERIM[:20], INTERIM[20:]), b""),
        ((INTERIM + INTERIM[:11],), INTERIM[11:]),
        ((LENGTHY,), b"\r\n"),
    ],
    ids=["whole", "halves", "one and a half", "more than is kept"],
)
async def test_what_is_no_final_answer_does_not_end_them(way: Straight, first: tuple[bytes, ...], rest: bytes) -> None:
    """Also where it comes while the other side takes nothing for a while."""
    async with Bare(rest + YES, first=first).running() as server, asyncio.timeout(20):
        head = await asked(way, server, some_bytes(64 * MIB))
    assert (head.status, server.received) == (204, 64 * MIB)


async def test_a_connection_that_the_other_side_closed_meanwhile_is_not_used(way: Straight) -> None:
    async with Bare(YES, YES, ends=True).running() as server:
        await asked(way, server)
        await server.ended.wait()
        await asked(way, server)
    assert server.connections == 2


async def test_a_request_that_nobody_waits_for_ends_with_its_thread(way: Straight) -> None:
    async with Bare(b"", reads=False).running() as server, asyncio.timeout(20):
        task = asyncio.create_task(asked(way, server, some_bytes(32 * MIB)))
        await server.began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert way.free
    way.close()
    for thread in threading.enumerate():
        if thread.name.startswith("straight"):
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()


async def test_a_server_that_hangs_behind_a_long_body_does_not_keep_it_for_hours(
    way: Straight, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffers on the way may hold a part for long; where the link is quick, not the many of one request."""
    monkeypatch.setattr(carriage, "PART_LENGTH", MIB)
    monkeypatch.setattr(carriage, "SLOWEST", MIB)
    way._stall = 0.5
    async with Bare(b"", b"").running() as server, asyncio.timeout(20):
        with pytest.raises(BrokenError) as caught:
            await asked(way, server, some_bytes(64 * MIB))
    assert isinstance(caught.value.why, TimeoutError)
    assert caught.value.handed == 64 * MIB


async def test_the_name_of_a_server_may_be_absolute(way: Straight, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the dot at its end a resolver may look for it in the domains of this network first."""
    asked_for: list[object] = []

    def found(host: object, *_: object, **__: object) -> NoReturn:
        asked_for.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", found)
    with pytest.raises(UnmadeError):
        await way.ask("PUT", URL("http://dems.example.org./"), {}, body_of(b"1"), 1, verifying=0.0)
    assert asked_for == ["dems.example.org."]


async def test_what_the_spool_says_is_wrong_is_no_trouble_of_the_link(way: Straight) -> None:
    sending = MemorySending(some_bytes(MIB), damage=some_bytes(MIB)[: MIB // 2])
    async with Bare(YES).running() as server:
        words = {"Content-Length": str(MIB)}
        with pytest.raises(SpoolDamaged):
            await way.ask("PUT", server.url, words, MemoryLeaving(sending, 0, MIB), MIB, verifying=0.0)


async def test_long_bodies_go_this_way_on_a_quick_link_without_a_proxy() -> None:
    words = {"use": "tus", "name": "dems", "url": "http://127.0.0.1:9/"}
    goes = [
        CHOOSES(Door(HttpOptions(**words | more)), length, quick=quick)
        for more, length, quick in (
            ({}, LONG, True),
            ({}, LONG - 1, True),
            ({}, LONG, False),
            ({"proxy": "http://127.0.0.1:9"}, LONG, True),
        )
    ]
    assert goes == [True, False, False, False]


async def test_where_nobody_listens_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    door = Door(HttpOptions(use="tus", name="dems", url=f"http://127.0.0.1:{port}/"))
    async with aclosing(door):
        with pytest.raises(UplinkDown, match="refuses connections") as caught:
            await door.carry("PUT", door.url, {}, body_of(b"1"), 1, verifying=0.0)
    assert caught.value.unsent
    assert not isinstance(caught.value, Cut)


async def test_bytes_go_at_the_pace_of_the_bucket_and_a_cap_counts_at_once() -> None:
    """Of a body that is on its way when somebody sets a cap, the rest keeps to it; without one it goes on at once."""
    bucket, room = Bucket(), memoryview(bytearray(MIB))
    paced = Paced(body_of(some_bytes(4 * MIB)), bucket, 4 * MIB)
    assert await asyncio.to_thread(paced.read, room) == MIB
    bucket.rate = 400_000.0
    assert await asyncio.to_thread(paced.read, room) == 100_000
    waiting = asyncio.create_task(asyncio.to_thread(paced.read, room))
    assert not (await asyncio.wait({waiting}, timeout=0.05))[0]
    bucket.rate = None
    assert await waiting == 100_000
    assert await asyncio.to_thread(paced.read, room) == MIB
    assert paced.left == 2 * MIB - 200_000


async def test_whoever_waits_for_the_bucket_is_let_go() -> None:
    bucket = Bucket(1.0)
    paced = Paced(body_of(some_bytes(MIB)), bucket, MIB)
    room = memoryview(bytearray(MIB))
    await asyncio.to_thread(paced.read, room)
    waiting = asyncio.create_task(asyncio.to_thread(paced.read, room))
    await asyncio.sleep(0.05)
    paced.stop()
    with pytest.raises(ConnectionAbortedError):
        await waiting
    with pytest.raises(ConnectionAbortedError):
        await asyncio.to_thread(paced.read, room)


def test_no_bytes_make_the_reader_of_answers_fail_in_another_way() -> None:
    """Whatever a server, or what stands before it, says instead of an answer."""
    chance = random.Random(7110)
    seeds = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 104 Upload Resumption Supported\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        YES,
    ]
    read = 0
    for _ in range(2000):
        raw = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(raw) + 1)
            raw[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(raw)
            theirs.shutdown(socket.SHUT_WR)
            incoming = Incoming(ours)
            try:
                incoming.early()
                head, _ = incoming.answer("PATCH", 1000)
            except (OSError, HTTPException):
                continue
            assert 100 <= head.status <= 999
            assert len(head.body) <= 1000
            read += 1
    assert read > 200, "else they were too odd to tell anything"


def test_what_is_heard_already_does_not_keep_a_thread_busy_that_waits_until_more_is_taken() -> None:
    """Half an answer and then the end, while nothing is taken: who listens on would be woken again and again."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)  # noqa: FBT003 - the socket's own signature
        with suppress(BlockingIOError):
            while True:
                ours.send(bytes(65536))
        theirs.sendall(INTERIM[:20])
        theirs.shutdown(socket.SHUT_WR)
        incoming, told = Incoming(ours), threading.Event()
        assert not incoming.early()
        waiting = threading.Thread(target=lambda: incoming.room() and told.set())
        waiting.start()
        assert not told.wait(0.2)
        theirs.recv(1 << 24)
        assert told.wait(10)
        waiting.join()
