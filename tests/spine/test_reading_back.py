"""What the disk gives back before a capture is promised, and what it costs others."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import pytest

from agent import durable
from agent.errors import SpoolDamaged
from agent.spool import Spool, store
from agent.spool.reading_back import FORGOTTEN_EVERY, read_through
from agent.spool.store import _PROVERS
from agent.testing.devices import some_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.capture import Digest

LONG, SHORT = bytes(16), bytes([1] * 16)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=True, boot_id="boot-1")
    yield spool
    spool.close()


async def kept_long(spool: Spool, data: bytes, token: bytes = LONG) -> Digest:
    """A capture that went through a stage file."""
    stage = spool.stage(token, {"length": len(data)})
    stage.write(data)
    stage.hasher.feed(data)
    return (await spool.keep(stage))[0]


async def test_a_long_capture_that_the_disk_gives_back_otherwise_is_set_aside(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced = durable.force

    def force(fd: int) -> None:
        forced(fd)
        os.pwrite(fd, b"?", 3)

    data = some_bytes(3 << 20)
    stage = spool.stage(LONG, {"length": len(data)})
    stage.write(data)
    stage.hasher.feed(data)
    monkeypatch.setattr(durable, "force", force)
    with pytest.raises(SpoolDamaged, match="gave back other bytes"):
        await spool.keep(stage)
    assert [path.name for path in (spool.root / "kept").iterdir()] == []
    assert (spool.root / "stage" / f"{LONG.hex()}.doubtful").exists()


async def test_whoever_is_read_back_for_long_keeps_no_other_from_its_promise(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_back, under_way, gate = store.read_back, threading.Event(), threading.Event()

    def slow(fd: int, digest: Digest) -> None:
        under_way.set()
        assert gate.wait(60)
        read_back(fd, digest)

    monkeypatch.setattr(store, "read_back", slow)
    long = asyncio.create_task(kept_long(spool, some_bytes(3 << 20)))
    await asyncio.to_thread(under_way.wait, 60)
    short, _ = await spool.press(SHORT, [b"a plate"])
    assert spool.length(short.sha256) == 7
    assert not long.done()
    gate.set()
    assert spool.length((await long).sha256) == 3 << 20


async def test_as_many_as_there_are_threads_keep_no_other_from_its_promise(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(store, "read_back", lambda *_: gate.wait(60))
    tokens = [bytes([2 + number] * 16) for number in range(3 * _PROVERS)]
    long = [asyncio.create_task(kept_long(spool, token * 100, token)) for token in tokens]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        short, _ = await spool.press(SHORT, [b"a plate"])
    assert spool.length(short.sha256) == 7
    assert not any(one.done() for one in long)
    gate.set()
    assert len(set(await asyncio.gather(*long))) == len(tokens)


async def test_whoever_gives_up_while_it_is_named_is_not_taken_again_before_that_is_done(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, naming, gate = some_bytes(3 << 20), threading.Event(), threading.Event()
    moved = durable.move

    def slow(name: str, from_fd: int, new_name: str, to_fd: int) -> None:
        naming.set()
        assert gate.wait(60)
        moved(name, from_fd, new_name, to_fd)

    monkeypatch.setattr(durable, "move", slow)
    long = asyncio.create_task(kept_long(spool, data))
    await asyncio.to_thread(naming.wait, 60)
    long.cancel()
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.2, gate.set)
    with pytest.raises(asyncio.CancelledError):
        await long
    assert (await kept_long(spool, data)).length == len(data)
    assert [path.name for path in (spool.root / "stage").iterdir()] == []


async def test_whoever_gives_up_meanwhile_leaves_the_file_open_for_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "another", watermark=0, read_back=True, boot_id="boot-1")
    under_way, gate, seen = threading.Event(), threading.Event(), list[int]()

    def slow(fd: int, digest: Digest) -> None:
        under_way.set()
        assert gate.wait(60)
        seen.append(os.fstat(fd).st_size)
        seen.append(fd)

    monkeypatch.setattr(store, "read_back", slow)
    long = asyncio.create_task(kept_long(spool, some_bytes(3 << 20)))
    await asyncio.to_thread(under_way.wait, 60)
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    gate.set()
    spool.close()
    assert seen[0] == 3 << 20
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(seen[1])
    again = Spool(tmp_path / "another", watermark=0, read_back=True, boot_id="boot-1")
    stage = again.stage(LONG, {"length": 3 << 20})
    assert stage.offset == 3 << 20, "what had arrived was given up"
    monkeypatch.undo()
    assert again.length((await again.keep(stage))[0].sha256) == 3 << 20
    again.close()


async def test_what_is_found_wrong_after_whoever_waited_gave_up_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "another", watermark=0, read_back=True, boot_id="boot-1")
    under_way, gate = threading.Event(), threading.Event()

    def slow(fd: int, digest: Digest) -> None:
        under_way.set()
        assert gate.wait(60)
        raise SpoolDamaged("other bytes")

    monkeypatch.setattr(store, "read_back", slow)
    long = asyncio.create_task(kept_long(spool, some_bytes(3 << 20)))
    await asyncio.to_thread(under_way.wait, 60)
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    gate.set()
    await asyncio.to_thread(spool._provers.shutdown)
    assert (spool.root / "stage" / f"{LONG.hex()}.doubtful").exists()
    spool.close()


async def test_what_is_found_wrong_later_says_nothing_of_another_file_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "another", watermark=0, read_back=True, boot_id="boot-1")
    under_way, gate = threading.Event(), threading.Event()

    def slow(fd: int, digest: Digest) -> None:
        under_way.set()
        assert gate.wait(60)
        raise SpoolDamaged("other bytes")

    monkeypatch.setattr(store, "read_back", slow)
    long = asyncio.create_task(kept_long(spool, some_bytes(3 << 20)))
    await asyncio.to_thread(under_way.wait, 60)
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    spool.aside.seal(LONG.hex())  # its device gives something else now
    spool.stage(LONG, {"length": 5}).close()
    gate.set()
    await asyncio.to_thread(spool._provers.shutdown)
    assert spool.begun(LONG)
    spool.close()


def test_what_was_read_of_a_long_file_is_forgotten(tmp_path: Path) -> None:
    path, data = tmp_path / "long", some_bytes(2 * FORGOTTEN_EVERY + 12345)
    path.write_bytes(data)
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    room = bytearray(1)

    def in_memory(offset: int) -> bool:
        try:
            return os.preadv(fd, [room], offset, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False

    durable.drop_cache(fd)
    if in_memory(0):
        pytest.skip("this file system forgets nothing")
    assert b"".join(read_through(fd)) == data
    assert not in_memory(0)
    assert in_memory(len(data) - 1), "what is short, or the end of it, is there for whoever sends it next"
    os.close(fd)
