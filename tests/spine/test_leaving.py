"""A kept file read by the thread that sends it: its bytes, wherever they lie, and a descriptor that is its own."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import pytest

from agent.errors import SpoolDamaged, SpoolError
from tests.spine.test_spool import TOKEN, some_bytes

if TYPE_CHECKING:
    from agent.spool import Spool
    from agent.spool.leaving import KeptReader


def rest(reader: KeptReader, room: int = 300_000) -> bytes:
    found, space = bytearray(), memoryview(bytearray(room))
    while count := reader.read(space):
        found += space[:count]
    return bytes(found)


@pytest.mark.parametrize("cold", ["warm", "half", "unsaid", "nothing"])
async def test_the_bytes_are_those_of_the_file(spool: Spool, monkeypatch: pytest.MonkeyPatch, cold: str) -> None:
    data = some_bytes(20_000_000)
    digest, _ = await spool.press(TOKEN, [data])
    if cold == "half":
        with spool.path(digest.sha256).open("rb") as file:
            os.posix_fadvise(file.fileno(), 9_000_000, 0, os.POSIX_FADV_DONTNEED)
    true = os.preadv
    if cold in {"unsaid", "nothing"}:  # a file system that knows no RWF_NOWAIT; a kernel that says 0 (5.9, 5.10)

        def preadv(fd: int, rooms: list[memoryview], offset: int, flags: int = 0) -> int:
            if flags and cold == "nothing":
                return 0
            if flags:
                raise OSError(95, "not supported")
            return true(fd, rooms, offset)

        monkeypatch.setattr(os, "preadv", preadv)
    for offset, length in ((0, len(data)), (1, 1), (5, 19_000_000), (77, 0)):
        async with spool.leaving(digest.sha256, offset, length) as reader:
            assert await asyncio.to_thread(rest, reader) == data[offset : offset + length]


async def test_a_file_that_is_missing_or_short_is_damage_and_a_disk_that_fails_is_not(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, _ = await spool.press(TOKEN, [some_bytes(1_000_000)])
    async with spool.leaving(digest.sha256, 0, 1_000_001) as reader:
        with pytest.raises(SpoolDamaged, match="ends at 1000000, before 1000001"):
            await asyncio.to_thread(rest, reader)
    async with spool.leaving(bytes(32), 0, 1) as reader:
        with pytest.raises(SpoolDamaged, match="missing"):
            await asyncio.to_thread(rest, reader)

    def failing(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", failing)
    async with spool.leaving(digest.sha256, 0, 1_000_000) as reader:
        with pytest.raises(SpoolError):
            await asyncio.to_thread(rest, reader)


async def test_a_descriptor_is_closed_behind_the_last_read(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that hangs in the disk must not read another's file once the request was given up."""
    digest, _ = await spool.press(TOKEN, [some_bytes(1_000_000)])
    going, goes = threading.Event(), threading.Event()
    told: list[str] = []
    true_read, true_close = os.preadv, os.close

    def slow(fd: int, rooms: list[memoryview], offset: int, flags: int = 0) -> int:
        going.set()
        goes.wait(10)
        told.append("read")
        return true_read(fd, rooms, offset, flags)

    def close(fd: int) -> None:
        told.append("closed")
        true_close(fd)

    monkeypatch.setattr(os, "preadv", slow)
    monkeypatch.setattr(os, "close", close)
    room = memoryview(bytearray(1000))
    async with spool.leaving(digest.sha256, 0, 1_000_000) as reader:
        reading = asyncio.create_task(asyncio.to_thread(reader.read, room))
        await asyncio.to_thread(going.wait, 10)
    goes.set()
    assert await reading == 1000
    await asyncio.to_thread(spool._workers.shutdown)
    assert told == ["read", "closed"]
    with pytest.raises(SpoolDamaged):
        reader.read(room)
