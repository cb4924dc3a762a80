"""Digests of resumable uploads, to the emulated DEMS: what is stated of bodies and of the whole, and its worth."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from agent.errors import BadReceipt, SpoolDamaged, UplinkDown
from agent.testing.dems import EmulatedDems, wire
from tests.uplinks.arriving import settled, verified
from tests.uplinks.memory import MIB, MemorySending, some_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from yarl import URL

    from agent.uplink.http import Answer
    from tests.uplinks.double import Make


async def test_bytes_that_change_on_the_way_are_sent_again(dems: EmulatedDems, make: Make) -> None:
    sending = MemorySending(some_bytes(2 * MIB))
    whole = sending.outgoing
    bent = [True]

    async def outgoing(offset: int, length: int, /) -> AsyncIterator[bytes]:
        async for block in whole(offset, length):
            yield block[:-1] + bytes([block[-1] ^ 1]) if bent and bent.pop() else block

    sending.outgoing = outgoing  # type: ignore[method-assign]
    with capture_logs() as logs:
        verified(await make(dems.captures_url).send(sending), sending, dems)
    assert [entry["event"] for entry in logs] == ["bytes_refused_as_wrong"]


@pytest.fixture
def without_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The DEMS takes digests of whole bodies alone, as any other that speaks the draft."""
    monkeypatch.setattr(wire, "STRETCH_MIN", 1 << 40)


async def test_every_body_is_stated_and_the_whole_before_a_byte_of_it(
    dems: EmulatedDems, make: Make, without_stretches: None
) -> None:
    sending, uplink = MemorySending(some_bytes(2 * MIB + 1)), make(dems.captures_url)
    stated: list[tuple[str, str | None, str | None]] = []
    ask = uplink.door.ask

    async def asked(method: str, url: URL, headers: dict[str, str], *words: object, **more: object) -> Answer:
        stated.append((method, headers.get("Content-Digest"), headers.get("Repr-Digest")))
        return await ask(method, url, headers, *words, **more)

    await uplink.door.offer()
    uplink.door.ask = asked  # type: ignore[method-assign, assignment]
    verified(await uplink.send(sending), sending, dems)
    bodies = (sending.data[at : at + MIB] for at in range(0, len(sending.data), MIB))
    assert stated == [
        ("POST", None, field_of(sending.data)),
        *(("PATCH", field_of(body), None) for body in bodies),
    ]


def field_of(data: bytes) -> str:
    """As RFC 9530 writes it."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


async def test_a_whole_of_another_digest_is_no_receipt(make: Make) -> None:
    """As a server tells it that resumes nothing, in its answer to everything."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if request.method != "PUT":
            raise web.HTTPMethodNotAllowed(request.method, ["PUT"])
        return web.Response(status=201, headers={"Repr-Digest": field_of(b"other")})

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        uplink = make(f"http://127.0.0.1:{runner.addresses[0][1]}/files", without="send")
        with pytest.raises(BadReceipt, match="another digest than the journal"):
            await uplink.send(MemorySending(some_bytes(MIB)))
    finally:
        await runner.cleanup()


async def test_a_body_that_changed_on_the_way_costs_that_body(
    dems: EmulatedDems, make: Make, without_stretches: None
) -> None:
    sending = MemorySending(some_bytes(3 * MIB))
    whole, bent = sending.outgoing, [True]

    async def outgoing(offset: int, length: int, /) -> AsyncIterator[bytes]:
        async for block in whole(offset, length):
            yield block[:-1] + bytes([block[-1] ^ 1]) if offset == MIB and bent and bent.pop() else block

    sending.outgoing = outgoing  # type: ignore[method-assign]
    with capture_logs() as logs:
        verified(await make(dems.captures_url).send(sending), sending, dems)
    assert [(entry["event"], entry["offset"], entry["end"]) for entry in logs] == [
        ("bytes_refused_as_wrong", MIB, 2 * MIB)
    ]
    await settled(dems, sending, again=MIB)


async def test_a_spool_that_changed_never_becomes_a_receipt(dems: EmulatedDems, make: Make) -> None:
    data = some_bytes(2 * MIB)
    sending = MemorySending(data, damage=data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with pytest.raises((SpoolDamaged, BadReceipt)):
        await make(dems.captures_url).send(sending)
    assert [entry.state for entry in await dems.index() if entry.state == "stored"] == []


async def test_a_server_that_looks_at_no_digest_is_found_out(tmp_path: Path, make: Make) -> None:
    async with EmulatedDems(tmp_path / "dems", checksums=False) as dems:
        uplink = make(dems.captures_url)
        with capture_logs() as logs:
            await uplink.probe()
        assert [entry["event"] for entry in logs] == ["checksums_ignored"]
        sending = MemorySending(some_bytes(2 * MIB))
        await uplink.send(sending)
        assert sending.read == len(sending.data), "nothing was hashed for nobody"
    async with EmulatedDems(tmp_path / "other") as dems:
        uplink = make(dems.captures_url)
        await uplink.probe()
        assert uplink.door.verifies is True
        assert [entry.state for entry in await dems.index()] == ["terminated"]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_canary_that_got_no_answer_changes_nothing(tmp_path: Path, make: Make, method: str) -> None:
    """Neither for a server that was found out, nor for one that refused it."""
    for checks in (False, True):
        async with EmulatedDems(tmp_path / f"{checks}", checksums=checks) as dems:
            uplink = make(dems.captures_url)
            await uplink.probe()
            await dems.add_fault(f"{method}:1:503")
            with pytest.raises(UplinkDown):
                await uplink.probe()
            assert uplink.door.verifies is checks


@pytest.mark.parametrize("checks", [True, False])
async def test_what_a_canary_found_out_stands_where_it_cannot_be_given_up(
    tmp_path: Path, make: Make, *, checks: bool
) -> None:
    """The way breaks after the answer to what was sent wrongly."""
    async with EmulatedDems(tmp_path / "dems", checksums=checks) as dems:
        uplink = make(dems.captures_url)
        ask = uplink.door.ask

        async def asked(method: str, *words: Any, **more: Any) -> Answer:  # noqa: ANN401 - as they come
            if method == "DELETE":
                raise UplinkDown("the connection broke", way=True)
            return await ask(method, *words, **more)

        uplink.door.ask = asked  # type: ignore[method-assign]
        await uplink.probe()
        assert uplink.door.verifies is checks
