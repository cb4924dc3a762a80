"""Links and servers that stall, are slow, or lose answers: nothing waits for ever, and slowness is no failure."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from agent.capture import Strength
from agent.errors import UplinkDown
from agent.uplink.http import body as body_module
from agent.uplink.http import carriage, trip
from agent.uplink.http.door import Door
from agent.uplink.http.options import HttpOptions
from tests.uplinks.double import cut, methods, stall, stranger, then, whole
from tests.uplinks.memory import MIB, MemorySending, some_bytes
from tests.uplinks.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from tests.uplinks.double import Connect, Double, Seen, Serve

EIGHT = 8 * MIB


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("after", [0, 300_000])
async def test_a_server_that_stops_reading_is_left_after_the_stall_time(
    serve: Serve, connect: Connect, after: int
) -> None:
    double = await serve()
    double.next("PATCH", stall(after))
    sending = MemorySending(some_bytes(EIGHT + EIGHT))
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.timeout(25):  # sooner than without
        await connect(double.url, stall=0.4).send(sending)
    assert loop.time() - started >= 0.4
    assert whole(double, sending)


@pytest.mark.usefixtures("both_ways")
async def test_a_server_that_takes_everything_and_never_answers_is_left(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    for method in ("POST", "HEAD"):
        double.next(method, stall(MIB if method == "POST" else 0))
    sending = MemorySending(some_bytes(MIB))
    receipt = await connect(double.url, stall=0.3, connect_timeout=0.2).send(sending)
    assert receipt.strength is Strength.SIGNED


@pytest.mark.usefixtures("both_ways")
async def test_answers_that_are_lost_on_the_way_are_asked_for(serve: Serve, connect: Connect) -> None:
    double = await serve()
    sending = MemorySending(some_bytes(2 * MIB))
    async with Wire("ok mute@1000000", double.port) as wire:
        uplink = connect(wire.url, part_length=2 * MIB, stall=0.4)
        await uplink.door.abilities()
        await uplink.aclose()
        await uplink.send(sending)
    assert double.received() == 2 * MIB
    assert whole(double, sending)


@pytest.mark.usefixtures("both_ways")
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


@pytest.mark.usefixtures("both_ways")
async def test_a_slow_link_is_no_stall(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (body_module, carriage):
        monkeypatch.setattr(module, "SLOW", 0.1)
    double = await serve(signs=True)
    sending = MemorySending(some_bytes(3 * MIB))
    async with Wire("limit=600000", double.port) as wire:
        await connect(wire.url, stall=3.0).send(sending)  # 5.2 s in one request
    assert methods(double) == ["OPTIONS", "POST"]
    assert whole(double, sending)


async def test_of_a_link_that_many_share_each_gets_little_and_that_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 Mbit/s for sixteen are 16 kB/s for each on average, and some get a quarter; here a hundred times as much.

    The socket lets go on when its buffer, of which 64 KiB may be full, has drained to 16: so long is nothing seen to be
    taken, and after 30 s of that the request would be cut.
    """
    monkeypatch.setattr(body_module, "SLOW", 0.01)
    monkeypatch.setattr(body_module, "BRISK", 0.0025)
    rate, full, low = 1_600_000, 64 * 1024, 16 * 1024
    body = body_module.Body(MemorySending(some_bytes(2 * MIB)).blocks(0, 2 * MIB), 2 * MIB, 30.0)
    held, at, waits = 0.0, time.monotonic(), list[float]()
    async for piece in body:
        held = max(0.0, held - (time.monotonic() - at) * rate) + len(piece)
        at = time.monotonic()
        if held > full:
            waits.append((held - low) / rate)
            await asyncio.sleep(waits[-1])
    await body.close()
    assert 100 * max(waits) < 30 / 4


