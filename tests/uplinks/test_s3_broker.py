"""Presigned requests, against OpenStack Swift, which reads signatures: the suite of all uplinks, and their own."""

from __future__ import annotations

import hashlib
import re
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Standing, Strength
from agent.errors import UplinkDown, UplinkRefused
from agent.testing.devices import some_bytes
from agent.testing.sendings import held_sending
from agent.testing.uplink_conformance import UplinkConformance, sent
from agent.uplink.s3 import S3Options
from tests.uplinks import swift
from tests.uplinks.brief import long_form
from tests.uplinks.s3_broker import DOCS, TOKEN, Broker, signer
from tests.uplinks.s3_proxy import S3Proxy
from tests.uplinks.s3_rig import LONG, MIB, S3Rig, client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.testing.station import Station

pytestmark = pytest.mark.interop


class BrokeredRig(S3Rig):
    """The same store, for a station without keys."""

    def __init__(self, folder: Path, port: int, proxy: S3Proxy, bucket: str, broker: Broker) -> None:
        super().__init__(folder, port, proxy, bucket)
        self.broker = broker
        self.keys_file.unlink()
        self.token_file = folder / "token"
        self.token_file.write_text(TOKEN)

    def options(self, **more: object) -> S3Options:
        words = {
            "use": "s3",
            "name": "dems",
            "endpoint": self.proxy.url,
            "bucket": self.bucket,
            "broker": self.broker.url,
            "token_file": self.token_file,
            "part_length": 5 * MIB,
            "prefix": "dock-1/",
        }
        return S3Options.model_validate({**words, "stall": 20.0, **self.more, **more})

    def parts_asked(self, capture: str) -> list[int]:
        """Number of each part that was to be signed, in order."""
        asked = [one["parameters"] for one in self.broker.asked if one["operation"] == "UploadPart"]
        return [one["PartNumber"] for one in asked if one["Key"] == f"dock-1/{capture}"]

    async def refuse(self) -> None:
        self.broker.says = 422, {"reason": "the agency does not keep films of this camera"}


@asynccontextmanager
async def brokered(folder: Path, store: swift.Swift, style: str = "path") -> AsyncIterator[BrokeredRig]:
    bucket = f"evidence-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    async with client(store.port) as asked:
        await asked.create_bucket(Bucket=bucket)
    name, _, secret = swift.KEYS.rpartition(":")
    async with S3Proxy(store.port) as proxy:
        endpoint = proxy.url if style == "path" else f"http://localhost:{proxy.port}"
        keys = {"key": name, "secret": secret, "style": style}
        async with Broker(signer(bucket=bucket, endpoint=endpoint, region="us-east-1", **keys)) as broker:
            rig = BrokeredRig(folder, store.port, proxy, bucket, broker)
            rig.more = {"endpoint": endpoint, "style": style}
            yield rig


@long_form
class TestS3Brokered(UplinkConformance):
    @pytest.fixture(autouse=True)
    def _running(self, store: swift.Swift) -> None:
        self.store = store

    @asynccontextmanager
    async def rig(self, tmp_path: Path) -> AsyncIterator[BrokeredRig]:
        async with brokered(tmp_path / "s3", self.store) as made:
            yield made


@pytest.fixture
async def rig(tmp_path: Path, store: swift.Swift) -> AsyncIterator[BrokeredRig]:
    async with brokered(tmp_path / "s3", store) as made:
        yield made


@pytest.mark.parametrize("data", [b"", LONG], ids=len)
async def test_what_a_broker_signs_is_compared_by_the_store(rig: BrokeredRig, station: Station, data: bytes) -> None:
    sending = await held_sending(station, data)
    uplink = rig.uplink()
    found = {one.what: one for one in await uplink.check()}
    assert {name: one.state for name, one in found.items()} == {"broker": "ok", "digests": "ok"}
    receipt = await sent(uplink, sending)
    assert (receipt.strength, receipt.sha256) == (Strength.DIGEST, hashlib.sha256(data).digest())
    assert await rig.objects() == {f"dock-1/{sending.holding.id}": data}


async def test_the_bucket_may_stand_in_the_host_name(
    tmp_path: Path, store: swift.Swift, station: Station, buckets_as_hosts: None
) -> None:
    sending = await held_sending(station, LONG)
    async with brokered(tmp_path / "s3", store, "virtual") as rig:
        assert (await sent(rig.uplink(), sending)).strength is Strength.DIGEST
        assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
        assert {one["Host"] for one in rig.proxy.headers} == {f"{rig.bucket}.localhost:{rig.proxy.port}"}


