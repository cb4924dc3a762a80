"""Continuing what an earlier run copied: exactly where it stopped, and no further than what can be believed."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from agent.spool import Hasher, Spool, stage
from agent.testing.devices import some_bytes

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = bytes(range(16))
NAME = TOKEN.hex()
ABOUT = {"length": 1000, "origin": {"key": "a"}}
DATA = some_bytes(1000)


@pytest.fixture
def small_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "MARK_EVERY", 100)


def copy(spool: Spool, upto: int, *, marks: bool = True) -> None:
    """A copy that ends without a word after `upto` bytes."""
    going = spool.stage(TOKEN, ABOUT)
    while going.offset < upto:
        block = DATA[going.offset : min(going.offset + 50, upto)]
        going.absorb(block)
        going.hasher.whole(block)
        while marks and going.due:
            going.mark(*going.due.popleft())
    going.close()


def again(spool: Spool, boot_id: str = "boot-1") -> Spool:
    spool.close()
    return Spool(spool.root, watermark=0, read_back=False, boot_id=boot_id)


@pytest.mark.parametrize("upto", [0, 1, 99, 100, 101, 550, 1000])
async def test_after_a_killed_process_the_copy_continues_at_the_exact_length(
    tmp_path: Path, small_marks: None, upto: int
) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, upto)
    spool = again(spool)
    going = spool.stage(TOKEN, ABOUT)
    assert going.offset == upto
    going.write(DATA[upto:])
    going.hasher.feed(DATA[upto:])
    whole = Hasher()
    whole.feed(DATA)
    assert await spool.keep(going) == whole.finish()
    spool.close()


@pytest.mark.parametrize(("upto", "believed"), [(99, 0), (150, 100), (550, 500)])
def test_bytes_that_only_memory_had_are_not_continued(
    tmp_path: Path, small_marks: None, monkeypatch: pytest.MonkeyPatch, upto: int, believed: int
) -> None:
    """A write failed, and the kernel takes it for done: the disk gives back something else once memory forgets."""
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, upto)
    spool = again(spool)
    path = spool.root / "stage" / NAME

    def forget(fd: int, *_: int) -> None:
        if os.fstat(fd).st_ino == path.stat().st_ino:
            os.pwrite(fd, b"\0", upto - 1)

    monkeypatch.setattr(stage.durable, "drop_cache", forget)
    going = spool.stage(TOKEN, ABOUT)
    assert going.offset == believed == path.stat().st_size
    going.close()
    spool.close()


def test_a_stage_whose_bytes_cannot_be_forced_is_not_continued(
    tmp_path: Path, small_marks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, 150)
    spool = again(spool)

    def fail(_: int) -> None:
        raise stage.durable.ForceFailed(errno.EIO, "Input/output error")

    monkeypatch.setattr(stage.durable, "force", fail)
    with pytest.raises(stage.durable.ForceFailed):
        spool.stage(TOKEN, ABOUT)
    spool.close()


@pytest.mark.parametrize(("upto", "believed"), [(0, 0), (99, 0), (150, 100), (550, 500), (1000, 1000)])
def test_after_a_power_cut_only_what_was_marked_is_believed(
    tmp_path: Path, small_marks: None, upto: int, believed: int
) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, upto)
    spool = again(spool, "boot-2")
    going = spool.stage(TOKEN, ABOUT)
    assert going.offset == believed == (spool.root / "stage" / NAME).stat().st_size
    going.close()
    spool.close()


@pytest.mark.parametrize("boot_id", ["boot-1", "boot-2"])
def test_a_mark_whose_bytes_are_others_is_not_believed(tmp_path: Path, small_marks: None, boot_id: str) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, 550)
    with (spool.root / "stage" / NAME).open("r+b") as file:
        file.seek(320)
        file.write(b"\0\0\0\0")
    spool = again(spool, boot_id)
    going = spool.stage(TOKEN, ABOUT)
    assert going.offset == 300
    going.close()
    spool.close()


def test_a_file_shorter_than_its_marks_is_believed_as_far_as_it_goes(tmp_path: Path, small_marks: None) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, 550)
    os.truncate(spool.root / "stage" / NAME, 250)
    spool = again(spool, "boot-2")
    going = spool.stage(TOKEN, ABOUT)
    assert going.offset == 200
    going.close()
    spool.close()


@pytest.mark.parametrize("tail", [b"mark 500 ", b"mark 1000 00", b"mark x y\n", b"\xff\xfe\n", b"mark 0500\n"])
def test_a_torn_mark_is_no_mark(tmp_path: Path, small_marks: None, tail: bytes) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, 250)
    with (spool.root / "stage" / f"{NAME}.about").open("ab") as file:
        file.write(tail)
    spool = again(spool, "boot-2")
    going = spool.stage(TOKEN, ABOUT)
    assert going.offset == 200
    going.close()
    spool.close()


def test_marks_after_a_resume_are_marks_of_the_whole(tmp_path: Path, small_marks: None) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, 250)
    spool = again(spool, "boot-2")
    copy(spool, 600)
    spool = again(spool, "boot-3")
    going = spool.stage(TOKEN, ABOUT)
    assert going.offset == 600
    assert going.hasher.fast_so_far() == blake3(DATA[:600]).digest()
    going.close()
    spool.close()


def test_a_second_start_after_a_power_cut_does_not_go_back_once_more(tmp_path: Path, small_marks: None) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, 250)
    spool = again(spool, "boot-2")
    copy(spool, 290)
    spool = again(spool, "boot-2")
    going = spool.stage(TOKEN, ABOUT)
    assert going.offset == 290
    going.close()
    spool = again(spool, "boot-3")
    going = spool.stage(TOKEN, ABOUT)
    assert going.offset == 200  # a power cut is one again
    going.close()
    spool.close()


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_torn_description_beside_bytes_makes_a_part_and_a_fresh_start(tmp_path: Path, cut: int) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, 300)
    os.truncate(spool.root / "stage" / f"{NAME}.about", cut)
    spool = again(spool)
    assert [(one.name, one.continuable) for one in spool.leftovers()] == [(NAME, False)]
    assert spool.aside.seal(NAME).about is None
    assert spool.stage(TOKEN, ABOUT).offset == 0
    spool.close()


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_torn_description_alone_is_in_nobodys_way(tmp_path: Path, cut: int) -> None:
    """Killed between the description and the file: there are no bytes, so there is nothing to set aside."""
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, 0)
    (spool.root / "stage" / NAME).unlink()
    os.truncate(spool.root / "stage" / f"{NAME}.about", cut)
    spool = again(spool)
    assert spool.stage(TOKEN, ABOUT).offset == 0
    spool.close()


def test_a_description_of_something_else_alone_is_in_nobodys_way(tmp_path: Path) -> None:
    """Killed between the final name and the end of the description; then the device offers it with another length."""
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, 0)
    (spool.root / "stage" / NAME).unlink()
    spool = again(spool)
    assert spool.stage(TOKEN, {**ABOUT, "length": 2000}).offset == 0
    spool.close()


def test_bytes_of_another_capture_under_this_name_must_go_aside_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, 300)
    other = {**ABOUT, "length": 2000}
    with pytest.raises(FileExistsError):
        spool.stage(TOKEN, other)
    spool.aside.seal(NAME)
    assert spool.stage(TOKEN, other).offset == 0
    spool.close()


def test_a_doubtful_file_is_written_anew_before_it_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk has nothing of it, whatever memory says: what can be read now is written, and then forced."""
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    (path := spool.root / "stage" / f"{NAME}-0.doubtful").write_bytes(DATA)
    written = bytearray()
    true_write, true_force = stage.durable.write_all, stage.durable.force

    def write_all(fd: int, data: bytes, offset: int) -> None:
        written.extend(data)
        true_write(fd, data, offset)

    def force(fd: int) -> None:
        if os.fstat(fd).st_ino == inode:
            assert written == DATA
        true_force(fd)

    inode = path.stat().st_ino
    monkeypatch.setattr(stage.durable, "write_all", write_all)
    monkeypatch.setattr(stage.durable, "force", force)
    part = spool.aside.seal(path.name)
    assert (spool.root / "parts" / part.digest.sha256.hex()).read_bytes() == written == DATA
    spool.close()


def test_a_doubtful_file_is_never_continued(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    copy(spool, 300)
    spool.doubt(NAME)
    assert [(one.name, one.continuable) for one in spool.leftovers()] == [(f"{NAME}.doubtful", False)]
    part = spool.aside.seal(f"{NAME}.doubtful")
    assert part.about is not None
    assert os.listdir(spool.root / "stage") == []  # noqa: PTH208
    spool.close()
