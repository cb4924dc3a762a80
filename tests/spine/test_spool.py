"""stage/ -> kept/: what comes to lie where, and what the disk can do to it."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent import durable
from agent.capture import PART_LENGTH
from agent.errors import SpoolDamaged, SpoolFull
from agent.spool import Spool, departing, sealer, store
from agent.testing.devices import some_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

TOKEN = bytes(range(16))
NAME = TOKEN.hex()
ABOUT = {"length": 10, "origin": {"key": "a"}}


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def names(spool: Spool, folder: str) -> list[str]:
    return sorted(path.name for path in (spool.root / folder).iterdir())


@pytest.mark.parametrize("length", [0, 1, 4096, 1_000_001])
async def test_a_pressed_capture_lies_under_its_digest(spool: Spool, length: int) -> None:
    data = some_bytes(length)
    digest, parts = await spool.press(TOKEN, [data])
    assert digest.sha256 == sha256(data)
    assert not parts
    assert spool.path(digest.sha256).read_bytes() == data
    assert spool.length(digest.sha256) == length
    assert names(spool, "stage") == []


async def test_a_hundred_at_once_share_the_forcing_of_folders(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    forced = []
    monkeypatch.setattr(durable, "force_folder", lambda fd: forced.append(fd) or os.fsync(fd))
    pressed = await asyncio.gather(*(spool.press(TOKEN, [some_bytes(100, number)]) for number in range(100)))
    assert {digest.sha256.hex() for digest, _ in pressed} == set(names(spool, "kept"))
    assert len(forced) < 100


async def test_the_same_bytes_twice_at_once_are_one_file(spool: Spool) -> None:
    await asyncio.gather(*(spool.press(bytes([number] * 16), [b"same"]) for number in range(5)))
    assert names(spool, "kept") == [sha256(b"same").hex()]
    assert names(spool, "stage") == []


async def test_a_staged_capture_gets_its_name_when_it_is_complete(spool: Spool) -> None:
    data = some_bytes(3 * PART_LENGTH // 2)
    stage = spool.stage(TOKEN, ABOUT)
    assert names(spool, "stage") == [NAME, f"{NAME}.about"]
    for at in range(0, len(data), 1 << 20):
        stage.write(data[at : at + (1 << 20)])
        stage.hasher.feed(data[at : at + (1 << 20)])
    assert stage.offset == len(data) == (spool.root / "stage" / NAME).stat().st_size
    digest, parts = await spool.keep(stage)
    assert digest.sha256 == sha256(data)
    assert parts.through == sha256(data[:PART_LENGTH]) + digest.sha256
    assert names(spool, "stage") == []
    assert names(spool, "kept") == [digest.sha256.hex()]


async def test_blocks_on_the_way_out_are_the_bytes_from_any_offset(spool: Spool) -> None:
    data = some_bytes(5_000_000)
    digest, _ = await spool.press(TOKEN, [data])
    for offset, length in ((0, len(data)), (1, 1), (4_999_999, 1), (2_100_000, 2_500_000), (77, 0)):
        blocks = [block async for block in spool.blocks(digest.sha256, offset, length)]
        assert b"".join(blocks) == data[offset : offset + length]
        assert all(len(block) <= 512 * 1024 for block in blocks)
    assert spool.sha256_of_first(digest.sha256, 1_234_567) == sha256(data[:1_234_567])
    assert spool.sha256_now(digest.sha256) == digest.sha256


async def test_what_lies_in_memory_is_taken_from_there_and_the_rest_by_a_thread(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = some_bytes(5_000_000)
    digest, _ = await spool.press(TOKEN, [data])
    fd = os.open(spool.path(digest.sha256), os.O_RDONLY)
    if not departing._in_memory(fd, memoryview(bytearray(1)), 0):
        pytest.skip("this file system does not say what lies in memory: ext4, xfs and btrfs do")
    visits: list[str] = []
    submit = spool._workers.submit

    def counted(act: Callable[..., object], *words: object) -> Future[object]:
        visits.append(getattr(act, "__name__", "open"))
        return submit(act, *words)

    monkeypatch.setattr(spool._workers, "submit", counted)
    assert b"".join([block async for block in spool.blocks(digest.sha256, 5, 4_500_000)]) == data[5:4_500_005]
    assert visits == ["open"]
    for _ in range(100):  # the kernel keeps what it is at with a page just now
        os.posix_fadvise(fd, 2_000_000, 0, os.POSIX_FADV_DONTNEED)
        if not departing._in_memory(fd, memoryview(bytearray(1)), 4_000_000):
            break
        await asyncio.sleep(0.1)
    os.close(fd)
    assert b"".join([block async for block in spool.blocks(digest.sha256, 5, 4_500_000)]) == data[5:4_500_005]
    assert 1 <= visits.count("_several") <= 2


@pytest.mark.parametrize("cold", [False, True])
async def test_others_have_their_turn_while_somebody_reads_who_never_waits(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, *, cold: bool
) -> None:
    if cold:
        monkeypatch.setattr(departing, "_in_memory", lambda *_: b"")
    digest, _ = await spool.press(TOKEN, [some_bytes(20 << 20)])
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    waiting = asyncio.create_task(other())
    seen: set[int] = set()
    async for _ in spool.blocks(digest.sha256, 0, 20 << 20):
        seen.add(turns)
    waiting.cancel()
    assert len(seen) >= 9  # one for each 2 MiB


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("taken", [0, 1, 8, 9])
async def test_a_descriptor_is_closed_once_and_behind_the_last_read(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, taken: int, *, cold: bool
) -> None:
    """Whoever stops reading in the middle, as a link that breaks does, leaves no read behind on another's file."""
    digest, _ = await spool.press(TOKEN, [some_bytes(9_000_000)])
    told: list[tuple[str, int]] = []
    true_read, true_close, true_open = os.pread, os.close, spool._open

    def slow_read(fd: int, length: int, offset: int) -> bytes:
        told.append(("begin", fd))
        time.sleep(0.02)
        try:
            return true_read(fd, length, offset)
        finally:
            told.append(("end", fd))

    def close(fd: int) -> None:
        told.append(("close", fd))
        true_close(fd)

    opened: list[int] = []
    monkeypatch.setattr(spool, "_open", lambda sha256: opened.append(true_open(sha256)) or opened[-1])
    if cold:
        monkeypatch.setattr(departing, "_in_memory", lambda *_: b"")
    monkeypatch.setattr(store.os, "pread", slow_read)
    monkeypatch.setattr(store.os, "close", close)
    for _ in range(20):
        blocks = spool.blocks(digest.sha256, 0, 9_000_000)
        for _ in range(taken):
            await anext(blocks)
        await blocks.aclose()
    reading = asyncio.create_task(anext(spool.blocks(digest.sha256, 0, 9_000_000)))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await asyncio.to_thread(spool._workers.shutdown)
    monkeypatch.undo()
    reads: Counter[int] = Counter()
    for word, fd in told:
        reads[fd] += {"begin": 1, "end": -1}.get(word, 0)
        assert word != "close" or not reads[fd], "closed while a thread read from it"
    assert sorted(fd for word, fd in told if word == "close" and fd in opened) == sorted(opened)


