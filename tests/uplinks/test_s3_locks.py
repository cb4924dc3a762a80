"""Object Lock against moto, a store of other authors that keeps locks and compares no digests."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from agent.capture import Priority, Standing, Strength
from agent.errors import NotNow, UplinkDown
from agent.journal import contexts
from agent.testing.devices import some_bytes
from agent.testing.ports import free_port
from agent.testing.sendings import HeldSending, held_sending
from agent.testing.station import Station
from agent.testing.uplink_conformance import sent
from agent.uplink.s3 import S3Uplink
from tests.uplinks.s3_broker import TOKEN, Broker, signer
from tests.uplinks.s3_rig import SESSION
from tests.uplinks.swift import HOME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

MIB = 1 << 20
pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """Where moto listens."""
    program = HOME / "bin" / "moto_server"
    if not program.exists():
        pytest.skip("moto is not installed: make peers")
    port = free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], env=environment, **quiet)  # type: ignore[call-overload]
    try:
        for _ in range(600):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def client(store: str) -> AsyncIterator[Any]:
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    async with SESSION.create_client(
        "s3",
        endpoint_url=store,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",  # noqa: S106 - moto takes any
        config=config,
    ) as made:
        yield made


class Bench:
    def __init__(self, store: str, folder: Path, bucket: str, station: Station) -> None:
        self.store, self.bucket, self.station = store, bucket, station
        self.keys = folder / "keys"
        self.keys.write_text("a:b")

    def uplink(self, **more: object) -> S3Uplink:
        words = {"use": "s3", "name": "dems", "endpoint": self.store, "bucket": self.bucket, "keys_file": self.keys}
        return S3Uplink(S3Uplink.Options.model_validate({**words, "part_length": 5 * MIB, **more}))


@pytest.fixture
async def bench(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    bucket = f"b{abs(hash(request.node.name))}"[:40]
    async with client(store) as asked:
        await asked.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=not request.node.get_closest_marker("open"))
    async with Station(tmp_path / "station") as station:
        yield Bench(store, tmp_path, bucket, station)


async def test_an_object_is_locked_for_the_days_of_its_class_and_under_a_hold(bench: Bench) -> None:
    uplink = bench.uplink(
        lock="compliance", retention={"routine": 30}, retention_default=1, legal_hold=["routine"], read_back=True
    )
    assert {one.what: one.state for one in await uplink.check()}["lock"] == "ok"
    sending = await held_sending(bench.station, some_bytes(1000))
    assert sending.holding.priority is Priority.ROUTINE
    receipt = await sent(uplink, sending)
    assert receipt.strength is Strength.DIGEST, "read back, for moto compares nothing"
    async with client(bench.store) as asked:
        head = await asked.head_object(Bucket=bench.bucket, Key=sending.holding.id)
        assert head["ObjectLockMode"] == "COMPLIANCE"
        assert head["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=29)
        assert head["ObjectLockLegalHoldStatus"] == "ON"
        with pytest.raises(ClientError, match="AccessDenied"):
            await asked.delete_object(Bucket=bench.bucket, Key=sending.holding.id, VersionId=head["VersionId"])


async def test_whoever_sends_a_capture_before_others_changes_nothing_of_how_long_it_is_kept(bench: Bench) -> None:
    uplink = bench.uplink(
        lock="governance", retention={"routine": 30}, retention_default=1, legal_hold=["routine"], read_back=True
    )
    name = (await held_sending(bench.station, some_bytes(1000))).holding.id
    await bench.station.desk.write(lambda journal: journal.prioritise(name, Priority.FIRST, actor="anna", why="court"))
    sending = HeldSending(bench.station, await bench.station.only())
    assert sending.holding.priority is Priority.FIRST
    await sent(uplink, sending)
    async with client(bench.store) as asked:
        head = await asked.head_object(Bucket=bench.bucket, Key=name)
    assert head["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=29)
    assert head["ObjectLockLegalHoldStatus"] == "ON"


async def test_a_broker_signs_locks_and_what_it_adds_by_itself_is_sent(bench: Bench) -> None:
    """The agency decides the retention, and the station reads it back."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)
    sign = signer(bucket=bench.bucket, endpoint=bench.store, region="us-east-1", key="a", secret="b")  # noqa: S106
    async with Broker(sign) as broker:
        token = bench.keys.with_name("token")
        token.write_text(TOKEN)
        words = {"keys_file": None, "broker": broker.url, "token_file": token, "prefix": "dock-1/", "read_back": True}
        sending = await held_sending(bench.station, b"x")
        receipt = await sent(bench.uplink(lock="governance", retention_default=30, **words), sending)
        assert receipt.strength is Strength.DIGEST
        lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        named = {
            "x-amz-object-lock-mode": "COMPLIANCE",
            "x-amz-object-lock-retain-until-date": f"{until:%Y-%m-%dT%H:%M:%SZ}",
        }
        broker.adds = {"parameters": lock, "headers": named}
        other = await held_sending(bench.station, b"y", "other")
        with pytest.raises(UplinkDown, match="its retention is COMPLIANCE"):
            await sent(bench.uplink(lock="governance", retention_default=30, **words), other)
        await sent(bench.uplink(lock="bucket", **words), other)
    async with client(bench.store) as asked:
        head = await asked.head_object(Bucket=bench.bucket, Key=f"dock-1/{other.holding.id}")
        assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("COMPLIANCE", until)


