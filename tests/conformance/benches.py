"""A receiver in memory with every fault of the suite, and an uplink to it that keeps the contract."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from agent.capture import Receipt, Strength
from agent.errors import UplinkDown, UplinkRefused
from agent.testing.rig import not_given
from agent.testing.uplink_conformance import UplinkRig
from agent.uplink import Finding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.testing.uplinks import Arrived
    from agent.uplink import Sending, Uplink


class Store:
    """What is at the other end."""

    def __init__(self) -> None:
        self.parts: defaultdict[str, bytearray] = defaultdict(bytearray)
        self.whole: defaultdict[str, list[bytes]] = defaultdict(list)
        self.received = 0
        self.cut_at: int | None = None
        self.loses_answer = self.refuses = self.is_down = False
        self.lie: str | None = None

    def hear(self) -> None:
        if self.is_down:
            raise UplinkDown("nobody answers")
        if self.refuses:
            raise UplinkRefused("not of this type")

    def take(self, capture: str, block: bytes) -> None:
        self.hear()
        if self.cut_at is not None and len(self.parts[capture]) + len(block) > self.cut_at:
            self.cut_at = None
            raise UplinkDown("the connection broke")
        self.parts[capture] += block
        self.received += len(block)

    def finish(self, capture: str, claimed: bytes) -> Receipt:
        self.hear()
        if not self.whole[capture]:
            found = hashlib.sha256(self.parts.pop(capture, b"")).digest()
            if found != claimed:
                raise UplinkDown("other bytes came than were claimed: sent anew")
            self.whole[capture].append(found)
        if self.loses_answer:
            self.loses_answer = False
            raise UplinkDown("the connection broke")
        return Receipt(Strength.DIGEST, "dems", 0, self.whole[capture][0])


class BenchTrip:
    """An uplink to a `Store`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def send(self, sending: Sending, /) -> Receipt:
        holding = sending.holding
        self.store.hear()
        if not self.store.whole[holding.id]:
            offset = len(self.store.parts[holding.id])
            while offset < holding.digest.length:
                part = min(BenchRig.request, holding.digest.length - offset)
                await sending.turn(part)
                async for block in sending.outgoing(offset, part):
                    self.store.take(holding.id, block)
                    offset += len(block)
        receipt = self.store.finish(holding.id, holding.digest.sha256)
        receipt = dataclasses.replace(receipt, length=holding.digest.length)
        if self.store.lie == "wrong-digest":
            return dataclasses.replace(receipt, sha256=bytes(32))
        if self.store.lie == "wrong-length":
            return dataclasses.replace(receipt, length=receipt.length + 1)
        return receipt

    async def check(self) -> list[Finding]:
        state = "problem" if self.store.is_down else "ok"
        return [Finding(what="store", state=state, detail="in memory")]

    async def aclose(self) -> None: ...


class BenchRig(UplinkRig):
    request = 256 * 1024
    made: ClassVar[type[BenchTrip]] = BenchTrip

    def __init__(self) -> None:
        self.store = Store()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[BenchRig]:
        yield cls()

    def uplink(self) -> Uplink:
        return self.made(self.store)

    async def arrived(self) -> Arrived:
        return {capture: found for capture, found in self.store.whole.items() if found}

    async def received(self) -> int:
        return self.store.received

    async def cut(self, after: int) -> None:
        self.store.cut_at = after

    async def lose_answer(self) -> None:
        self.store.loses_answer = True

    async def refuse(self) -> None:
        self.store.refuses = True

    async def lie(self, how: str) -> None:
        if how not in ("wrong-digest", "wrong-length"):
            not_given("lie", how)
        self.store.lie = how

    async def down(self) -> None:
        self.store.is_down = True

    async def up(self) -> None:
        self.store.is_down = False
