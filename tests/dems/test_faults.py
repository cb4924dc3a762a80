"""Each fault does what its string says, once, and leaves the truth intact."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from agent.testing.dems import EmulatedDems
from agent.testing.dems.faults import Faults
from tests.dems.client import checksum_of, sample, under_way

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dems.client import Client, ClientOf


BROKEN = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError)


@pytest.mark.parametrize(
    "text",
    [
        "", "PATCH", "PATCH:1", "PATCH:0:503", "patch:1:503", "TRACE:1:503", "PATCH:1:teapot", "PATCH:1:cut",
        "PATCH:1:cut@", "PATCH:1:cut@-1", "PATCH:1:999", "PATCH:1:503:wait=1", "PATCH:1:503:retry=x",
        "PATCH:1:offset=5", "PATCH:x:503", "PATCH:1:delay=-1", "receipt:", "receipt:wrong", "receipt:late=",
        "PATCH:1:expire:now",
    ],
)  # fmt: skip
def test_what_the_grammar_does_not_know_is_refused_as_a_whole(text: str) -> None:
    faults = Faults()
    with pytest.raises(ValueError, match="is not a fault"):
        faults.add("PATCH:1:503", text)
    assert faults.texts() == []


def test_rules_count_from_when_they_were_added() -> None:
    faults = Faults()
    assert faults.next("PATCH") is None
    faults.add("PATCH:2:503:retry=1", "*:4-5:423", "HEAD:*:drop")
    seen = [faults.next(method) for method in ("PATCH", "HEAD", "PATCH", "PATCH", "PATCH", "POST")]
    assert [None if fault is None else (fault.what, fault.status) for fault in seen] == [
        None, ("drop", 0), ("status", 503), ("status", 423), ("status", 423), None,
    ]  # fmt: skip
    faults.add("receipt:late=3", "receipt:none")
    assert faults.texts() == ["PATCH:2:503:retry=1", "*:4-5:423", "HEAD:*:drop", "receipt:none", "receipt:late=3"]
    faults.clear()
    assert faults.next("HEAD") is None


async def test_a_status_does_nothing_and_may_name_a_time(tus: Client, dems: EmulatedDems) -> None:
    url = await tus.create(sample(b"abc"))
    await dems.add_fault("PATCH:1:503:retry=7", "HEAD:1:423")
    answer = await tus.patch(url, 0, b"abc")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
    assert (await tus.head(url)).status == 423
    assert (await tus.head(url)).offset == 0
    assert (await tus.patch(url, 0, b"abc")).status == 204


@pytest.mark.parametrize(("algorithm", "expected"), [(None, 1234567), ("sha256", 0)])
async def test_a_cut_leaves_exactly_what_was_read(
    tus: Client, dems: EmulatedDems, algorithm: str | None, expected: int
) -> None:
    data = os.urandom(3 << 20)
    url = await tus.create(sample(data))
    await dems.add_fault("PATCH:1:cut@1234567")
    with pytest.raises(BROKEN):
        await tus.patch(url, 0, data, **(checksum_of(data, algorithm) if algorithm else {}))
    assert (await tus.head(url)).offset == expected
    assert (await tus.patch(url, expected, data[expected:])).status == 204
    [entry] = await dems.index()
    assert dems.stored(entry).read_bytes() == data


async def test_a_stalled_request_holds_the_lock(tus: Client, dems: EmulatedDems) -> None:
    one = sample(b"abc")
    url = await tus.create(one)
    await dems.add_fault("PATCH:1:stall@1:for=2")
    first = asyncio.create_task(tus.patch(url, 0, b"abc"))
    await under_way(dems, one)
    assert (await tus.patch(url, 0, b"abc")).status == 423
    with pytest.raises(BROKEN):
        await first
    assert (await tus.head(url)).offset == 1


async def test_dropped_before_and_after(tus: Client, dems: EmulatedDems) -> None:
    one = sample(b"abc")
    await dems.add_fault("POST:1:drop", "POST:2:drop-answer", "PATCH:1:drop-answer")
    with pytest.raises(BROKEN):
        await tus.post(one)
    assert await dems.index() == []
    with pytest.raises(BROKEN):
        await tus.post(one)
    assert [entry.offset for entry in await dems.index()] == [0]
    url = await tus.create(one)
    with pytest.raises(BROKEN):
        await tus.patch(url, 0, b"abc")
    assert (await tus.head(url)).note  # the work was done
    assert len(await dems.index()) == 1


async def test_a_delay(tus: Client, dems: EmulatedDems) -> None:
    await dems.add_fault("POST:1:delay=0.3")
    begun = time.monotonic()
    await tus.create(sample(b"abc"))
    assert time.monotonic() - begun >= 0.3


async def test_a_lie_about_the_offset(tus: Client, dems: EmulatedDems) -> None:
    url = await tus.create(sample(b"abcdef"))
    await tus.patch(url, 0, b"abc")
    await dems.add_fault("HEAD:1:offset=-2", "HEAD:2:offset=+100")
    assert [(await tus.head(url)).offset for _ in range(3)] == [1, 103, 3]


async def test_an_upload_expires(tus: Client, dems: EmulatedDems) -> None:
    one = sample(b"abc")
    url = await tus.create(one)
    await tus.patch(url, 0, b"ab")
    await dems.add_fault("PATCH:1:expire")
    assert (await tus.patch(url, 2, b"c")).status == 410
    assert (await tus.head(url)).status == 410
    again = await tus.create(one)
    assert again != url
    assert [entry.state for entry in await dems.index()] == ["expired", "open"]
    assert [path.name for path in (dems.options.folder / "files").iterdir()] == [again.rpartition("/")[2]]


async def test_faults_over_http_only_where_permitted(
    tus: Client, tmp_path: Path, client_of: ClientOf, session: aiohttp.ClientSession
) -> None:
    url = tus.url.with_path("/faults")
    async with session.post(url, json=["HEAD:1:423", "receipt:none"]) as answer:
        assert await answer.json() == ["HEAD:1:423", "receipt:none"]
    for wrong in ("[1]", "[", "{}", '"PATCH"', "7"):
        async with session.post(url, data=wrong, headers={"Content-Type": "application/json"}) as answer:
            assert answer.status in (200, 400)
    async with session.get(url) as answer:
        assert await answer.json() == ["HEAD:1:423", "receipt:none"]
    async with session.delete(url) as answer:
        assert await answer.json() == []
    async with EmulatedDems(tmp_path / "strict") as strict:
        assert (await client_of(strict).ask("GET", "/faults")).status == 404
