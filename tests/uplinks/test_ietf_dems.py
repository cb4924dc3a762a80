"""Resumable uploads to the emulated DEMS: what crosses the wire; nothing is lost, doubled, or believed too soon."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs
from yarl import URL

from agent import forward
from agent.capture import PART_LENGTH, Standing, Strength
from agent.errors import UplinkRefused
from agent.note import Verifier
from agent.testing.dems import DemsProcess, EmulatedDems
from agent.testing.devices import BenchDevice
from agent.testing.station import Station
from agent.uplink.http import metadata
from agent.uplink.ietf import IetfUplink, NotResumable
from agent.uplink.tus import TusUplink
from tests.uplinks.arriving import sent, settled, verified
from tests.uplinks.memory import MIB, MemorySending, some_bytes
from tests.uplinks.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.uplink.http import Answer
    from tests.uplinks.double import Make


def heard(uplink: IetfUplink) -> list[Answer]:
    """Every answer from now on."""
    answers: list[Answer] = []
    ask = uplink.door.ask

    async def asked(*words: object, **more: object) -> Answer:
        answers.append(await ask(*words, **more))
        return answers[-1]

    uplink.door.ask = asked  # type: ignore[method-assign]
    return answers


def methods(answers: list[Answer]) -> list[str]:
    return [answer.method for answer in answers]


@pytest.mark.parametrize("length", [0, 1, 3 * MIB + 1, PART_LENGTH + 1])
async def test_a_receipt_that_verifies(dems: EmulatedDems, make: Make, length: int) -> None:
    sending = MemorySending(some_bytes(length), key="DCIM/Übung.MP4")
    uplink = make(dems.captures_url, part_length=PART_LENGTH)
    answers = heard(uplink)
    verified(await uplink.send(sending), sending, dems)
    await settled(dems, sending)
    assert methods(answers) == ["OPTIONS", "POST", *["PATCH"] * -(-length // PART_LENGTH)]
    assert bool(sending.remembered)


async def test_a_cut_is_followed_by_a_question_and_continues(dems: EmulatedDems, make: Make) -> None:
    await dems.add_fault("PATCH:2:cut@300000")
    sending, uplink = MemorySending(some_bytes(3 * MIB)), make(dems.captures_url)
    answers = heard(uplink)
    verified(await uplink.send(sending), sending, dems)
    assert methods(answers) == ["OPTIONS", "POST", "PATCH", "HEAD", "PATCH", "PATCH"] or "HEAD" in methods(answers)
    assert len(sending.remembered) == 1
    await settled(dems, sending, again=300_000)


async def test_without_digests_a_server_keeps_what_came_before_a_cut(tmp_path: Path, make: Make) -> None:
    async with EmulatedDems(tmp_path / "dems", receipts=False, checksums=False) as dems:
        await dems.add_fault("PATCH:1:cut@700000")
        sending = MemorySending(some_bytes(MIB))
        receipt = await make(dems.captures_url).send(sending)
        assert receipt.strength is Strength.LENGTH
        assert 700_000 in sending.confirmed
        [entry] = await dems.index()
        assert entry.received == MIB
        assert dems.stored(entry).read_bytes() == sending.data


@pytest.mark.parametrize(
    ("options", "strength"),
    [
        ({"receipts": False}, Strength.DIGEST),
        ({"receipts": False, "checksums": False}, Strength.LENGTH),
        ({"checksums": False}, Strength.SIGNED),
    ],
)
async def test_what_less_able_servers_prove(
    tmp_path: Path, make: Make, options: dict[str, bool], strength: Strength
) -> None:
    async with EmulatedDems(tmp_path / "dems", **options) as dems:
        sending = MemorySending(some_bytes(3 * MIB))
        receipt = await make(dems.captures_url).send(sending)
        assert receipt.strength is strength
        found = {finding.what: finding.state for finding in await make(dems.captures_url).check()}
        assert found["parts"] == ("ok" if options.get("checksums", True) else "warning")
        assert await dems.violations() == []


async def test_both_sides_are_killed_and_it_continues(tmp_path: Path, make: Make) -> None:
    async with DemsProcess(tmp_path / "dems") as dems:
        url = str(URL(dems.url).with_path("/captures/"))
        sending = MemorySending(some_bytes(8 * MIB))
        for _ in range(3):
            task = asyncio.create_task(make(url).send(sending))
            before = len(sending.confirmed)
            async with asyncio.timeout(20):
                while len(sending.confirmed) < before + 3 and not task.done():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            dems.kill()
            await dems.restart()
        verified(await sent(make(url), sending), sending, dems)
        await settled(dems, sending, again=4 * MIB)
        assert len(sending.remembered) == 1


async def test_an_upload_that_expired_is_created_again(dems: EmulatedDems, make: Make) -> None:
    sending, uplink = MemorySending(some_bytes(2 * MIB)), make(dems.captures_url)
    await uplink.announce(sending)
    await uplink.announce(sending)
    assert len(set(sending.remembered)) == 1
    await dems.add_fault("HEAD:1:expire")
    with capture_logs() as logs:
        verified(await uplink.send(sending), sending, dems)
    assert [entry["event"] for entry in logs] == ["upload_gone"]
    assert len(set(sending.remembered)) == 2
    await settled(dems, sending)


async def test_the_limits_of_requests_are_kept(tmp_path: Path, make: Make) -> None:
    async with EmulatedDems(tmp_path / "dems", max_append_size=300_000, min_append_size=200_000) as dems:
        sending = MemorySending(some_bytes(MIB))
        uplink = make(dems.captures_url)
        answers = heard(uplink)
        verified(await uplink.send(sending), sending, dems)
        assert {answer.status for answer in answers} <= {200, 201, 204}
        assert {answer.state for answer in await uplink.check()} == {"ok"}
    async with EmulatedDems(tmp_path / "small", max_size=1000) as dems:
        with pytest.raises(UplinkRefused, match="at most 1000 bytes"):
            await make(dems.captures_url).send(MemorySending(some_bytes(1001)))


async def test_a_proxy_that_refuses_long_requests_gets_shorter_ones(dems: EmulatedDems, make: Make) -> None:
    await dems.add_fault("PATCH:1-2:413")
    sending, uplink = MemorySending(some_bytes(2 * MIB)), make(dems.captures_url)
    verified(await uplink.send(sending), sending, dems)
    assert uplink.part.now == MIB // 4


@pytest.mark.parametrize("fault", ["PATCH:2:drop-answer", "PATCH:3:drop-answer", "POST:1:drop-answer", "HEAD:1:503"])
async def test_lost_answers_are_asked_for(dems: EmulatedDems, make: Make, fault: str) -> None:
    await dems.add_fault(fault, "PATCH:3:drop-answer")
    sending = MemorySending(some_bytes(3 * MIB))
    verified(await sent(make(dems.captures_url), sending), sending, dems)
    await settled(dems, sending)


@pytest.mark.parametrize("fault", ["PATCH:1:409", "PATCH:2:500", "PATCH:2:offset=+7", "PATCH:2:404", "PATCH:1:423"])
async def test_answers_that_are_not_plainly_a_yes_are_doubted(dems: EmulatedDems, make: Make, fault: str) -> None:
    await dems.add_fault(fault)
    sending = MemorySending(some_bytes(3 * MIB))
    verified(await sent(make(dems.captures_url), sending), sending, dems)
    await settled(dems, sending, again=MIB)


async def test_a_newer_request_ends_an_older_one(dems: EmulatedDems, make: Make) -> None:
    """The draft, section 4.6: a request of ours that hangs somewhere holds nothing, and what it brought is kept."""
    sending, uplink = MemorySending(some_bytes(2 * MIB)), make(dems.captures_url)
    await uplink.announce(sending)
    address = URL(sending.state or "")
    lines = [
        f"PATCH {address.path} HTTP/1.1",
        f"Host: {address.authority}",
        f"Content-Length: {MIB}",
        "Content-Type: application/partial-upload",
        "Upload-Offset: 0",
        "Upload-Complete: ?0",
    ]
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write("\r\n".join([*lines, "", ""]).encode() + sending.data[:300_000])
    await writer.drain()
    async with asyncio.timeout(10):
        while not dems.core.store.known(sending.holding.id).busy:  # type: ignore[union-attr]  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    verified(await uplink.send(sending), sending, dems)
    with suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    assert 0 < sending.confirmed[1] <= 300_000
    await settled(dems, sending)


async def test_a_capture_that_came_over_tus_is_known(dems: EmulatedDems, make: Make) -> None:
    sending = MemorySending(some_bytes(2 * MIB))
    other = TusUplink(TusUplink.Options(use="tus", name="dems", url=dems.url))
    first = await other.send(sending)
    await other.aclose()
    sending.state = None
    assert (await make(dems.captures_url).send(sending)).note == first.note
    await settled(dems, sending)


async def test_the_place_of_an_upload_is_told_before_its_bytes(dems: EmulatedDems) -> None:
    """104 of an optimistic creation, by hand; to another version of the draft nothing is told."""
    sending = MemorySending(b"0123456789")
    address = URL(dems.captures_url)
    for version, codes in (("9", ["104", "201"]), ("8", ["201"])):
        sending = MemorySending(b"0123456789", index=int(version))
        lines = [
            "POST /captures/ HTTP/1.1",
            f"Host: {address.authority}",
            "Content-Length: 10",
            "Upload-Complete: ?1",
            f"Upload-Draft-Interop-Version: {version}",
            f"Upload-Metadata: {metadata(sending.holding)}",
            "Connection: close",
        ]
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write("\r\n".join([*lines, "", ""]).encode() + sending.data)
        said = (await reader.read()).decode()
        writer.close()
        assert [line.split()[1] for line in said.splitlines() if line.startswith("HTTP/1.1")] == codes
        assert "Upload-Complete: ?1" in said
        locations = [line for line in said.splitlines() if line.startswith("Location")]
        assert len(set(locations)) == 1


async def test_a_dems_that_went_back_to_tus_is_served_by_the_fallback(
    dems: EmulatedDems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "_IDLE", 0.05)
    keys = [Verifier.parse(dems.receipt_vkey)]
    ietf = IetfUplink(IetfUplink.Options(use="ietf", name="dems", url=dems.url))  # there it speaks tus
    options = TusUplink.Options(use="tus", name="old", url=dems.url, role="fallback", after=0)
    tus = TusUplink(options)
    device = BenchDevice()
    device.record("CLIP0001.MP4", some_bytes(MIB))
    async with Station(tmp_path / "station") as station:
        station.connect(ietf, keys=keys)
        station.beside(tus, options, keys)
        await station.dock(device)
        assert station.forward is not None
        running = [asyncio.create_task(one.run()) for one in (station.forward, *station.others)]
        async with asyncio.timeout(20):
            while await station.count(Standing.RECEIPTED) != 1:  # noqa: ASYNC110 - another task makes it so
                await asyncio.sleep(0.02)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        only = await station.only()
        assert only.receipt is not None
        assert only.receipt.destination == "old"
        await tus.aclose()
        await station.hang_up()


async def test_another_protocol_is_named(dems: EmulatedDems, make: Make) -> None:
    """Not resumable in these words: what it speaks, and what to write instead."""
    uplink = make(dems.url)
    with pytest.raises(NotResumable, match="speaks tus") as raised:
        await uplink.send(MemorySending(b"abc"))
    assert 'use = "tus"' in raised.value.what_to_do
    assert [finding.what for finding in await uplink.check() if finding.state == "problem"] == ["round trip"]


@pytest.fixture
async def plain() -> AsyncIterator[tuple[str, dict[str, bytes], list[web.Request]]]:
    """A server that has never heard of any of this: it keeps what is PUT."""
    kept: dict[str, bytes] = {}
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        if request.method != "PUT":
            return web.Response(status=405)
        kept[request.path] = await request.read()
        if len(seen) == 2 and request.transport is not None:
            request.transport.abort()  # it is there, and nobody hears it
        return web.Response(status=201)

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/in", kept, seen
    await runner.cleanup()


async def test_a_plain_server_is_sent_to_only_where_that_was_asked_for(
    plain: tuple[str, dict[str, bytes], list[web.Request]], make: Make
) -> None:
    url, kept, seen = plain
    with pytest.raises(NotResumable, match="does not offer to resume"):
        await make(url).send(MemorySending(b"abc"))
    assert kept == {}
    seen.clear()
    sending = MemorySending(some_bytes(3 * MIB))
    receipt = await make(url, without="send").send(sending)
    assert receipt.strength is Strength.LENGTH
    assert kept == {f"/in/{sending.holding.id}": sending.data}
    assert [request.method for request in seen] == ["OPTIONS", "PUT", "PUT"]
    assert seen[1].headers["Upload-Complete"] == "?1"
    findings = await make(url, without="send").check()
    assert [finding.state for finding in findings if finding.what == "uploads"] == ["warning"]


async def test_it_goes_through_a_wire_that_cuts_and_stalls(dems: EmulatedDems, make: Make) -> None:
    sending = MemorySending(some_bytes(6 * MIB))
    async with Wire("cut@1500000 stall@700000 cut@100000 ok", URL(dems.url).port or 0) as wire:
        url = str(URL(wire.url).with_path("/captures/"))
        verified(await sent(make(url, stall=0.5), sending), sending, dems)
    await settled(dems, sending, again=3 * MIB)
