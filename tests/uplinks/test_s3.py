"""The uplink `s3` against OpenStack Swift behind a proxy with faults: the suite of all uplinks, and S3's own."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.session import get_session
from botocore.config import Config

from agent.capture import Priority, Standing, Strength
from agent.errors import BadReceipt, ConfigError, SpoolDamaged, UplinkDown, UplinkRefused
from agent.testing.devices import some_bytes
from agent.testing.sendings import held_sending
from agent.testing.station import Station
from agent.testing.uplink_conformance import UplinkConformance, UplinkRig, sent
from agent.uplink.s3 import S3Options, S3Uplink
from agent.uplink.s3.named import METADATA_MAX, metadata
from agent.uplink.s3.parts import part_length
from tests.uplinks import swift
from tests.uplinks.s3_proxy import S3Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from agent.testing.sendings import HeldSending
    from agent.testing.uplinks import Arrived

MIB = 1 << 20
LONG = some_bytes(12 * MIB + 77, "three parts")
pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[swift.Swift]:
    if (why := swift.missing()) is not None:
        pytest.skip(why)
    with swift.Swift(tmp_path_factory.mktemp("swift")) as made:
        yield made


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Any]:
    name, _, secret = swift.KEYS.rpartition(":")
    config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    async with get_session().create_client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id=name,
        aws_secret_access_key=secret,
        config=config,
    ) as made:
        yield made


class S3Rig(UplinkRig):
    """Swift behind the proxy, in parts of 5 MiB."""

    request = 5 * MIB

    def __init__(self, folder: Path, port: int, proxy: S3Proxy, bucket: str) -> None:
        self.port, self.proxy, self.bucket = port, proxy, bucket
        folder.mkdir(exist_ok=True)
        self.keys_file = folder / "keys"
        self.keys_file.write_text(swift.KEYS)

    def options(self, **more: object) -> S3Options:
        words = {
            "use": "s3",
            "name": "dems",
            "endpoint": self.proxy.url,
            "bucket": self.bucket,
            "keys_file": self.keys_file,
            "part_length": 5 * MIB,
            "prefix": "dock-1/",
        }
        return S3Options.model_validate({**words, "stall": 20.0, **more})

    def uplink(self, **more: object) -> S3Uplink:
        return S3Uplink(self.options(**more))

    async def objects(self) -> dict[str, bytes]:
        async with client(self.port) as asked:
            listed = (await asked.list_objects_v2(Bucket=self.bucket)).get("Contents", ())
            found = {}
            for one in listed:
                answer = await asked.get_object(Bucket=self.bucket, Key=one["Key"])
                found[one["Key"]] = await answer["Body"].read()
            return found

    async def arrived(self) -> Arrived:
        found = await self.objects()
        return {key.removeprefix("dock-1/"): [hashlib.sha256(data).digest()] for key, data in found.items()}

    async def received(self) -> int:
        return self.proxy.received

    async def cut(self, after: int) -> None:
        self.proxy.cut_after = after

    async def lose_answer(self) -> None:
        self.proxy.answers_lost = 1

    async def refuse(self) -> None:
        self.proxy.refuses = "EntityTooLarge"

    async def lie(self, how: str) -> None:
        match how:
            case "wrong-digest":
                self.proxy.lies = {"x-amz-meta-sha256": "0" * 64}
            case "wrong-length":
                self.proxy.lies = {"Content-Length": "7"}
            case _:
                await super().lie(how)

    async def down(self) -> None:
        self.proxy.is_down = True

    async def up(self) -> None:
        self.proxy.is_down = False


@asynccontextmanager
async def rigged(folder: Path, store: swift.Swift) -> AsyncIterator[S3Rig]:
    bucket = f"evidence-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    async with client(store.port) as asked:
        await asked.create_bucket(Bucket=bucket)
    async with S3Proxy(store.port) as proxy:
        yield S3Rig(folder, store.port, proxy, bucket)


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


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with Station(tmp_path / "station") as made:
        yield made


async def broken_off(rig: S3Rig, sending: HeldSending, after: int) -> None:
    """The link breaks after so many bytes, and is there again when this returns."""
    rig.proxy.cut_after, rig.proxy.stays_down = after, True
    with pytest.raises(UplinkDown):
        await sent(rig.uplink(parts=1), sending)
    rig.proxy.is_down = False


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


async def test_many_parts_lie_in_memory_only_so_many_at_once(rig: S3Rig, station: Station) -> None:
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
