"""What the tests of the uplink `clearance` send to: emulated services before a storage whose connection is bent."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import UplinkDown
from agent.testing.devices import some_bytes
from agent.testing.uplink_conformance import UplinkRig, sent
from agent.uplink.clearance import ClearanceOptions, ClearanceUplink
from tests.uplinks.clearance_emulator import Clearance, Item
from tests.uplinks.s3_proxy import S3Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.testing.uplinks import Arrived
    from tests.uplinks.azurite import Azurite

MIB = 1 << 20
LONG = some_bytes(5 * MIB + 77, "six blocks")


class ClearanceRig(UplinkRig):
    """A tenant, its storage behind a proxy, in blocks of 1 MiB."""

    request = MIB + 16

    def __init__(self, folder: Path, service: Clearance, proxy: S3Proxy) -> None:
        self.service, self.proxy = service, proxy
        folder.mkdir(exist_ok=True)
        self.file = service.connection_file(folder / "connection.json")
        self.more: dict[str, object] = {}

    def options(self, **more: object) -> ClearanceOptions:
        words = {"use": "clearance", "name": "dems", "connection_file": self.file, "storage": ["127.0.0.1"]}
        return ClearanceOptions.model_validate({**words, "block_length": MIB, "stall": 20.0, **self.more, **more})

    def uplink(self, **more: object) -> ClearanceUplink:
        return ClearanceUplink(self.options(**more))

    @property
    def done(self) -> list[Item]:
        return [item for item in self.service.items.values() if item.complete and "canary" not in item.told["Name"]]

    async def arrived(self) -> Arrived:
        found: dict[str, list[bytes]] = {}
        for item in self.done:
            for plain in await self.service.opened(item):
                found.setdefault(item.told["SourceId"], []).append(hashlib.sha256(plain).digest())
        return found

    async def received(self) -> int:
        return self.proxy.received

    async def cut(self, after: int) -> None:
        self.proxy.cut_after = after

    async def lose_answer(self) -> None:
        self.proxy.answers_lost = 1

    async def refuse(self) -> None:
        self.service.refuses = 422

    async def lie(self, how: str) -> None:
        match how:
            case "wrong-length":
                self.proxy.lies = {"Content-Length": "7"}
            case "wrong-digest":
                self.more, self.proxy.rots = {"read_back": True}, True
            case _:
                await super().lie(how)

    async def down(self) -> None:
        self.service.is_down = self.proxy.is_down = True

    async def up(self) -> None:
        self.service.is_down = self.proxy.is_down = False


@asynccontextmanager
async def rigged(folder: Path, storage: Azurite) -> AsyncIterator[ClearanceRig]:
    async with S3Proxy(storage.port) as proxy, Clearance(storage.port, proxy.port) as service:
        yield ClearanceRig(folder, service, proxy)


async def broken_off(rig: ClearanceRig, sending: Any, after: int) -> None:  # noqa: ANN401 - a HeldSending
    rig.proxy.cut_after, rig.proxy.stays_down = after, True
    with pytest.raises(UplinkDown):
        await sent(rig.uplink(blocks=1), sending)
    rig.proxy.is_down = False
