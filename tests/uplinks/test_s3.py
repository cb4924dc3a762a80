"""The uplink `s3` against OpenStack Swift behind a proxy with faults: the suite of all uplinks, and S3's own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Priority, Standing, Strength
from agent.errors import BadReceipt, ConfigError, SpoolDamaged, UplinkDown, UplinkRefused
from agent.testing.devices import some_bytes
from agent.testing.sendings import held_sending
from agent.testing.uplink_conformance import UplinkConformance, sent
from agent.uplink.s3 import S3Options, S3Uplink
from agent.uplink.s3.named import METADATA_MAX, metadata
from agent.uplink.s3.parts import part_length
from tests.uplinks import swift
from tests.uplinks.s3_rig import LONG, MIB, S3Rig, broken_off, client, rigged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.testing.station import Station

pytestmark = pytest.mark.interop


class TestS3(UplinkConformance):
    @pytest.fixture(autouse=True)
    def _running(self, store: swift.Swift) -> None:
        self.store = store

    @asynccontextmanager
    async def rig(self, tmp_path: Path) -> AsyncIterator[S3Rig]:
        async with rigged(tmp_path / "s3", self.store) as made:
            yield made


# --- what is S3's own -------------------------------------------------------------------------------------------------


@pytest.fixture
async def rig(tmp_path: Path, store: swift.Swift) -> AsyncIterator[S3Rig]:
    async with rigged(tmp_path / "s3", store) as made:
        yield made


@pytest.mark.parametrize("data", [b"", b"x", some_bytes(MIB), LONG], ids=len)
async def test_a_store_that_refuses_wrong_digests_gives_a_receipt_that_counts(
    rig: S3Rig, station: Station, data: bytes
) -> None:
    sending = await held_sending(station, data)
    receipt = await sent(rig.uplink(), sending)
    assert receipt.strength is Strength.DIGEST
    assert receipt.sha256 == hashlib.sha256(data).digest()
    assert await rig.objects() == {f"dock-1/{sending.holding.id}": data}
    assert sending.confirmed[-1] == len(data)
    assert sending.confirmed == sorted(sending.confirmed)


async def test_a_check_says_that_the_store_compares(rig: S3Rig) -> None:
    uplink = rig.uplink()
    found = {one.what: one for one in await uplink.check()}
    assert {name: one.state for name, one in found.items()} == {"bucket": "ok", "digests": "ok"}
    await uplink.aclose()


@pytest.mark.parametrize("length", [100, len(LONG)])
async def test_an_object_that_is_there_is_never_overwritten(rig: S3Rig, station: Station, length: int) -> None:
    sending = await held_sending(station, some_bytes(length))
    key = f"dock-1/{sending.holding.id}"
    async with client(rig.port) as asked:
        await asked.put_object(Bucket=rig.bucket, Key=key, Body=b"older")
    with pytest.raises(BadReceipt, match="another object"):
        await sent(rig.uplink(), sending)
    assert await rig.objects() == {key: b"older"}


async def test_an_object_of_the_same_length_with_other_bytes_is_found_out(rig: S3Rig, station: Station) -> None:
    sending = await held_sending(station, some_bytes(100))
    other = some_bytes(100, "other")
    async with client(rig.port) as asked:
        await asked.put_object(Bucket=rig.bucket, Key=f"dock-1/{sending.holding.id}", Body=other)
    station.connect(rig.uplink())
    with suppress(TimeoutError):  # held, or in doubt after it was refused a few times
        await station.send(within=2.0)
    assert (await station.only()).standing is not Standing.RECEIPTED
    await station.hang_up()


async def test_a_spool_that_rots_under_a_long_upload_completes_nothing(rig: S3Rig, station: Station) -> None:
    sending = await held_sending(station, LONG)
    path = station.spool.path(sending.holding.digest.sha256)
    path.write_bytes(LONG[:-1] + bytes([LONG[-1] ^ 1]))
    with pytest.raises(SpoolDamaged):
        await sent(rig.uplink(), sending)
    assert await rig.objects() == {}


@pytest.mark.parametrize(("wrong", "says"), [("ev:agent:other", "secret key"), ("ev:nobody:x", "access key|secret")])
async def test_wrong_keys_are_named(rig: S3Rig, station: Station, wrong: str, says: str) -> None:
    rig.keys_file.write_text(wrong)
    uplink = rig.uplink()
    with pytest.raises(UplinkDown, match=says) as down:
        await uplink.send(await held_sending(station, b"x"))
    assert "keys_file" in down.value.what_to_do
    (problem,) = [one for one in await uplink.check() if one.state == "problem"]
    assert problem.todo
    rig.keys_file.write_text(swift.KEYS)  # they are renewed: nothing has to be restarted
    assert (await sent(uplink, await held_sending(station, b"y"))).strength is Strength.DIGEST


async def test_a_bucket_that_is_not_there(rig: S3Rig, station: Station) -> None:
    with pytest.raises(UplinkDown, match=r"no such bucket|permit"):
        await sent(rig.uplink(bucket="nowhere-at-all"), await held_sending(station, b"x"))


async def test_a_store_without_locks_stores_nothing_that_counts(rig: S3Rig, station: Station) -> None:
    """Swift takes the words about a lock in silence: only reading it back shows that there is none."""
    uplink = rig.uplink(lock="compliance", retention_default=30)
    assert any(one.what == "lock" and one.state == "problem" for one in await uplink.check())
    sending = await held_sending(station, b"x")
    with pytest.raises(UplinkDown, match="locked"):
        await sent(uplink, sending)
    found = await rig.objects()
    assert found == {f"dock-1/{sending.holding.id}": b"x"}, "it takes a request for a lock for the object"


async def test_of_many_parts_only_so_many_are_on_their_way_at_once(rig: S3Rig, station: Station) -> None:
    uplink = rig.uplink(parts=2)
    sendings = [await held_sending(station, some_bytes(6 * MIB, n), f"{n}") for n in range(4)]
    most, busy, true_ask = 0, 0, uplink._store.ask

    async def ask(operation: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        nonlocal most, busy
        if operation != "upload_part":
            return await true_ask(operation, **words)
        busy += 1
        most = max(most, busy)
        try:
            return await true_ask(operation, **words)
        finally:
            busy -= 1

    uplink._store.ask = ask  # type: ignore[method-assign]
    await asyncio.gather(*(uplink.send(one) for one in sendings))
    await uplink.aclose()
    assert most <= 2
    assert len(await rig.objects()) == 4


def spied(uplink: S3Uplink, asked: list[tuple[str, dict[str, Any]]]) -> None:
    """Take down what the uplink asks the store."""
    true_ask = uplink._store.ask

    async def ask(operation: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        asked.append((operation, words))
        return await true_ask(operation, **words)

    uplink._store.ask = ask  # type: ignore[method-assign]


@pytest.mark.parametrize("compares_not", ["put_object", "upload_part"])
async def test_a_store_that_compares_one_kind_of_request_alone_counts_as_one_that_compares_nothing(
    rig: S3Rig, station: Station, compares_not: str
) -> None:
    """The digest does not come to it in those, which is as good as not looking."""
    uplink = rig.uplink()
    true_ask = uplink._store.ask

    async def ask(operation: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        if operation == compares_not:
            words = {name: value for name, value in words.items() if not name.startswith("Checksum")}
        return await true_ask(operation, **words)

    uplink._store.ask = ask  # type: ignore[method-assign]
    (digests,) = [one for one in await uplink.check() if one.what == "digests"]
    assert digests.state == "warning"
    receipt = await sent(uplink, await held_sending(station, b"x"))
    assert (receipt.strength, receipt.sha256) == (Strength.LENGTH, None)


async def test_an_object_that_came_between_is_not_overwritten_by_a_completion(rig: S3Rig, station: Station) -> None:
    """Two stations bring the same capture: one of them completes while the other still sends."""
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 11 * MIB)
    key = f"dock-1/{sending.holding.id}"
    async with client(rig.port) as asked:
        await asked.put_object(Bucket=rig.bucket, Key=key, Body=LONG)
    receipt = await sent(rig.uplink(), sending)
    assert (receipt.strength, receipt.sha256) == (Strength.DIGEST, sending.holding.digest.sha256), "it was read"
    async with client(rig.port) as asked:
        assert not (await asked.list_multipart_uploads(Bucket=rig.bucket)).get("Uploads"), "what is given up costs room"
        assert (await asked.head_object(Bucket=rig.bucket, Key=key))["Metadata"] == {}, "ours took its place"


async def test_a_completion_states_length_and_digests_and_overwrites_nothing(rig: S3Rig, station: Station) -> None:
    uplink, asked = rig.uplink(), list[tuple[str, dict[str, Any]]]()
    spied(uplink, asked)
    await sent(uplink, await held_sending(station, LONG))
    told = {operation: words for operation, words in asked if "canary" not in words["Key"]}
    assert told["complete_multipart_upload"]["MpuObjectSize"] == len(LONG)
    assert told["complete_multipart_upload"]["IfNoneMatch"] == "*"
    parts = told["complete_multipart_upload"]["MultipartUpload"]["Parts"]
    digests = [
        base64.b64encode(hashlib.sha256(LONG[at : at + 5 * MIB]).digest()).decode()
        for at in range(0, len(LONG), 5 * MIB)
    ]
    assert [part["ChecksumSHA256"] for part in parts] == digests


@pytest.mark.parametrize("right", [True, False])
async def test_the_digest_that_a_store_tells_of_an_object_of_parts_is_that_of_ours(
    rig: S3Rig,
    station: Station,
    right: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """SHA-256 over those of its parts, as Amazon's documentation has it; Swift tells none, so it is told on its way."""
    digests = [hashlib.sha256(LONG[at : at + 5 * MIB]).digest() for at in range(0, len(LONG), 5 * MIB)]
    composite = hashlib.sha256(b"".join(digests if right else digests[::-1])).digest()
    rig.proxy.lies = {"x-amz-checksum-sha256": f"{base64.b64encode(composite).decode()}-{len(digests)}"}
    sending = await held_sending(station, LONG)
    if right:
        assert (await sent(rig.uplink(), sending)).strength is Strength.DIGEST
    else:
        with pytest.raises(BadReceipt, match="the digests of its parts are others"):
            await sent(rig.uplink(), sending)


