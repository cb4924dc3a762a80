"""Cameras that lie, refuse, flood or send nonsense; addresses and notes that are made to do harm."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.testing.probe import Probe
from agent.testing.rig import running, until
from drivers.interview_room.live.ffmpeg import _entry, command
from drivers.interview_room.live.interview import NOTES, Interview, found_in
from drivers.interview_room.live.options import StreamOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from drivers.interview_room.live import LiveRoom

ANSWERS = {
    "nothing, and closes": b"",
    "no RTSP": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "noise": os.urandom(4096),
    "an endless header": b"RTSP/1.0 200 OK\r\nX: " + b"a" * 200_000,
    "a length that nothing has": b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 99999999999\r\n\r\nv=0",
    "no such stream": b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n",
    "elsewhere": b"RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: file:///etc/passwd\r\n\r\n",
}


@asynccontextmanager
async def liar(answer: bytes) -> AsyncIterator[str]:
    serving: set[asyncio.Task[Any] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with suppress(OSError):
            await reader.read(4096)
            writer.write(answer)
            await asyncio.sleep(0.05)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/live"
    await asyncio.gather(*(task for task in serving if task is not None))


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_camera_that_gives_no_stream_is_told_of(
    made: Callable[..., LiveRoom], answer: bytes, tmp_path: Path
) -> None:
    async with liar(answer) as url:
        room = made(stream=[{"name": "front", "url": url}], silence=1)
        async with running(room, Probe()):
            await until(room._ready.is_set)
            await room.start("uid:1000")
            await until(lambda: [one.id for one in room.notices()] == ["room.no_stream"])
            (notice,) = room.notices()
            assert len(notice.detail) < 1000
            assert notice.detail.isprintable()
    assert not list((tmp_path / "live").rglob("*.mov"))


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://user:password@camera/live",
        "http://camera/live",
        "file:///etc/passwd",
        "rtsp://camera/live'\nfile '/etc/passwd",
        "rtsp://camera/a'b",
        "rtsp:///live",
        "rtsp://camera/a b",
        "rtsp://camera/\\n",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ValidationError):
        StreamOptions(name="front", url=url)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_user_and_no_password_leaves_its_line(user: str, password: str) -> None:
    stream = StreamOptions.model_construct(name="front", url="rtsp://camera:554/live", user=user, ca_file=None)
    text = _entry(stream, password.encode("utf-8", "replace").decode(), 5).decode()
    assert text.count("\n") == 4
    line = text.splitlines()[1]
    assert line.count("'") == 2
    assert line.endswith("@camera:554/live'")


def test_the_command_line_copies_and_names_no_camera() -> None:
    stream = StreamOptions(name="front", url="rtsp://camera/live", audio=False)
    words = command(stream, 7, seconds=30, container="mov", source="/dev/fd/9")
    assert "rtsp://camera/live" not in words
    assert words[words.index("-c") + 1] == "copy"
    assert words[words.index("-segment_start_number") + 1] == "7"
    assert "0:a?" not in words


@pytest.mark.parametrize(
    "content",
    [None, b"", b"[]", b"{}", b"\xff", b'{"format": 1}', b'{"format": "x", "tracks": {"a": 5}}', b"[" * 100_000],
)
def test_notes_that_cannot_be_read_stop_nothing_else_and_lose_nothing(tmp_path: Path, content: bytes | None) -> None:
    folder = tmp_path / "20261128T134104Z-34048e16"
    folder.mkdir()
    if content is not None:
        (folder / NOTES).write_bytes(content)
    (folder / "front-000001.mov").write_bytes(b"film")
    good = Interview.begin(
        tmp_path, room="r", recorder="main", by="uid:1000", note="", container="mov", streams={"a": "rtsp://x/y"}
    )
    found, unread = found_in(tmp_path)
    assert [one.id for one in found] == [good.id]
    assert ("cannot be read" if content is not None else "is not there") in unread[0]
    assert (folder / "front-000001.mov").read_bytes() == b"film"


def test_what_lies_there_and_is_not_ours(tmp_path: Path) -> None:
    for name in ("lost+found", "..20261128T134104Z-34048e16", "20261128T134104Z"):
        (tmp_path / name).mkdir()
    (tmp_path / "20261128T134104Z-34048e16").symlink_to("/etc")
    assert found_in(tmp_path) == ([], [])


def test_an_interview_that_power_cut_before_its_notes(tmp_path: Path) -> None:
    (tmp_path / "20261128T134104Z-34048e16").mkdir()
    ((one,), _) = found_in(tmp_path)
    assert one.ended_at is not None
    assert one.began == datetime(2026, 11, 28, 13, 41, 4, tzinfo=UTC)


async def test_notes_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = Interview.begin(
        tmp_path, room="r", recorder="main", by="uid:1000", note="ünï %00", container="mov", streams={"a": "rtsp://x/y"}
    )
    made.gap_begins("a", made.began, "why \x1b[31m")
    assert not made.gap_begins("a", made.began, "again")
    await made.save()
    ((found,), _) = found_in(tmp_path)
    told: dict[str, Any] = json.loads(found.notes())
    assert told == json.loads(made.notes())
    assert told["tracks"]["a"]["gaps"][0]["why"] == "why %1B[31m"


def test_what_was_recorded_ends_where_its_last_file_was_written_to(tmp_path: Path) -> None:
    """From there on, and not from the next start on, is the gap of a power cut."""
    one = Interview.begin(
        tmp_path, room="a", recorder="b", by="c", note="", container="mov", streams={"front": "rtsp://x", "back": "y"}
    )
    one.began_at = "2026-11-22T10:00:00.000Z"
    cut = datetime(2026, 11, 22, 11, 30, tzinfo=UTC)
    for number in (1, 2):
        path = one.folder / f"front-{number:06}.mov"
        path.write_bytes(b"frames")
        os.utime(path, (cut.timestamp(), cut.timestamp()))
    assert one.reached("front") == cut
    assert one.reached("back") == one.began
    os.utime(path, (2**32, 2**32))
    assert one.reached("front") <= datetime.now(UTC), "no gap begins in the future"
