"""An upload in parts that goes on after a restart: the store's list is compared with the kept file, never believed."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Strength
from agent.errors import UplinkDown
from agent.testing.sendings import HeldSending, held_sending
from agent.testing.uplink_conformance import sent
from agent.uplink.http.places import Places
from agent.uplink.s3.trouble import Answered
from tests.uplinks.s3_rig import LONG, MIB, S3Rig, broken_off, client, rigged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.testing.station import Station
    from tests.uplinks import swift

pytestmark = pytest.mark.interop


@pytest.fixture
async def rig(tmp_path: Path, store: swift.Swift) -> AsyncIterator[S3Rig]:
    async with rigged(tmp_path / "s3", store) as made:
        yield made


async def test_a_restart_sends_only_the_parts_that_are_not_there(rig: S3Rig, station: Station) -> None:
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 11 * MIB)
    assert json.loads(sending.state or "")["part"] == 5 * MIB
    before = rig.proxy.received
    await sent(rig.uplink(parts=1), sending)
    assert rig.proxy.received - before == len(LONG) - 10 * MIB
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_a_listed_part_that_is_another_is_never_built_upon(rig: S3Rig, station: Station) -> None:
    """Somebody, or the store's disk, has put other bytes where the first part lay."""
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 11 * MIB)
    upload = json.loads(sending.state or "")["upload"]
    async with client(rig.port) as asked:
        await asked.upload_part(
            Bucket=rig.bucket, Key=f"dock-1/{sending.holding.id}", UploadId=upload, PartNumber=1, Body=bytes(5 * MIB)
        )
    receipt = await sent(rig.uplink(), sending)
    assert receipt.strength is Strength.DIGEST
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_an_upload_that_the_bucket_ended_begins_anew(rig: S3Rig, station: Station) -> None:
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 6 * MIB)
    upload = json.loads(sending.state or "")["upload"]
    async with client(rig.port) as asked:
        await asked.abort_multipart_upload(Bucket=rig.bucket, Key=f"dock-1/{sending.holding.id}", UploadId=upload)
    await sent(rig.uplink(), sending)
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


@pytest.mark.parametrize(
    ("told", "again"),
    [
        ({}, 0),
        ({"ChecksumSHA256": None}, 0),  # a store without check sums: the tag is MD5
        ({"Size": 5 * MIB - 1}, 10 * MIB),
        ({"Size": None}, 10 * MIB),
        ({"ChecksumSHA256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}, 10 * MIB),
        ({"ChecksumSHA256": None, "ETag": '"d41d8cd98f00b204e9800998ecf8427e"'}, 10 * MIB),
    ],
)
async def test_what_a_store_lists_otherwise_is_sent_again(
    rig: S3Rig, station: Station, told: dict[str, Any], again: int
) -> None:
    """Two parts are there; of the first one the store says something else than the kept file."""
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 11 * MIB)
    uplink = rig.uplink(parts=1)
    true_ask = uplink._store.ask

    async def ask(operation: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        found = await true_ask(operation, **words)
        if operation == "list_parts":
            first = {name: value for name, value in (found["Parts"][0] | told).items() if value is not None}
            return {**found, "Parts": [first, *found["Parts"][1:]]}
        return found

    uplink._store.ask = ask  # type: ignore[method-assign]
    before = rig.proxy.received
    assert (await sent(uplink, sending)).strength is Strength.DIGEST
    assert rig.proxy.received - before == len(LONG) - 10 * MIB + again
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_a_list_of_several_pages_is_read_to_its_end(rig: S3Rig, station: Station) -> None:
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 11 * MIB)
    uplink, pages = rig.uplink(parts=1), 0
    true_ask = uplink._store.ask

    async def ask(operation: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        nonlocal pages
        if operation == "list_parts":
            pages, words = pages + 1, {**words, "MaxParts": 1}
        return await true_ask(operation, **words)

    uplink._store.ask = ask  # type: ignore[method-assign]
    before = rig.proxy.received
    await sent(uplink, sending)
    assert pages == 2
    assert rig.proxy.received - before == len(LONG) - 10 * MIB


async def test_a_list_without_an_end_ends_all_the_same(rig: S3Rig, station: Station) -> None:
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 11 * MIB)
    uplink, pages = rig.uplink(parts=1), 0
    true_ask = uplink._store.ask

    async def ask(operation: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        nonlocal pages
        if operation != "list_parts":
            return await true_ask(operation, **words)
        pages += 1
        assert pages <= 10_000
        return {"IsTruncated": True, "NextPartNumberMarker": words["PartNumberMarker"] + 1, "Parts": [{"Size": 1}]}

    uplink._store.ask = ask  # type: ignore[method-assign]
    assert (await sent(uplink, sending)).strength is Strength.DIGEST


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("<html>Welcome to our network", "answered 500"),
        ("<InitiateMultipartUploadResult/>", "does not say which"),
        ("<InitiateMultipartUploadResult><UploadId></UploadId></InitiateMultipartUploadResult>", "does not say which"),
    ],
)
async def test_a_store_that_begins_an_upload_without_a_name_ends_nothing_here(
    rig: S3Rig, station: Station, says: str, told: str
) -> None:
    """Also where it is tried, once a day: whatever else was raised there would end the daemon."""
    uplink, sending = rig.uplink(), await held_sending(station, LONG)
    await uplink.probe()
    rig.proxy.says = says
    with pytest.raises(UplinkDown, match=told):
        await uplink.probe()
    with pytest.raises(UplinkDown, match=told):
        await sent(uplink, sending)