@pytest.mark.parametrize("data", [b"x", LONG], ids=len)
async def test_each_request_states_the_digest_of_its_bytes(rig: S3Rig, station: Station, data: bytes) -> None:
    sending = await held_sending(station, data)
    await sent(rig.uplink(parts=1), sending)
    bodies = [one for one in zip(rig.proxy.requests, rig.proxy.headers, strict=True) if sending.holding.id in one[0]]
    stated = [headers["x-amz-checksum-sha256"] for request, headers in bodies if request.startswith("PUT ")]
    pieces = [data[at : at + 5 * MIB] for at in range(0, len(data), 5 * MIB)]
    assert stated == [base64.b64encode(hashlib.sha256(piece).digest()).decode() for piece in pieces]


@pytest.mark.parametrize("data", [b"x", LONG], ids=len)
async def test_bytes_that_change_on_the_way_make_no_object(rig: S3Rig, station: Station, data: bytes) -> None:
    """The spool has them as journaled, and the store refuses what arrived: a person must look at what lies between."""
    sending, uplink = await held_sending(station, data), rig.uplink(parts=1)
    await uplink.check()
    rig.proxy.changes = 1
    with pytest.raises(BadReceipt, match="refuses the bytes as wrong"):
        await uplink.send(sending)
    assert await rig.objects() == {}
    assert (await sent(uplink, sending)).strength is Strength.DIGEST
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_the_bucket_may_stand_in_the_host_name(rig: S3Rig, station: Station, buckets_as_hosts: None) -> None:
    rig.more = {"endpoint": f"http://localhost:{rig.proxy.port}", "style": "virtual"}
    sending = await held_sending(station, LONG)
    assert (await sent(rig.uplink(), sending)).strength is Strength.DIGEST
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
    assert {one["Host"] for one in rig.proxy.headers} == {f"{rig.bucket}.localhost:{rig.proxy.port}"}


