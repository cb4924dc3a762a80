"""Digests of stretches: what a verifying server proved before a cut is kept, over both protocols; nothing else is."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs
from yarl import URL

from agent.capture import PART_LENGTH, Strength
from agent.testing.dems import EmulatedDems
from agent.uplink.http import parts
from agent.uplink.http.stretches import COUNT_MAX, STRETCHES, Stretches, stretch_length
from agent.uplink.ietf import IetfUplink
from agent.uplink.tus import TusUplink
from tests.uplinks.arriving import settled, verified
from tests.uplinks.memory import MIB, MemorySending, some_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LEAST = 256 * 1024
BOTH = pytest.mark.parametrize("protocol", ["tus", "ietf"])


def uplink_to(protocol: str, dems: EmulatedDems, part_length: int = PART_LENGTH) -> TusUplink | IetfUplink:
    known = {"name": "dems", "stall": 2.0, "receipt_wait": 1.0, "part_length": part_length}
    if protocol == "tus":
        return TusUplink(TusUplink.Options(use="tus", url=dems.url, **known))
    return IetfUplink(IetfUplink.Options(use="ietf", url=dems.captures_url, **known))


@pytest.mark.parametrize("length", [1, LEAST, LEAST + 1, 5 * MIB + 3, PART_LENGTH])
async def test_what_is_stated_is_the_digest_of_each_stretch(length: int) -> None:
    sending = MemorySending(some_bytes(length + 7))
    stated = await Stretches(sending).of(7, length + 7, LEAST)
    each, _, value = stated.partition(" ")
    assert each == str(LEAST)
    wanted = [hashlib.sha256(sending.data[at : min(at + LEAST, length + 7)]) for at in range(7, length + 7, LEAST)]
    assert base64.b64decode(value) == b"".join(one.digest() for one in wanted)


def test_however_long_a_body_is_its_digests_fit_into_a_header() -> None:
    for length in (1, LEAST, COUNT_MAX * LEAST, COUNT_MAX * LEAST + 1, 1 << 30):
        each = stretch_length(length, LEAST)
        assert each % LEAST == 0
        assert -(-length // each) <= COUNT_MAX


@BOTH
@pytest.mark.parametrize("cut", [1, LEAST - 1, LEAST, 3 * LEAST + 77, 8 * MIB - 1])
async def test_a_cut_costs_less_than_a_stretch(dems: EmulatedDems, protocol: str, cut: int) -> None:
    await dems.add_fault(f"PATCH:1:cut@{cut}" if protocol == "ietf" else f"POST:1:cut@{cut}")
    sending, uplink = MemorySending(some_bytes(8 * MIB)), uplink_to(protocol, dems)
    verified(await uplink.send(sending), sending, dems)
    assert cut // LEAST * LEAST in sending.confirmed
    assert uplink.part.now == (PART_LENGTH if cut >= LEAST else uplink.part.now), "no part was lost"
    await uplink.aclose()
    await settled(dems, sending, again=LEAST)


@BOTH
async def test_many_cuts_in_one_part(dems: EmulatedDems, protocol: str) -> None:
    await dems.add_fault(*(f"PATCH:{number}:cut@{600_000 + number}" for number in range(1, 9)))
    sending, uplink = MemorySending(some_bytes(PART_LENGTH + 3)), uplink_to(protocol, dems)
    verified(await uplink.send(sending), sending, dems)
    await uplink.aclose()
    await settled(dems, sending, again=8 * LEAST)


@BOTH
async def test_a_stretch_that_changed_on_the_way_is_sent_again_and_those_before_it_are_not(
    dems: EmulatedDems, protocol: str
) -> None:
    sending, uplink = MemorySending(some_bytes(4 * MIB)), uplink_to(protocol, dems)
    whole = sending.outgoing
    bent = [True]

    async def outgoing(offset: int, length: int, /) -> AsyncIterator[bytes]:
        at = offset
        async for block in whole(offset, length):
            at += len(block)
            yield block[:-1] + bytes([block[-1] ^ 1]) if at > 2 * MIB and bent and bent.pop() else block

    sending.outgoing = outgoing  # type: ignore[method-assign]
    with capture_logs() as logs:
        verified(await uplink.send(sending), sending, dems)
    assert [entry["event"] for entry in logs] == ["bytes_refused_as_wrong"]
    assert 2 * MIB in sending.confirmed
    await uplink.aclose()
    await settled(dems, sending, again=2 * MIB)


@BOTH
async def test_a_quick_link_is_spared_the_work(
    dems: EmulatedDems, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "QUICK", 0)
    sending, uplink = MemorySending(some_bytes(3 * PART_LENGTH)), uplink_to(protocol, dems)
    uplink.part.quick = True
    stated = []
    ask = uplink.door.ask

    async def asked(
        method: str, url: URL, headers: dict[str, str] | None = None, *rest: object, **more: object
    ) -> object:
        stated.append(STRETCHES in (headers or {}))
        return await ask(method, url, headers, *rest, **more)  # type: ignore[arg-type]

    uplink.door.ask = asked  # type: ignore[method-assign, assignment]
    verified(await uplink.send(sending), sending, dems)
    assert not any(stated)
    assert sending.read == len(sending.data) * (1 if protocol == "tus" else 2)
    await uplink.aclose()


async def test_what_goes_in_one_request_tells_too_how_quick_a_link_is(
    dems: EmulatedDems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "QUICK", 0)
    uplink = uplink_to("tus", dems)
    for seed, again in ((1, True), (2, False)):
        sending = MemorySending(some_bytes(4 * MIB, seed=seed), key=f"CLIP{seed}.MP4")
        verified(await uplink.send(sending), sending, dems)
        assert sending.read == len(sending.data) * (1 + again), "only on a link of which nothing is known"
    await uplink.aclose()


def test_how_quick_a_link_is_shows_when_a_part_came_home() -> None:
    part = TusUplink(TusUplink.Options(use="tus", name="dems", url="http://127.0.0.1/")).part
    part.kept(PART_LENGTH, 0.1)
    assert part.quick
    part.kept(1000, 10.0)
    assert part.quick, "a short one says nothing"
    part.kept(PART_LENGTH, 1.3)
    assert not part.quick
    part.kept(PART_LENGTH, 0.1)
    part.lost(PART_LENGTH)
    assert not part.quick
    part.kept(4 * MIB, 1.0)
    assert not part.quick
    part.kept(4 * MIB, 1.0, abreast=16)  # the link brought sixteen of them in this second
    assert part.quick


@pytest.mark.parametrize("bad", ["", "1", "262144", "262144 !!!", "1000 AAAA", "262144 " + "A" * 44, "-1 AAAA", "x y"])
async def test_a_server_refuses_what_does_not_fit_the_body(dems: EmulatedDems, bad: str) -> None:
    uplink = uplink_to("tus", dems)
    sending = MemorySending(some_bytes(4 * MIB))
    assert isinstance(uplink, TusUplink)
    await uplink.announce(sending)
    headers = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0", STRETCHES: bad}
    answer = await uplink.door.ask("PATCH", URL(sending.state or ""), headers, sending.data[:MIB])
    assert answer.status == 400
    await uplink.aclose()


async def test_a_server_that_verifies_nothing_is_stated_nothing(tmp_path: Path) -> None:
    async with EmulatedDems(tmp_path / "plain", receipts=False, checksums=False) as dems:
        sending, uplink = MemorySending(some_bytes(4 * MIB)), uplink_to("tus", dems)
        assert (await uplink.send(sending)).strength is Strength.LENGTH
        assert sending.read == len(sending.data)
        await uplink.aclose()
