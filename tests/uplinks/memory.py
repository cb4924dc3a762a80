"""A held capture that lies in memory, for uplinks under test: it keeps what it was asked and told."""

from __future__ import annotations

import hashlib
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from blake3 import blake3

from agent.capture import PART_LENGTH, Digest, Holding, Origin, Parts, Priority, Standing, capture_id
from agent.errors import SpoolDamaged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BLOCK = 256 * 1024
MIB = 1024 * 1024


def some_bytes(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def holding_of(data: bytes, *, key: str = "DCIM/100MEDIA/CLIP0001.MP4", index: int = 7) -> Holding:
    began_at = datetime(2026, 11, 22, 7, 2, 17, 123000, tzinfo=UTC)
    origin = Origin("usb:0951:1666:SN-BWC-0002", key, began_at)
    digest = Digest(hashlib.sha256(data).digest(), blake3(data).digest(), len(data))
    through, running = [], hashlib.sha256()
    if len(data) > PART_LENGTH:
        for at in range(0, len(data), PART_LENGTH):
            running.update(data[at : at + PART_LENGTH])
            through.append(running.digest())
    return Holding(
        id=capture_id(origin, digest.sha256),
        origin=origin,
        digest=digest,
        standing=Standing.HELD,
        log="edge.example.org/dock-0042/log1",
        index=index,
        held_at=began_at,
        changed_at=began_at,
        priority=Priority.ROUTINE,
        media_type="video/mp4",
        group="recording-1",
        members=3,
        parts=Parts(through=b"".join(through)),
    )


class MemoryLeaving:
    """`agent.uplink.Leaving` of it."""

    def __init__(self, sending: MemorySending, offset: int, end: int) -> None:
        self._sending, self._at, self._end = sending, offset, end

    def read(self, room: memoryview, /) -> int:
        block = self._sending.given[self._at : min(self._at + len(room), self._end)]
        if not block and self._at < self._end:
            raise SpoolDamaged("the kept file is too short")
        room[: len(block)] = block
        self._at += len(block)
        self._sending.read += len(block)
        return len(block)

    def stop(self) -> None: ...


class MemorySending:
    """`agent.uplink.Sending` over bytes; `damage` is what the spool gives instead."""

    def __init__(
        self,
        data: bytes,
        *,
        key: str = "DCIM/100MEDIA/CLIP0001.MP4",
        index: int = 7,
        damage: bytes | None = None,
    ) -> None:
        self.holding = holding_of(data, key=key, index=index)
        self.data = data
        self.given = data if damage is None else damage
        self.state: str | None = None
        self.renew_at: datetime | None = None
        self.remembered: list[str | None] = []
        self.confirmed: list[int] = []
        self.read = 0

    async def blocks(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        for at in range(offset, offset + length, BLOCK):
            block = self.given[at : min(at + BLOCK, offset + length)]
            if not block:
                raise SpoolDamaged("the kept file is too short")
            self.read += len(block)
            yield block

    async def turn(self, _: int, /) -> None: ...

    def outgoing(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        return self.blocks(offset, length)

    @asynccontextmanager
    async def leaving(self, offset: int, length: int, /) -> AsyncIterator[MemoryLeaving]:
        yield MemoryLeaving(self, offset, offset + length)

    async def unsent(self, _: int, /) -> None: ...

    async def sha256_through(self, offset: int, /) -> bytes:
        return hashlib.sha256(self.data[:offset]).digest()

    async def class_kept(self) -> Priority:
        return self.holding.priority

    def recall(self) -> str | None:
        return self.state

    async def remember(self, state: str | None, /, *, renew_at: datetime | None = None) -> None:
        self.renew_at = renew_at
        self.remembered.append(state)
        self.state = state

    def progress(self, offset: int, /) -> None:
        self.confirmed.append(offset)
