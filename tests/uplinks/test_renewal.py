"""Uploads that were announced and wait: kept up before they expire, made again after, found again from elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

import pytest
from multidict import CIMultiDict
from yarl import URL

from agent.errors import UplinkDown
from agent.testing.dems import DemsProcess, EmulatedDems
from agent.uplink.http import Answer, renew_at
from agent.uplink.http.expiry import kept_for
from agent.uplink.ietf import IetfUplink
from agent.uplink.tus import TusUplink
from tests.uplinks.arriving import settled, verified
from tests.uplinks.memory import MIB, MemorySending, some_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    Make = Callable[..., TusUplink | IetfUplink]

BOTH = pytest.mark.parametrize("protocol", ["tus", "ietf"])
DAY = 86400.0


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def dems(tmp_path: Path, clock: Clock) -> AsyncIterator[EmulatedDems]:
    async with EmulatedDems(tmp_path / "dems", clock=clock, expires_after=DAY) as started:
        yield started


@pytest.fixture
async def uplink_to() -> AsyncIterator[Make]:
    async with contextlib.AsyncExitStack() as stack:

        def made(protocol: str, url: str, **more: object) -> TusUplink | IetfUplink:
            known = {"name": "dems", "stall": 2.0, "receipt_wait": 1.0, "part_length": MIB} | more
            if protocol == "tus":
                uplink: TusUplink | IetfUplink = TusUplink(TusUplink.Options(use="tus", url=url, **known))
            else:
                there = str(URL(url).with_path("/captures/"))
                uplink = IetfUplink(IetfUplink.Options(use="ietf", url=there, **known))
            stack.push_async_callback(uplink.aclose)
            return uplink

        yield made


def due_in(sending: MemorySending) -> float:
    assert sending.renew_at is not None
    return (sending.renew_at - datetime.now(UTC)).total_seconds()


@BOTH
async def test_an_announced_upload_is_kept_up_while_it_waits(
    dems: EmulatedDems, clock: Clock, protocol: str, uplink_to: Make
) -> None:
    sending, uplink = MemorySending(some_bytes(2 * MIB)), uplink_to(protocol, dems.url)
    await uplink.announce(sending)
    url = sending.state
    assert DAY / 2 - 60 < due_in(sending) <= DAY / 2 + 60
    for _ in range(6):  # three days, of which one would have been the end
        clock.now += DAY / 2
        sending.renew_at = None
        await uplink.announce(sending)
        assert sending.state == url
        assert due_in(sending) > DAY / 2 - 60, "it is known when it is due again"
    assert [entry.state for entry in await dems.index()] == ["open"]
    verified(await uplink.send(sending), sending, dems)
    await settled(dems, sending)


@BOTH
async def test_one_that_was_begun_is_kept_up_with_what_it_has(
    dems: EmulatedDems, clock: Clock, protocol: str, uplink_to: Make
) -> None:
    class StoppedError(Exception):
        pass

    sending, uplink = MemorySending(some_bytes(3 * MIB)), uplink_to(protocol, dems.url)
    turns = iter([None, StoppedError])

    async def turn(_: int, /) -> None:
        if (stop := next(turns, None)) is not None:
            raise stop

    sending.turn = turn  # type: ignore[method-assign]
    await uplink.announce(sending)
    with contextlib.suppress(StoppedError):
        await uplink.send(sending)
    for _ in range(4):
        clock.now += DAY * 0.6
        await uplink_to(protocol, dems.url).announce(sending)  # by an agent that was started again
    [entry] = await dems.index()
    assert (entry.state, entry.offset) == ("open", MIB)
    verified(await uplink.send(sending), sending, dems)
    await settled(dems, sending)


@BOTH
async def test_one_that_expired_is_announced_anew(
    dems: EmulatedDems, clock: Clock, protocol: str, uplink_to: Make
) -> None:
    sending, uplink = MemorySending(some_bytes(2 * MIB)), uplink_to(protocol, dems.url)
    await uplink.announce(sending)
    clock.now += DAY + 1
    await uplink.announce(sending)
    assert len(set(sending.remembered)) == 2
    assert [entry.state for entry in await dems.index()] == ["expired", "open"]


@BOTH
async def test_what_is_complete_is_not_renewed(dems: EmulatedDems, protocol: str, uplink_to: Make) -> None:
    sending, uplink = MemorySending(some_bytes(2 * MIB)), uplink_to(protocol, dems.url)
    await uplink.announce(sending)
    receipt = await uplink.send(sending)
    await uplink.announce(sending)
    assert sending.renew_at is None
    assert (await uplink.send(sending)).note == receipt.note
    await settled(dems, sending)


@BOTH
async def test_a_dems_that_is_down_when_its_turn_comes_is_asked_later(
    dems: EmulatedDems, protocol: str, uplink_to: Make
) -> None:
    sending, uplink = MemorySending(some_bytes(MIB)), uplink_to(protocol, dems.url)
    await uplink.announce(sending)
    before = sending.renew_at
    await dems.add_fault("*:*:drop")
    with pytest.raises(UplinkDown):
        await uplink.announce(sending)
    assert sending.renew_at == before, "it is still due"
    await dems.clear_faults()
    await uplink.announce(sending)


@BOTH
async def test_restarts_of_both_sides_and_another_address_lose_nothing(
    tmp_path: Path, protocol: str, uplink_to: Make
) -> None:
    """The DEMS comes back at another port, as after a move: what it has of a capture it knows by the capture."""
    sending = MemorySending(some_bytes(4 * MIB))
    async with DemsProcess(tmp_path / "dems") as first:
        task = asyncio.create_task(uplink_to(protocol, first.url).send(sending))
        async with asyncio.timeout(20):
            while not sending.confirmed or sending.confirmed[-1] < 2 * MIB:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        first.kill()
    left = sending.state
    async with DemsProcess(tmp_path / "dems") as second:
        uplink = uplink_to(protocol, second.url)
        await uplink.announce(sending)  # renews what lies at the old address: at the new one
        assert sending.state != left
        verified(await uplink.send(sending), sending, second)
        await settled(second, sending, again=2 * MIB)


class Forwarding:
    """A proxy for plain HTTP (RFC 9112 section 3.2.2: the absolute form), which counts what goes through."""

    def __init__(self) -> None:
        self.through = 0
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, rest = head.split(b" ", 2)
            url = URL(target.decode())
            onward, back = await asyncio.open_connection(url.host, url.port)
            back.write(b" ".join([method, url.raw_path_qs.encode(), rest]))
            self.through += 1

            async def hand(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                with contextlib.suppress(ConnectionError):
                    while block := await source.read(1 << 16):
                        sink.write(block)
                        await sink.drain()
                sink.close()

            await asyncio.gather(hand(reader, back), hand(onward, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()


@BOTH
async def test_it_goes_on_through_another_proxy_and_without_one(
    dems: EmulatedDems, protocol: str, uplink_to: Make
) -> None:
    """Begun through one, kept up through another, finished without: it is the same upload."""

    class StoppedError(Exception):
        pass

    sending = MemorySending(some_bytes(3 * MIB))
    calls = 0

    async def turn(_: int, /) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise StoppedError

    sending.turn = turn  # type: ignore[method-assign]
    async with Forwarding() as one, Forwarding() as other:
        first = uplink_to(protocol, dems.url, proxy=one.url)
        first.door._opened()._connector._force_close = True  # type: ignore[union-attr]  # one request, one connection
        with contextlib.suppress(StoppedError):
            await first.send(sending)
        second = uplink_to(protocol, dems.url, proxy=other.url)
        second.door._opened()._connector._force_close = True  # type: ignore[union-attr]
        await second.announce(sending)
        assert one.through
        assert other.through
    third = uplink_to(protocol, dems.url)
    verified(await third.send(sending), sending, dems)
    assert len(set(sending.remembered)) == 1
    await settled(dems, sending)


# --- what servers say of it


def answer(**headers: str) -> Answer:
    here = URL("https://dems.example.org/files/1")
    return Answer("POST", here, 201, CIMultiDict((k.replace("_", "-"), v) for k, v in headers.items()))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        # The clock of the server is a year off, and its two dates are an hour apart: tus 1.0.0, Expiration.
        ({"Upload_Expires": "Wed, 25 Jun 2014 17:00:00 GMT", "Date": "Wed, 25 Jun 2014 16:00:00 GMT"}, 3600.0),
        ({"Upload_Expires": "Wed, 25 Jun 2014 16:00:00 GMT"}, 0.0),
        ({"Upload_Limit": "max-size=10, max-age=3600"}, 3600.0),
        ({"Upload_Limit": "max-age=3600;x=1"}, 3600.0),
        ({"Upload_Limit": "max-age=999999999999"}, 365 * 86400.0),
        ({"Upload_Limit": "xmax-age=3600"}, None),
        ({"Upload_Expires": "tomorrow"}, None),
        ({"Upload_Expires": ""}, None),
        ({}, None),
    ],
)
def test_for_how_long_an_upload_is_kept(headers: dict[str, str], seconds: float | None) -> None:
    assert kept_for(answer(**headers)) == seconds


def test_it_is_renewed_when_half_of_that_is_over() -> None:
    soon, later = renew_at(answer(Upload_Limit="max-age=10")), renew_at(answer(Upload_Limit="max-age=7200"))
    assert soon is not None
    assert later is not None
    assert timedelta(seconds=30) < soon - datetime.now(UTC) <= timedelta(seconds=60)
    assert timedelta(seconds=3570) < later - datetime.now(UTC) <= timedelta(seconds=3600)
    assert renew_at(answer()) is None