async def test_a_lock_that_the_store_forgets_is_none(bench: Bench) -> None:
    """moto forgets what was asked for at the beginning of an object in parts."""
    uplink = bench.uplink(lock="compliance", retention_default=1, read_back=True)
    sending = await held_sending(bench.station, some_bytes(6 * MIB))
    with pytest.raises(UplinkDown, match="not keep it locked: its retention is none"):
        await sent(uplink, sending)


async def test_a_hold_that_the_store_forgets_is_none(bench: Bench) -> None:
    """Where no retention is asked for beside it either."""
    uplink = bench.uplink(legal_hold=["routine"], read_back=True)
    assert (await uplink.send(await held_sending(bench.station, b"x"))).strength is Strength.DIGEST
    with pytest.raises(UplinkDown, match="not keep it locked: it is under no legal hold"):
        await sent(uplink, await held_sending(bench.station, some_bytes(6 * MIB), "long"))


@pytest.mark.parametrize("held", ["ON", "OFF"])
async def test_a_lock_of_which_head_says_nothing_is_asked_for_by_its_name(bench: Bench, held: str) -> None:
    """Of the version that HEAD spoke of. moto gives the object itself for `?retention`, so that is answered here."""
    uplink = bench.uplink(lock="governance", retention_default=30, legal_hold=["routine"], read_back=True)
    true_ask, seen = uplink._store.ask, dict[str, Any]()

    async def ask(operation: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        if operation in {"get_object_retention", "get_object_legal_hold"}:
            assert words["VersionId"] == seen["VersionId"]
            until = {"Mode": seen["ObjectLockMode"], "RetainUntilDate": seen["ObjectLockRetainUntilDate"]}
            return {"Retention": until, "LegalHold": {"Status": held}}
        told = await true_ask(operation, **words)
        if operation == "head_object":
            seen.update(told)
        return {name: value for name, value in told.items() if not name.startswith("ObjectLock")}

    uplink._store.ask = ask  # type: ignore[method-assign]
    sending = await held_sending(bench.station, b"x")
    if held == "OFF":
        with pytest.raises(UplinkDown, match="it is under no legal hold"):
            await sent(uplink, sending)
    else:
        assert (await sent(uplink, sending)).strength is Strength.DIGEST


async def test_a_lock_that_ends_too_soon_is_none(bench: Bench) -> None:
    """The store keeps a day of the thirty that are asked for."""
    until = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    uplink = bench.uplink(lock="governance", retention_default=30, read_back=True)
    sending, true_ask = await held_sending(bench.station, b"x"), uplink._store.ask

    async def ask(operation: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        if "ObjectLockRetainUntilDate" in words:
            words["ObjectLockRetainUntilDate"] = until
        return await true_ask(operation, **words)

    uplink._store.ask = ask  # type: ignore[method-assign]
    with pytest.raises(UplinkDown, match=f"its retention is GOVERNANCE until {until:%Y-%m-%d}"):
        await sent(uplink, sending)


async def test_days_count_from_when_it_was_made_where_our_clock_was_ahead(bench: Bench) -> None:
    """It was put right since: thirty days from then are not to be had. An object that is older is not excused."""
    sending = await held_sending(bench.station, b"x")
    for hours in 2, 2, 0:
        taken = HeldSending(bench.station, replace(sending.holding, held_at=datetime.now(UTC) + timedelta(hours=hours)))
        with nullcontext() if hours else pytest.raises(UplinkDown, match="its retention is COMPLIANCE until"):
            await sent(bench.uplink(lock="compliance", retention_default=30, read_back=True), taken)
        await asyncio.sleep(1.5)  # S3 tells whole seconds


@pytest.mark.parametrize("lock", [{"lock": "bucket"}, {"lock": "governance", "retention_default": 30}])
async def test_a_lock_without_an_end_is_none(bench: Bench, lock: dict[str, Any]) -> None:
    """The store names a mode, and not until when: nobody has said that the object stays for a day."""
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}}
    async with client(bench.store) as asked:
        await asked.put_object_lock_configuration(Bucket=bench.bucket, ObjectLockConfiguration=rule)
    uplink = bench.uplink(**lock, read_back=True)
    sending, true_ask = await held_sending(bench.station, b"x"), uplink._store.ask

    async def ask(operation: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        told = await true_ask(operation, **words)
        return {name: value for name, value in told.items() if name != "ObjectLockRetainUntilDate"}

    uplink._store.ask = ask  # type: ignore[method-assign]
    with pytest.raises(UplinkDown, match="its retention is GOVERNANCE until None"):
        await sent(uplink, sending)


async def test_objects_are_encrypted_as_asked_for(bench: Bench) -> None:
    uplink = bench.uplink(encryption="AES256")
    sendings = [await held_sending(bench.station, some_bytes(length), f"{length}") for length in (1, 6 * MIB)]
    for sending in sendings:
        await uplink.send(sending)
    await uplink.aclose()
    async with client(bench.store) as asked:
        for sending in sendings:
            head = await asked.head_object(Bucket=bench.bucket, Key=sending.holding.id)
            assert head["ServerSideEncryption"] == "AES256"


async def test_a_store_that_compares_nothing_proves_a_length(bench: Bench) -> None:
    uplink = bench.uplink()
    (digests,) = [one for one in await uplink.check() if one.what == "digests"]
    assert digests.state == "warning"
    assert "read_back" in str(digests.todo)
    receipt = await sent(uplink, await held_sending(bench.station, some_bytes(1000)))
    assert (receipt.strength, receipt.length) == (Strength.LENGTH, 1000)


async def test_what_was_changed_at_the_store_is_found_by_reading_back(bench: Bench) -> None:
    sending = await held_sending(bench.station, some_bytes(1000))
    uplink = bench.uplink(read_back=True)
    true_ask = uplink._store.ask

    async def ask(operation: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        if operation == "put_object" and "canary" not in words["Key"]:
            words |= {"outgoing": None, "Body": some_bytes(1000, "the disk of the store rots"), "length": 1000}
        return await true_ask(operation, **words)

    uplink._store.ask = ask  # type: ignore[method-assign]
    bench.station.connect(uplink)
    with suppress(TimeoutError):
        await bench.station.send(within=2.0)
    holding = await bench.station.only()
    assert holding.standing in (Standing.HELD, Standing.QUARANTINED)
    assert holding.receipt is None
    assert sending.holding.id == holding.id
    await bench.station.hang_up()


async def test_a_bucket_without_a_rule_of_its_own_is_told(bench: Bench) -> None:
    uplink = bench.uplink(lock="bucket")
    (lock,) = [one for one in await uplink.check() if one.what == "lock"]
    assert lock.state == "problem"
    with pytest.raises(UplinkDown, match="not keep it locked"):
        await sent(uplink, await held_sending(bench.station, b"x"))


async def test_the_rule_of_the_bucket_counts_once_it_is_read_back(bench: Bench) -> None:
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 7}}}
    async with client(bench.store) as asked:
        await asked.put_object_lock_configuration(Bucket=bench.bucket, ObjectLockConfiguration=rule)
    uplink = bench.uplink(lock="bucket", read_back=True)
    assert {one.what: one.state for one in await uplink.check()}["lock"] == "ok"
    assert (await sent(uplink, await held_sending(bench.station, b"x"))).strength is Strength.DIGEST