async def test_encryption_is_asked_for_in_the_store_s_own_headers(rig: S3Rig, station: Station) -> None:
    for number, data in enumerate((b"x", LONG)):
        rig.proxy.headers.clear()
        uplink = rig.uplink(encryption="aws:kms", kms_key="arn:aws:kms:ca-central-1:1:key/2")
        with suppress(UplinkDown):  # Swift knows no keys of others
            await sent(uplink, await held_sending(station, data, f"{number}"))
        made = [one for one in rig.proxy.headers if "x-amz-meta-capture" in one]
        assert made
        assert all(one["x-amz-server-side-encryption"] == "aws:kms" for one in made)
        assert all(one["x-amz-server-side-encryption-aws-kms-key-id"].endswith("key/2") for one in made)


# --- without a store --------------------------------------------------------------------------------------------------


def test_parts_are_as_many_as_s3_takes() -> None:
    assert part_length(100, 16 * MIB) == 16 * MIB
    length = 5 * (1 << 40)
    part = part_length(length, 16 * MIB)
    assert part % MIB == 0
    assert 9_000 < -(-length // part) <= 10_000


async def test_metadata_fits_whatever_devices_call_things(station: Station) -> None:
    for key in ("x" * 1024, "漢" * 1024, 'a"b\\c'):
        told = metadata((await held_sending(station, key.encode(), key)).holding)
        assert sum(len(name) + len(value) for name, value in told.items()) <= METADATA_MAX
        assert all(value.isascii() and value.isprintable() for value in told.values())
        assert "sha256" in told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"endpoint": "http://s3.example.org"}, "plain http"),
        ({"endpoint": "https://a:b@s3.example.org"}, "must not stand"),
        ({"endpoint": "https://s3.example.org/bucket"}, "without a path"),
        ({"lock": "compliance"}, "retention_default"),
        ({"retention_default": 3}, "needs lock"),
        ({"kms_key": "a"}, "aws:kms"),
        ({"legal_hold": ["everything"]}, "is not a class"),
        ({"part_length": 1 << 20}, "greater than"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, words: dict[str, Any], says: str) -> None:
    base = {"use": "s3", "name": "dems", "bucket": "evidence", "keys_file": tmp_path / "keys"}
    with pytest.raises(ValueError, match=says):
        S3Options.model_validate(base | words)