@pytest.mark.parametrize("cold", [False, True])
async def test_a_reader_that_stops_half_way_leaves_no_descriptor_behind(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, *, cold: bool
) -> None:
    if cold:
        monkeypatch.setattr(departing, "_in_memory", lambda *_: b"")
    digest, _ = await spool.press(TOKEN, [some_bytes(5_000_000)])
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(20):
        blocks = spool.blocks(digest.sha256, 0, 5_000_000)
        await anext(blocks)
        await blocks.aclose()
    await asyncio.gather(*(spool.run(int) for _ in range(32)))  # the closing is queued behind the reading
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # noqa: PTH208


async def test_a_kept_file_that_is_gone_or_too_short_is_damage(spool: Spool) -> None:
    digest, _ = await spool.press(TOKEN, [b"0123456789"])
    long, _ = await spool.press(bytes(16), [some_bytes(3_000_000)])
    os.truncate(spool.path(long.sha256), 2_000_001)
    with pytest.raises(SpoolDamaged, match="ends at 2000001, before 3000000"):
        assert [block async for block in spool.blocks(long.sha256, 0, 3_000_000)]
    os.truncate(spool.path(digest.sha256), 4)
    with pytest.raises(SpoolDamaged, match="ends at 4"):
        assert [block async for block in spool.blocks(digest.sha256, 0, 10)]
    with pytest.raises(SpoolDamaged, match="shorter"):
        spool.sha256_of_first(digest.sha256, 10)
    spool.path(digest.sha256).unlink()
    with pytest.raises(SpoolDamaged, match="missing"):
        assert [block async for block in spool.blocks(digest.sha256, 0, 10)]
    assert spool.length(digest.sha256) is None