async def test_a_signature_that_is_too_old_is_asked_for_anew(rig: BrokeredRig, station: Station) -> None:
    """In mid-upload; Swift says 403. Each part that is there stays there, and none is sent three times."""
    sending = await held_sending(station, LONG)
    rig.broker.stale = 1
    receipt = await sent(rig.uplink(parts=1), sending)
    assert receipt.strength is Strength.DIGEST
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
    assert rig.parts_asked(sending.holding.id) == [1, 1, 2, 3]


async def test_signatures_that_are_always_too_old_end_the_try_and_lose_nothing(
    rig: BrokeredRig, station: Station
) -> None:
    sending = await held_sending(station, LONG)
    first = rig.uplink(parts=1)
    rig.proxy.cut_after, rig.proxy.stays_down = 6 * MIB, True
    with pytest.raises(UplinkDown):
        await sent(first, sending)  # one part is there
    rig.proxy.is_down, rig.broker.stale = False, 1000
    with pytest.raises(UplinkDown, match="not even at once"):
        await sent(rig.uplink(parts=1), sending)
    assert rig.broker.stale == 998
    rig.broker.stale, before = 0, rig.proxy.received
    await sent(rig.uplink(parts=1), sending)
    assert rig.proxy.received - before == len(LONG) - 5 * MIB
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_a_digest_that_is_not_signed_is_not_sent_and_proves_a_length(rig: BrokeredRig, station: Station) -> None:
    rig.broker.withholds = {"ChecksumSHA256", "ChecksumAlgorithm"}
    uplink = rig.uplink()
    found = [one for one in await uplink.check() if one.state == "warning"]
    assert [one.what for one in found] == ["broker", "digests"]
    assert "x-amz-checksum-sha256" in found[0].detail
    data = some_bytes(1000)
    receipt = await uplink.send(await held_sending(station, data))
    assert (receipt.strength, receipt.sha256) == (Strength.LENGTH, None)
    await uplink.aclose()
    receipt = await sent(rig.uplink(read_back=True), await held_sending(station, data, "again"))
    assert (receipt.strength, receipt.sha256) == (Strength.DIGEST, hashlib.sha256(data).digest())


@pytest.mark.parametrize("data", [b"x", LONG], ids=len)
async def test_a_digest_that_is_not_signed_any_more_is_not_believed_for_the_rest_of_the_day(
    rig: BrokeredRig, station: Station, data: bytes
) -> None:
    """The store refused a wrong one when it was tried; of these bytes it is told none, so it compares nothing."""
    uplink, sending = rig.uplink(parts=1), await held_sending(station, data)
    assert {one.what: one.state for one in await uplink.check()}["digests"] == "ok"
    rig.broker.withholds = {"ChecksumSHA256", "ChecksumAlgorithm"}
    receipt = await sent(uplink, sending)
    assert (receipt.strength, receipt.sha256) == (Strength.LENGTH, None)
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


def elsewhere(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"url": answer["url"].replace("127.0.0.1", "127.0.0.2")}


def other_name(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"url": answer["url"].replace("/dock-1/", "/dock-2/")}


def other_request(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"url": answer["url"] + "&acl"}


def unsigned(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"url": answer["url"].partition("?")[0]}


def other_digest(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"headers": {"x-amz-checksum-sha256": "0" * 43 + "="}}


def overwrites(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"headers": {"If-None-Match": "other"}}


def nameless(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"url": answer["url"].replace("SignedHeaders=", "SignedHeaders=x-amz-unheard-of%3B")}


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (elsewhere, "belongs to"),
        (other_name, "belongs to"),
        (other_request, "another request"),
        (unsigned, "not signed"),
        (other_digest, "another digest"),
        (overwrites, "may be overwritten"),
        (nameless, "x-amz-unheard-of"),
        (lambda _: {"url": "http://[half"}, "no address"),
        (lambda _: {"address": "x"}, "is none"),
        (lambda _: {"url": "x" * 9000}, "is none"),
        (lambda answer: answer | {"headers": {"a": "b\r\nc"}}, "is none"),
    ],
)
async def test_a_broker_sends_nothing_elsewhere(rig: BrokeredRig, station: Station, lie: Any, says: str) -> None:  # noqa: ANN401
    rig.broker.changes = lie
    with pytest.raises(UplinkDown, match=says) as down:
        await sent(rig.uplink(), await held_sending(station, b"x"))
    assert "broker" in down.value.what_to_do
    assert await rig.objects() == {}