async def test_a_list_that_is_none_is_the_stores(rig: S3Rig, station: Station) -> None:
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 11 * MIB)
    uplink = rig.uplink()
    await uplink.probe()
    rig.proxy.says = "<ListPartsResult><Part><PartNumber>x</PartNumber></Part></ListPartsResult>"
    with pytest.raises(UplinkDown, match="answer that is none"):
        await uplink.send(sending)
    rig.proxy.says = "<ListPartsResult><Part><Size>5242880</Size></Part><Part/></ListPartsResult>"
    assert (await sent(uplink, sending)).strength is Strength.DIGEST


async def test_what_is_read_back_without_an_end_ends_all_the_same(rig: S3Rig, station: Station) -> None:
    class Endless:
        given = 0

        async def read(self, length: int) -> bytes:
            self.given += length
            return bytes(length)

        def close(self) -> None: ...

    endless, uplink = Endless(), rig.uplink(read_back=True)
    uplink._compares = False

    async def blocks(*_: object, **__: object) -> Endless:
        return endless

    uplink._store.blocks = blocks  # type: ignore[method-assign]
    sending = await held_sending(station, LONG)
    async with asyncio.timeout(20):
        receipt = await uplink.send(sending)
    assert receipt.sha256 != sending.holding.digest.sha256
    assert endless.given < len(LONG) + 2 * MIB
    await uplink.aclose()


class Paced:
    """A sending on a slow link, which bodies that are on their way together share."""

    def __init__(self, sending: HeldSending) -> None:
        self._sending = sending

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the sending has
        return getattr(self._sending, name)

    async def outgoing(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        async for block in self._sending.outgoing(offset, length):
            await asyncio.sleep(0.02)
            yield block


async def test_on_a_link_that_breaks_before_several_parts_are_home_they_go_one_by_one(
    rig: S3Rig, station: Station
) -> None:
    """All of them would be lost at each break, for ever: a store keeps whole parts alone."""
    sending, uplink = await held_sending(station, LONG), rig.uplink(parts=4)
    for _ in range(5):
        rig.proxy.cut_after = 7 * MIB
        with suppress(UplinkDown):
            await sent(uplink, Paced(sending))  # type: ignore[arg-type]
            break
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
    assert rig.proxy.received < 3 * len(LONG)


async def test_a_part_that_a_busy_store_does_not_take_costs_none_of_those_beside_it(
    rig: S3Rig, station: Station
) -> None:
    """503 SlowDown is everyday life: what is on its way arrives, and is not sent again."""
    sending, uplink = await held_sending(station, LONG), rig.uplink(parts=3)
    true_ask, busy = uplink._store.ask, ["one"]

    async def ask(operation: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        if operation == "upload_part" and words["PartNumber"] == 2 and busy:
            await asyncio.sleep(0.1)
            busy.clear()
            raise Answered("the store answered 503 SlowDown")
        return await true_ask(operation, **words)

    uplink._store.ask = ask  # type: ignore[method-assign]
    with pytest.raises(Answered):
        await sent(uplink, Paced(sending))  # type: ignore[arg-type]
    await sent(uplink, sending)
    assert rig.proxy.received == len(LONG)
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_on_a_link_that_holds_again_parts_go_together_again() -> None:
    places = Places(4)

    def breaks() -> None:
        with suppress(UplinkDown), places.watched():
            raise UplinkDown("the connection broke", way=True)

    breaks()
    breaks()
    free = [asyncio.create_task(places.acquire()) for _ in range(4)]
    await asyncio.sleep(0)
    assert [one.done() for one in free] == [True, False, False, False]
    for count in range(1, 4):
        for _ in range(4):
            with places.watched():
                pass
        await asyncio.sleep(0.01)
        assert sum(one.done() for one in free) == count + 1
    breaks()
    places.release()
    places.release()
    late = asyncio.create_task(places.acquire())
    await asyncio.sleep(0.01)
    assert not late.done(), "two are on their way, and no more than two may be"
    places.release()
    await late