def test_retention_is_by_class(tmp_path: Path) -> None:
    words = {"lock": "governance", "retention": {"use-of-force": 3650}, "retention_default": 90, "legal_hold": ["hit"]}
    base = {"use": "s3", "name": "dems", "bucket": "evidence", "keys_file": tmp_path / "keys"}
    options = S3Options.model_validate(base | words)
    assert options.days(Priority.USE_OF_FORCE) == 3650
    assert options.days(Priority.ROUTINE) == 90
    assert options.held(Priority.HIT)
    assert not options.held(Priority.ROUTINE)


@pytest.mark.parametrize("content", ["", "only-one-word", ":x", "x:", "a b:c"])
def test_a_keys_file_that_holds_no_keys(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)
    options = S3Options(use="s3", name="dems", bucket="evidence", keys_file=tmp_path / "keys")
    with pytest.raises(ConfigError, match="ACCESS_KEY_ID:SECRET"):
        S3Uplink(options)


async def test_a_refusal_is_for_ever(rig: S3Rig, station: Station) -> None:
    rig.proxy.refuses = "MetadataTooLarge"
    with pytest.raises(UplinkRefused, match="longer than the store takes"):
        await sent(rig.uplink(), await held_sending(station, b"x"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "99999999"}, 3600),
        ({"Retry-After": "Sun, 22 Nov 2026 07:15:00 GMT", "Date": "Sun, 22 Nov 2026 07:00:00 GMT"}, 900),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
async def test_a_store_that_asks_for_patience_gets_it(
    rig: S3Rig, station: Station, headers: dict[str, str], seconds: float | None
) -> None:
    rig.proxy.busy = headers
    with pytest.raises(UplinkDown, match="SlowDown") as down:
        await sent(rig.uplink(), await held_sending(station, b"x"))
    assert down.value.retry_after == seconds