class Keeping:
    """What moto forgets: the object has the lock that was asked for when its upload was begun."""

    def __init__(self, uplink: S3Uplink) -> None:
        self._ask, self._begun, self.objects = uplink._store.ask, dict[str, Any](), dict[str, Any]()
        self.operations: list[str] = []
        self.before: dict[str, Any] = {}
        """What is awaited once, before an operation."""
        uplink._store.ask = self.ask  # type: ignore[method-assign]

    async def ask(self, operation: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        self.operations += [] if "canary" in words["Key"] else [operation]
        if operation in self.before and "canary" not in words["Key"]:
            await self.before.pop(operation)
        told = await self._ask(operation, **words)
        locked = {name: value for name, value in words.items() if name.startswith("ObjectLock")}
        match operation:
            case "create_multipart_upload":
                self._begun[told["UploadId"]] = locked
            case "complete_multipart_upload":
                self.objects[words["Key"]] = self._begun[words["UploadId"]]
            case "put_object":
                self.objects[words["Key"]] = locked
            case "head_object":
                bare = {name: value for name, value in told.items() if not name.startswith("ObjectLock")}
                return bare | self.objects[words["Key"]]
        return told


async def raised(bench: Bench, capture: str) -> None:
    """A rule about its context makes it what it was not when it was taken."""
    context: dict[str, Any] = {"officers": [], "units": [], "incidents": [], "priority": "use_of_force"}
    await bench.station.desk.write(lambda journal: contexts.join(journal, capture, context, Priority.USE_OF_FORCE))


BY_CLASS: dict[str, Any] = {
    "lock": "compliance",
    "retention": {"use-of-force": 3650},
    "retention_default": 30,
    "legal_hold": ["use-of-force"],
    "read_back": True,
}


async def test_a_class_that_was_raised_between_two_parts_begins_the_upload_anew(bench: Bench) -> None:
    uplink, sending = bench.uplink(**BY_CLASS), await held_sending(bench.station, some_bytes(12 * MIB))
    keeping = Keeping(uplink)
    sending.turns = 1
    with pytest.raises(NotNow):
        await uplink.send(sending)
    await raised(bench, sending.holding.id)
    sending.turns = None
    await sent(uplink, sending)
    lock = keeping.objects[sending.holding.id]
    assert lock["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=3649)
    assert lock["ObjectLockLegalHoldStatus"] == "ON"
    assert keeping.operations.count("abort_multipart_upload") == 1, "unfinished parts cost room"


async def test_what_is_sent_on_under_the_same_lock_is_not_begun_anew(bench: Bench) -> None:
    uplink, sending = bench.uplink(**BY_CLASS), await held_sending(bench.station, some_bytes(12 * MIB))
    keeping = Keeping(uplink)
    sending.turns = 1
    with pytest.raises(NotNow):
        await uplink.send(sending)
    sending.turns = None
    await sent(uplink, sending)
    assert keeping.operations.count("create_multipart_upload") == 1
    assert keeping.operations.count("upload_part") == 3


async def test_a_class_that_is_raised_while_the_last_part_goes_begins_the_upload_anew(bench: Bench) -> None:
    uplink, sending = bench.uplink(**BY_CLASS), await held_sending(bench.station, some_bytes(6 * MIB))
    keeping = Keeping(uplink)
    keeping.before["upload_part"] = raised(bench, sending.holding.id)
    await sent(uplink, sending)
    assert keeping.objects[sending.holding.id]["ObjectLockLegalHoldStatus"] == "ON"


@pytest.mark.parametrize(("length", "made_by"), [(1000, "put_object"), (6 * MIB, "complete_multipart_upload")])
async def test_an_object_that_was_made_before_its_class_was_raised_keeps_no_other_waiting(
    bench: Bench, length: int, made_by: str
) -> None:
    """What has to be done at the store is said; the parts of a long one are not sent each time that it is looked at."""
    uplink, sending = bench.uplink(**BY_CLASS), await held_sending(bench.station, some_bytes(length))
    keeping = Keeping(uplink)
    keeping.before[made_by] = raised(bench, sending.holding.id)
    for _ in range(3):
        with pytest.raises(UplinkDown, match=f"took {sending.holding.id} and does not keep it locked: ") as told:
            await uplink.send(sending)
        assert told.value.alone
        assert "longer" in told.value.what_to_do
    assert keeping.operations.count("upload_part") == (2 if length > 5 * MIB else 0)
    keeping.objects[sending.holding.id] = {  # the administrator did it
        "ObjectLockMode": "COMPLIANCE",
        "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=3650),
        "ObjectLockLegalHoldStatus": "ON",
    }
    assert (await sent(uplink, sending)).strength is Strength.DIGEST
