"""An S3 store behind a proxy with faults, for the suite of all uplinks."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.session import AioSession
from botocore.config import Config

from agent.errors import UplinkDown
from agent.testing.devices import some_bytes
from agent.testing.uplink_conformance import UplinkRig, sent
from agent.uplink.s3 import S3Options, S3Uplink
from tests.uplinks import swift
from tests.uplinks.s3_proxy import S3Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.testing.sendings import HeldSending
    from agent.testing.uplinks import Arrived

MIB = 1 << 20
LONG = some_bytes(12 * MIB + 77, "three parts")
SESSION = AioSession()
"""Of all clients: each of its own would read the descriptions of all services anew."""


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Any]:
    name, _, secret = swift.KEYS.rpartition(":")
    config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    async with SESSION.create_client(
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
        self.more: dict[str, object] = {}
        """Options of every uplink."""
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
        return S3Options.model_validate({**words, "stall": 20.0, **self.more, **more})

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


async def broken_off(rig: S3Rig, sending: HeldSending, after: int) -> None:
    """The link breaks after so many bytes, and is there again when this returns."""
    rig.proxy.cut_after, rig.proxy.stays_down = after, True
    with pytest.raises(UplinkDown):
        await sent(rig.uplink(parts=1), sending)
    rig.proxy.is_down = False
