"""Long bodies by threads that come to no end of their own: no thread, no place and no connection is left over."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from agent.errors import UplinkDown
from agent.uplink.http import Cut, Door, HttpOptions, carriage, straight
from agent.uplink.http.carriage import UnmadeError
from tests.uplinks.bare import CHOOSES, YES, Bare, asked, body_of
from tests.uplinks.memory import MIB, MemoryLeaving, MemorySending, some_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme

    from agent.uplink.http.straight import Straight


@pytest.mark.parametrize("whose", ["straight", "asyncio"])
async def test_where_no_thread_can_be_had_the_event_loop_sends_what_comes_next(
    monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """As where the station's TasksMax= is reached: a capture must not wait for a thread that may never come."""
    true = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith(whose):
            raise RuntimeError("can't start new thread")
        true(thread)

    async with Bare(YES).running() as server:
        door = Door(HttpOptions(use="tus", name="dems", url=str(server.url.with_query(None))))
        async with aclosing(door):
            assert CHOOSES(door, straight.LONG, quick=True)
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", start)
                with pytest.raises(UplinkDown, match="no thread left") as caught:
                    await door.carry("PUT", server.url, {"Content-Length": "1"}, body_of(b"1"), 1, verifying=0.0)
            assert caught.value.unsent
            assert not isinstance(caught.value, Cut)
            assert "TasksMax" in caught.value.what_to_do
            assert not CHOOSES(door, straight.LONG, quick=True)
        assert not server.heads


async def test_a_way_that_is_closed_while_it_connects_sends_nothing(way: Straight) -> None:
    async with Bare(YES).running() as server:
        asking = asyncio.create_task(asked(way, server))
        while not server.connections:
            await asyncio.sleep(0)
            way.close()
        with pytest.raises(UnmadeError):
            await asking
        await server.ended.wait()
    assert not server.heads


@contextmanager
def answering() -> Iterator[tuple[int, threading.Event]]:
    """A server that needs no event loop: its port, and whether the other side closed the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        closed = threading.Event()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(YES)
                while connection.recv(65536):
                    pass
                closed.set()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1], closed
        thread.join()


async def test_a_request_that_is_given_up_in_the_moment_of_its_answer_keeps_no_connection(way: Straight) -> None:
    with answering() as (port, closed):
        going = asyncio.create_task(
            way.ask("PUT", URL(f"http://127.0.0.1:{port}/"), {"Content-Length": "0"}, body_of(b""), 0, verifying=0.0)
        )
        while not way._threads._threads:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        while way._going:
            time.sleep(0.01)  # noqa: ASYNC251 - the loop must not hear of it before it is given up
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert await asyncio.to_thread(closed.wait, 10)


async def test_a_server_that_says_nothing_of_keys_is_left_after_the_time_for_a_connection(
    way: Straight, authority: trustme.CA
) -> None:
    way._connect_timeout = 0.3
    way._tls = ssl.create_default_context()
    authority.configure_trust(way._tls)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = URL(f"https://127.0.0.1:{silent.getsockname()[1]}/")
        async with asyncio.timeout(20):
            with pytest.raises(UnmadeError) as caught:
                await way.ask("PUT", url, {"Content-Length": "1"}, body_of(b"1"), 1, verifying=0.0)
    assert isinstance(caught.value.why, TimeoutError)


async def test_a_thread_that_hangs_in_the_disk_keeps_its_place(way: Straight, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another body in that place would wait for the thread, and it would look as if the DEMS did not answer."""
    monkeypatch.setattr(carriage, "LET_GO", 0.05)
    monkeypatch.setattr(straight, "ABREAST", 1)
    reads, goes_on = threading.Event(), threading.Event()

    class Hanging(MemoryLeaving):
        def read(self, room: memoryview, /) -> int:
            reads.set()
            goes_on.wait(20)
            return super().read(room)

    async with Bare(YES).running() as server:
        body = Hanging(MemorySending(some_bytes(MIB)), 0, MIB)
        words = {"Content-Length": str(MIB)}
        going = asyncio.create_task(way.ask("PUT", server.url, words, body, MIB, verifying=0.0))
        await asyncio.to_thread(reads.wait, 10)
        for _ in range(2):  # once more while it is waited for
            going.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await going
        assert not way.free
        goes_on.set()
        async with asyncio.timeout(10):
            while not way.free:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            await server.ended.wait()