async def test_of_a_request_that_is_given_up_nothing_more_goes() -> None:
    """What the kernel has taken of it would share the link with what takes its place, and its server hear of no end."""
    found, ended = bytearray(), asyncio.Event()
    late = asyncio.Event()

    async def serves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            found.extend(await reader.readuntil(b"\r\n\r\n"))
            await late.wait()
            while more := await reader.read(MIB):
                found.extend(more)
            found.extend(b" and its end")
        except ConnectionResetError:
            found.extend(b" and was reset")
        finally:
            writer.transport.abort()
            ended.set()

    server = await asyncio.start_server(serves, "127.0.0.1", 0, limit=64 * 1024)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/files"
    door = Door(HttpOptions.model_validate({"use": "tus", "name": "dems", "url": url, "stall": 0.3}))
    data = some_bytes(64 * MIB)
    body = body_module.Body(MemorySending(data).blocks(0, len(data)), len(data), 0.3)
    with pytest.raises(UplinkDown, match="took no byte"):
        await door.ask("PATCH", door.url, {"Content-Length": str(len(data))}, body)
    late.set()
    await asyncio.wait_for(ended.wait(), 10)
    assert found.endswith(b" and was reset")
    await door.aclose()
    server.close()


@pytest.mark.usefixtures("both_ways")
async def test_a_proxy_that_takes_fast_and_passes_on_slowly_is_no_stall(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (body_module, carriage):
        monkeypatch.setattr(module, "SLOWEST", MIB // 2)
    double = await serve(signs=True)

    async def slowly(double: Double, request: web.Request, seen: Seen) -> web.StreamResponse:
        response = await double.work(request, seen)
        await asyncio.sleep(1.2)
        return response

    double.next("POST", slowly)
    await connect(double.url, stall=0.3).send(MemorySending(some_bytes(MIB)))
    assert methods(double) == ["OPTIONS", "POST"]


@pytest.mark.usefixtures("both_ways")
async def test_a_server_that_hangs_behind_many_parts_is_left_as_behind_one(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a quick link a request brings up to 32 parts: given the time of a slow one for each, that would be hours."""
    for module in (body_module, carriage):
        monkeypatch.setattr(module, "SLOWEST", MIB // 8)
    for module in (trip, carriage):
        monkeypatch.setattr(module, "PART_LENGTH", MIB // 16)
    double = await serve()
    double.next("PATCH", stall(EIGHT))
    sending = MemorySending(some_bytes(EIGHT))
    uplink = connect(double.url, stall=0.4)
    uplink.part.quick = True
    async with asyncio.timeout(25):  # much sooner than without
        await uplink.send(sending)
    assert double.count("PATCH") > 1
    assert whole(double, sending)


async def test_blocks_become_pieces_where_one_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "SLOW", 0.05)
    monkeypatch.setattr(body_module, "INSTANT", -1.0)
    sending, step = MemorySending(some_bytes(MIB)), body_module.STEP
    body = body_module.Body(sending.blocks(0, MIB), MIB, 1.0)
    lengths = []
    async for piece in body:
        lengths.append(len(piece))
        if len(lengths) < 4:
            await asyncio.sleep(0.06)
        else:  # what follows is quick, even where the machine is not
            monkeypatch.setattr(body_module, "SLOW", 60.0)
    piece, long = body_module.PIECE, 256 * 1024
    grown = [2 * piece, 4 * piece, long - step - 9 * piece]
    assert lengths == [step, *[piece] * 3, *grown, *[long] * 3], "and not all at once again"
    await body.close()


async def test_a_brisk_link_is_given_whole_blocks_and_every_byte_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data, long = some_bytes(3 * MIB // 2), MIB // 2

    async def blocks() -> AsyncIterator[bytes]:
        for at in range(0, len(data), long):
            yield data[at : at + long]

    monkeypatch.setattr(body_module, "INSTANT", -1.0)
    body = body_module.Body(blocks(), len(data), 1.0)
    brisk, steady, slow = (1e9, 1e9), (-1.0, 1e9), (-1.0, -1.0)
    step, piece = body_module.STEP, body_module.PIECE
    taken = []
    for (below, above), length in (
        (brisk, step),  # nothing is known yet
        (brisk, 2 * step),
        (brisk, 4 * step),
        (brisk, step),  # the rest of a block
        (brisk, long),
        (steady, step),
        (slow, piece),
        (brisk, 2 * piece),
        (brisk, 4 * piece),
        (brisk, 8 * piece),
        (brisk, long - step - 15 * piece),
    ):
        monkeypatch.setattr(body_module, "BRISK", below)
        monkeypatch.setattr(body_module, "SLOW", above)
        taken.append(await anext(body))
        assert len(taken[-1]) == length
    with pytest.raises(StopAsyncIteration):
        await anext(body)
    assert b"".join(taken) == data
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