async def test_short_reads_of_one_moment_are_one_visit_and_fail_each_by_itself(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [await spool.press(TOKEN, [b"%d" % number * 10]) for number in range(20)]
    spool.path(held[3][0].sha256).unlink()
    visits: list[str] = []
    submit = spool._workers.submit

    def counted(act: Callable[..., object], *words: object) -> Future[object]:
        visits.append(act.__name__)
        return submit(act, *words)

    monkeypatch.setattr(spool._workers, "submit", counted)
    true_open = os.open

    def opens(name: str, *words: int, **more: int) -> int:
        if name == held[7][0].sha256.hex():
            raise OSError(errno.EIO, "the disk")
        return true_open(name, *words, **more)

    monkeypatch.setattr(store.os, "open", opens)

    async def read(number: int) -> bytes:
        sha256 = held[number][0].sha256
        return b"".join([block async for block in spool.blocks(sha256, 0, held[number][0].length)])

    reading = [asyncio.create_task(read(number)) for number in range(20)]
    await asyncio.sleep(0)
    reading[5].cancel()
    found = await asyncio.gather(*reading, return_exceptions=True)
    wrong = {3: SpoolDamaged, 5: asyncio.CancelledError, 7: SpoolDamaged}
    for number, one in enumerate(found):
        assert wrong.get(number, bytes) is type(one), (number, one)
        assert number != 7 or "the disk" in str(one)
        assert number in wrong or one == b"%d" % number * 10
    assert visits == ["_visit"] * 2, "sixteen, and the rest"


# --- what the disk does ----------------------------------------------------------------------------------------------


async def test_a_disk_that_gives_back_other_bytes_is_found_by_reading_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=True, boot_id="boot-1")
    true_force = durable.force

    def force(fd: int) -> None:
        true_force(fd)
        if os.path.isfile(f"/proc/self/fd/{fd}"):  # noqa: PTH113
            os.pwrite(fd, b"?", 3)

    monkeypatch.setattr(durable, "force", force)
    with pytest.raises(SpoolDamaged, match="gave back other bytes"):
        await spool.press(TOKEN, [b"0123456789"])
    assert names(spool, "kept") == []
    assert names(spool, "stage") == [f"{NAME}-0.doubtful"]
    monkeypatch.undo()
    digest, _ = await spool.press(TOKEN, [b"0123456789"])
    assert names(spool, "kept") == [digest.sha256.hex()]
    spool.close()