@pytest.mark.parametrize("instead", ["partNumber=3&", ""], ids=["another part", "the object itself"])
async def test_a_broker_puts_no_part_into_another_place(rig: BrokeredRig, station: Station, instead: str) -> None:
    def changed(answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {"url": re.sub(r"partNumber=2&?", instead, answer["url"])}

    rig.broker.changes = changed
    with pytest.raises(UplinkDown, match="another request"):
        await sent(rig.uplink(parts=1), await held_sending(station, LONG))
    assert await rig.objects() == {}


async def test_what_a_broker_answers_instead(rig: BrokeredRig, station: Station) -> None:
    sending, uplink = await held_sending(station, b"x"), rig.uplink()
    await uplink.check()
    rig.broker.says = 503, {}
    with pytest.raises(UplinkDown) as down:
        await uplink.send(sending)
    assert down.value.retry_after == 7
    rig.broker.says = 422, {"reason": "no films of this camera\x1b[2J"}
    with pytest.raises(UplinkRefused, match="no films of this camera") as refused:
        await uplink.send(sending)
    assert "\x1b" not in str(refused.value)
    rig.broker.says, rig.broker.forbidden = None, {"PutObject"}
    with pytest.raises(UplinkDown, match="does not sign PutObject for this station: not here"):
        await uplink.send(sending)
    rig.broker.forbidden = set()
    rig.token_file.write_text("wrong")
    with pytest.raises(UplinkDown, match="401"):
        await uplink.send(sending)
    rig.token_file.write_text(TOKEN)  # it is renewed: nothing has to be restarted
    assert (await sent(uplink, sending)).strength is Strength.DIGEST
    rig.broker.is_down = True
    uplink = rig.uplink()
    (problem,) = [one for one in await uplink.check() if one.state == "problem"]
    assert problem.what == "broker"
    await uplink.aclose()


async def test_an_object_that_nobody_saw_completed_and_that_may_not_be_read_proves_a_length(
    rig: BrokeredRig, station: Station
) -> None:
    sending = await held_sending(station, b"x")
    rig.broker.forbidden = {"GetObject"}
    await sent(rig.uplink(), sending)
    assert (await sent(rig.uplink(), sending)).strength is Strength.LENGTH
    with pytest.raises(UplinkDown, match="does not sign GetObject"):
        await sent(rig.uplink(read_back=True), sending)
    rig.broker.forbidden = set()
    assert (await sent(rig.uplink(), sending)).strength is Strength.DIGEST


async def test_a_station_forwards_through_a_broker(rig: BrokeredRig, station: Station) -> None:
    """With signatures that grow old on the way: everything arrives, once."""
    for number in range(3):
        await held_sending(station, some_bytes(6 * MIB, number), f"{number}")
    rig.broker.stale = 2
    station.connect(rig.uplink())
    await station.send()
    assert await station.count(Standing.RECEIPTED) == 3
    assert len(await rig.arrived()) == 3
    await station.verify()
    await station.hang_up()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({}, "either keys_file or broker"),
        ({"keys_file": "/k", "broker": "https://b.example.org"}, "either keys_file or broker"),
        ({"keys_file": "/k", "token_file": "/t"}, "are for a broker"),
        ({"broker": "http://b.example.org"}, "plain http"),
        ({"broker": "https://a:b@b.example.org"}, "login"),
        ({"broker": "https://b.example.org/?x=1"}, "such as"),
        ({"broker": "https://b.example.org", "client_key": "/k"}, "needs client_cert"),
        ({"broker": "http://127.0.0.1:1", "client_cert": "/c"}, "https"),
    ],
)
def test_options_that_make_no_sense(words: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        S3Options.model_validate({"use": "s3", "name": "dems", "bucket": "evidence"} | words)


def test_the_document_is_one() -> None:
    """By a reader of other authors, which comes with moto."""
    reader = swift.HOME / "bin" / "openapi-spec-validator"
    if not reader.exists():
        pytest.skip("moto is not installed: make peers")
    subprocess.run([reader, DOCS / "s3-broker.json"], check=True, capture_output=True)
