"""What is on the disk when: time running out, disks that fail, starts after a crash, and many uploads at once."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

import pytest

from agent import durable
from agent.testing.dems import EmulatedDems
from tests.dems.client import sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.dems.client import Client, ClientOf


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_an_upload_waits_from_its_last_part_on(tmp_path: Path, client_of: ClientOf) -> None:
    clock = Clock()
    async with EmulatedDems(tmp_path / "d", clock=clock, expires_after=100) as dems:
        tus = client_of(dems)
        one = sample(b"abc")
        url = await tus.create(one)
        clock.now += 90
        assert (await tus.patch(url, 0, b"a")).headers["Upload-Expires"] == "Fri, 15 Jan 2027 08:03:10 GMT"
        clock.now += 90
        assert (await tus.patch(url, 1, b"b")).status == 204
        clock.now += 101
        answer = await tus.head(url)
        assert (answer.status, "Upload-Offset" in answer.headers) == (410, False)
        assert (await tus.ask("DELETE", url)).status == 410
        assert (await tus.patch(url, 2, b"c")).status == 410
        again = await tus.create(one)
        clock.now += 101
        third = await tus.create(one)  # nobody looked at the second in between
        assert len({url, again, third}) == 3
        assert [entry.state for entry in await dems.index()] == ["expired", "expired", "open"]


async def test_what_nobody_looks_at_expires_too_and_stored_evidence_never(tmp_path: Path, client_of: ClientOf) -> None:
    clock = Clock()
    async with EmulatedDems(tmp_path / "d", clock=clock, expires_after=100) as dems:
        tus = client_of(dems)
        await tus.create(sample(b"abc"))
        stored = sample(b"def")
        await tus.post(stored, data=stored.data)
        clock.now += 1e6
        await dems.core.sweep()
        assert [entry.state for entry in await dems.index()] == ["expired", "stored"]
        assert [path.read_bytes() for path in (tmp_path / "d" / "files").iterdir()] == [b"def"]


async def test_a_start_removes_what_was_never_answered(tmp_path: Path, client_of: ClientOf) -> None:
    async with EmulatedDems(tmp_path / "d") as dems:
        one = sample(b"abc")
        await client_of(dems).post(one, data=one.data)
    (tmp_path / "d" / "files" / ("0" * 32)).write_bytes(b"left over")
    async with EmulatedDems(tmp_path / "d") as dems:
        assert [entry.state for entry in await dems.index()] == ["stored"]
        assert len(list((tmp_path / "d" / "files").iterdir())) == 1


async def test_the_offset_is_the_committed_one_and_not_the_files_length(tmp_path: Path, client_of: ClientOf) -> None:
    one = sample(b"abcdef")
    async with EmulatedDems(tmp_path / "d") as dems:
        url = await client_of(dems).create(one)
        await client_of(dems).patch(url, 0, b"abc")
        [entry] = await dems.index()
        dems.stored(entry).write_bytes(b"abcXX")  # a part that was being written when the power went
    async with EmulatedDems(tmp_path / "d") as dems:
        tus = client_of(dems)
        assert (await tus.head(url)).offset == 3
        assert one.sha256.hex().encode() in (await tus.patch(url, 3, b"def")).note


@pytest.mark.parametrize("state", ["open", "stored"])
async def test_no_room(tus: Client, dems: EmulatedDems, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    one = sample(b"abcdef")
    url = await tus.create(one) if state == "open" else None

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", full)
        answer = await (tus.patch(url, 0, b"abc") if url else tus.post(one, data=one.data))
        assert answer.status == 507
        assert len(list((dems.options.folder / "files").iterdir())) == len(await dems.index())
    assert (await tus.post(one, data=one.data)).status == 201
    assert [entry.state for entry in await dems.index()] == [state]
    if url:
        assert (await tus.patch(url, 0, one.data)).note


async def test_a_file_that_could_not_be_forced_is_set_aside(
    tus: Client, dems: EmulatedDems, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sample(b"abcdef")
    url = await tus.create(one)

    def failing(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", failing)
        assert (await tus.patch(url, 0, b"abc")).status == 500
    assert (await tus.head(url)).status == 410
    assert (await tus.post(one, data=one.data)).note
    assert [entry.state for entry in await dems.index()] == ["damaged", "stored"]


async def test_a_file_that_is_gone_is_set_aside(tus: Client, dems: EmulatedDems) -> None:
    one = sample(b"abcdef")
    url = await tus.create(one)
    await tus.patch(url, 0, b"abc")
    [entry] = await dems.index()
    dems.stored(entry).unlink()
    assert (await tus.patch(url, 3, b"def")).status == 500
    assert (await tus.head(url)).status == 410
    assert (await tus.post(one, data=one.data)).note


async def test_nothing_is_answered_before_it_is_on_the_disk(
    tus: Client, dems: EmulatedDems, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    force, force_folder, commit = os.fdatasync, durable.force_folder, dems.core.store.record._write_batch
    monkeypatch.setattr(os, "fdatasync", lambda fd: (order.append("file"), force(fd))[1])
    monkeypatch.setattr(durable, "force_folder", lambda fd: (order.append("folder"), force_folder(fd))[1])
    monkeypatch.setattr(
        dems.core.store.record, "_write_batch", lambda batch: (commit(batch), order.append("commit"))[0]
    )
    one = sample(b"abc")
    await tus.post(one, data=one.data)
    order.append("answered")
    assert order == ["file", "folder", "commit", "answered"]


async def test_many_small_captures_share_their_commits(
    tus: Client, dems: EmulatedDems, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = dems.core.store.record
    batches: list[int] = []
    write = record._write_batch
    monkeypatch.setattr(record, "_write_batch", lambda batch: (batches.append(len(batch)), write(batch))[1])
    samples = [sample(os.urandom(2000)) for _ in range(200)]
    answers = await asyncio.gather(*(tus.post(one, data=one.data) for one in samples))
    assert {answer.status for answer in answers} == {201}
    assert sum(batches) == 200
    assert len(batches) < 150
    entries = await dems.index()
    assert {entry.sha256: dems.stored(entry).read_bytes() for entry in entries} == {
        one.sha256.hex(): one.data for one in samples
    }


async def test_a_body_of_unknown_length_that_ends_with_a_stretch(
    tus: Client, dems: EmulatedDems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.testing.dems.receiving._STRETCH", 1 << 16)
    one = sample(os.urandom(1 << 18))
    commits: list[int] = []
    commit = dems.core.store.commit
    monkeypatch.setattr(dems.core.store, "commit", lambda *given: (commits.append(given[1]), commit(*given))[1])

    async def chunked() -> AsyncIterator[bytes]:
        for begin in range(0, 1 << 18, 1 << 14):
            yield one.data[begin : begin + (1 << 14)]
            await asyncio.sleep(0)

    url = await tus.create(one)
    assert (await tus.patch(url, 0, chunked())).note
    assert commits.count(1 << 18) == 1  # complete once, signed once


async def test_without_a_checksum_a_long_body_is_committed_stretch_by_stretch(
    tus: Client, dems: EmulatedDems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.testing.dems.receiving._STRETCH", 1 << 20)
    data = os.urandom((5 << 20) + 17)
    url = await tus.create(sample(data))
    gate = asyncio.Event()
    seen: list[int] = []

    async def slowly() -> AsyncIterator[bytes]:
        yield data[: 3 << 20]
        await gate.wait()
        yield data[3 << 20 :]

    sending = asyncio.create_task(tus.patch(url, 0, slowly()))
    for _ in range(200):
        seen.append((await tus.head(url)).offset)
        if seen[-1] >= 2 << 20:
            break
        await asyncio.sleep(0.01)
    gate.set()
    assert (await sending).note
    assert seen[-1] >= 2 << 20  # a crash would have cost less than the whole body
