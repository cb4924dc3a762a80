"""A file that threads work on is nobody's once it is closed, and is closed after the last of them."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import pytest

from agent.opened import opening

if TYPE_CHECKING:
    from pathlib import Path


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


async def test_what_a_thread_opens_for_a_task_that_was_cancelled_is_closed(tmp_path: Path) -> None:
    begun, may_open, found = threading.Event(), threading.Event(), list[int]()
    (tmp_path / "file").touch()

    def slow() -> int:
        begun.set()
        may_open.wait(60)
        found.append(os.open(tmp_path / "file", os.O_RDONLY))
        return found[0]

    async def work() -> None:
        async with opening(slow):
            raise AssertionError

    task = asyncio.create_task(work())
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    await asyncio.sleep(0.05)
    may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_open(found[0])


async def test_it_is_not_closed_under_a_thread_that_writes(tmp_path: Path) -> None:
    """A file that was opened meanwhile could have got its descriptor, and would be written instead."""
    begun, may_write, was_open = threading.Event(), threading.Event(), list[bool]()

    def write(fd: int, data: bytes) -> None:
        begun.set()
        may_write.wait(60)
        was_open.append(is_open(fd))
        os.pwrite(fd, data, 0)

    async def work() -> None:
        async with opening(lambda: os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o600)) as file:
            await file.run(write, b"whole")

    task = asyncio.create_task(work())
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    await asyncio.sleep(0.05)
    may_write.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert was_open == [True]
    assert (tmp_path / "file").read_bytes() == b"whole"


async def test_who_hangs_keeps_nobody_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.opened.CLOSE_SECONDS", 0.05)
    begun, lets_go = threading.Event(), threading.Event()

    def hang(fd: int) -> int:
        begun.set()
        lets_go.wait(60)
        return fd

    async def work() -> None:
        async with opening(lambda: os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o600)) as file:
            await file.run(hang)

    task = asyncio.create_task(work())
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    lets_go.set()


async def test_what_it_raises_is_told_and_what_was_opened_is_closed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with opening(lambda: os.open(tmp_path / "nothing", os.O_RDONLY)):
            pass
    found = list[int]()

    def failing(fd: int) -> None:
        found.append(fd)
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        async with opening(lambda: os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o600)) as file:
            await file.run(failing)
    assert not is_open(found[0])