async def test_a_failed_force_is_never_tried_again_and_the_file_is_set_aside(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def force(fd: int) -> None:
        calls.append(fd)
        raise durable.ForceFailed(errno.EIO, "input/output error")

    monkeypatch.setattr(sealer.durable, "force", force)
    with pytest.raises(SpoolDamaged):
        await spool.press(TOKEN, [b"abc"])
    assert len(calls) == 2  # the file once, and a folder
    assert names(spool, "stage") == [f"{NAME}-0.doubtful"]
    stage_about = {"length": 3}
    monkeypatch.undo()
    stage = spool.stage(TOKEN, stage_about)
    stage.write(b"abc")
    stage.hasher.feed(b"abc")
    monkeypatch.setattr(sealer.durable, "force", force)
    with pytest.raises(SpoolDamaged):
        await spool.keep(stage)
    assert names(spool, "kept") == []
    assert [leftover.continuable for leftover in spool.leftovers()] == [False, False]


async def pressed_together(spool: Spool, count: int = 40) -> list[object]:
    """What came of captures of which most wait while the first one is sealed."""
    gate, seal_all, put, came = threading.Event(), spool._sealer._seal_all, spool._sealer.put, list[object]()

    def counted(*told: object) -> None:
        put(*told)  # type: ignore[arg-type]
        came.append(told)

    def later(batch: list[sealer._Item]) -> None:
        gate.wait(10)
        seal_all(batch)

    spool._sealer._seal_all, spool._sealer.put = later, counted
    pressing = [asyncio.ensure_future(spool.press(TOKEN, [some_bytes(100, number)])) for number in range(count)]
    while len(came) < count:  # noqa: ASYNC110 - threads tell nobody
        await asyncio.sleep(0.01)
    gate.set()
    return await asyncio.gather(*pressing, return_exceptions=True)


async def test_many_small_captures_are_forced_with_their_file_system(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not spool._sealer._forces_all:
        pytest.skip("this file system is forced file by file")
    one, whole = [], []
    true_force, true_all = durable.force, durable.force_all
    monkeypatch.setattr(durable, "force", lambda fd: (one.append(fd), true_force(fd))[1])
    monkeypatch.setattr(durable, "force_all", lambda fd: (whole.append(fd), true_all(fd))[1])
    pressed = await pressed_together(spool)
    assert {digest.sha256.hex() for digest, _ in pressed} == set(names(spool, "kept"))
    assert whole
    assert len(one) < 30  # the first batch may have been small; two folders each


async def test_where_that_fails_nothing_of_it_is_promised(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def force_all(fd: int) -> None:
        calls.append(fd)
        raise durable.ForceFailed(errno.EIO, "input/output error")

    spool._sealer._forces_all = True
    monkeypatch.setattr(durable, "force_all", force_all)
    found = await pressed_together(spool)
    failed = [one for one in found if isinstance(one, SpoolDamaged)]
    assert calls
    assert len(failed) >= 4
    assert len(names(spool, "kept")) == len(found) - len(failed)
    assert [name.endswith(".doubtful") for name in names(spool, "stage")] == [True] * len(failed)


async def test_a_file_system_that_stopped_itself_promises_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only file system")

    spool._sealer._forces_all = True
    monkeypatch.setattr(durable, "force_all", lambda _: None)  # as the kernel does then
    monkeypatch.setattr(durable, "move", move)
    assert all(isinstance(one, SpoolDamaged) for one in await pressed_together(spool))
    assert names(spool, "kept") == []


async def test_no_room_while_writing_leaves_nothing_of_a_small_capture(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes, offset: int) -> None:
        os.pwrite(fd, data[:5], offset)
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(durable, "write_all", full)
    with pytest.raises(SpoolFull):
        await spool.press(TOKEN, [b"0123456789"])
    assert names(spool, "stage") == names(spool, "kept") == []


def test_no_room_while_appending_cuts_back_to_the_last_whole_block(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = spool.stage(TOKEN, ABOUT)
    stage.write(b"01234")

    def full(fd: int, data: bytes, offset: int) -> None:
        os.pwrite(fd, data[:2], offset)
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(durable, "write_all", full)
    with pytest.raises(OSError, match="no space"):
        stage.write(b"56789")
    assert stage.offset == 5
    stage.close()
    assert (spool.root / "stage" / NAME).read_bytes() == b"01234"


def test_the_watermark_is_left_free(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    free = spool.room().free
    spool.close()
    spool = Spool(tmp_path / "spool", watermark=free // 2, read_back=False, boot_id="boot-1")
    spool.require(free // 4)
    with pytest.raises(SpoolFull, match="watermark"):
        spool.require(free)
    spool.close()


def test_reserving_room_does_not_move_the_offset(spool: Spool) -> None:
    stage = spool.stage(TOKEN, ABOUT)
    stage.reserve(1 << 20)
    assert (spool.root / "stage" / NAME).stat().st_size == 0 == stage.offset
    stage.close()
    with pytest.raises(OSError, match=r"No space|too large"):
        spool.stage(TOKEN, ABOUT).reserve(1 << 52)


# --- aside ------------------------------------------------------------------------------------------------------------


def test_a_part_is_kept_under_its_digest_with_its_description(spool: Spool) -> None:
    stage = spool.stage(TOKEN, ABOUT)
    stage.write(b"what arrived")
    stage.close()
    part = spool.aside.seal(NAME)
    assert part.digest.sha256 == sha256(b"what arrived")
    assert part.about == b'{"length":10,"origin":{"key":"a"}}'
    assert names(spool, "stage") == []
    assert (spool.root / "parts" / sha256(b"what arrived").hex()).read_bytes() == b"what arrived"


async def test_a_kept_file_that_is_not_its_name_goes_aside_under_its_own(spool: Spool) -> None:
    digest, _ = await spool.press(TOKEN, [b"0123456789"])
    spool.path(digest.sha256).write_bytes(b"other")
    assert spool.set_kept_aside(digest.sha256).digest.sha256 == sha256(b"other")
    assert names(spool, "parts") == [sha256(b"other").hex()]
    assert names(spool, "kept") == []


async def test_evicting_is_durable_and_may_be_repeated(spool: Spool) -> None:
    digest, _ = await spool.press(TOKEN, [b"abc"])
    spool.evict(digest.sha256)
    spool.evict(digest.sha256)
    assert names(spool, "kept") == []


async def test_hashing_never_runs_on_the_event_loop(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    monkeypatch.setattr(spool, "_write_small", _noting(seen, spool._write_small))
    await spool.press(TOKEN, [b"abc"])
    assert threading.get_ident() not in seen


def _noting(seen: set[int], act: str) -> Callable[..., object]:
    def noted(*arguments: object) -> object:
        seen.add(threading.get_ident())
        return act(*arguments)

    return noted


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - for the number alone


async def test_who_is_cancelled_while_it_presses_leaves_whole_files_and_no_descriptor(tmp_path: Path) -> None:
    before = open_files()
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="b")
    pressing = [asyncio.create_task(spool.press(bytes([n] * 16), [some_bytes(100, n)])) for n in range(50)]
    await asyncio.sleep(0)
    for task in pressing:
        task.cancel()
    await asyncio.gather(*pressing, return_exceptions=True)
    spool.close()
    assert names(spool, "stage") == []
    assert set(names(spool, "kept")) == {sha256(some_bytes(100, n)).hex() for n in range(50)}
    assert open_files() <= before


async def test_what_a_thread_could_not_write_is_raised_where_it_is_pressed(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes, offset: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable, "write_all", full)
    with pytest.raises(SpoolFull):
        await spool.press(TOKEN, [b"data"])
    assert names(spool, "stage") == []


def test_a_root_that_an_earlier_try_made_and_could_not_force_is_forced_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[str] = []
    fails = 2

    def force(fd: int) -> None:
        nonlocal fails
        if fails and (tmp_path / "state").is_dir():
            fails -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        forced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))

    monkeypatch.setattr(durable, "force_folder", force)
    root = tmp_path / "state" / "spool"
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output"):
            durable.make_folder(root)
        assert (tmp_path / "state").is_dir()
        assert not root.exists()
    forced.clear()
    durable.make_folder(root)
    assert str(tmp_path) in forced
    assert forced[-1] == str(tmp_path / "state")
    forced.clear()
    (tmp_path / "by-link").symlink_to(tmp_path / "state")
    durable.make_folder(tmp_path / "by-link" / "spool")
    assert forced[:2] == [str(tmp_path / "state"), str(tmp_path)]
