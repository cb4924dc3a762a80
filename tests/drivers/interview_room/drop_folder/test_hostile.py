"""Whatever somebody put into the folder: nothing from outside is read, nothing hangs, and what is sound is offered."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.capture import KEY_MAX
from agent.errors import AgentError, BadCapture, DeviceRefused
from agent.testing.probe import Probe, read_all
from agent.testing.rig import running, until
from drivers.interview_room.drop_folder.emulator import FaultyWire
from drivers.interview_room.drop_folder.looking import Look, look_through
from drivers.interview_room.drop_folder.share import Share
from drivers.interview_room.drop_folder.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.driver import Offer
    from drivers.interview_room.drop_folder import DropFolder
    from drivers.interview_room.drop_folder.emulator import RecorderEmulator

SECRET = b"from outside of the folder"


def looked(path: Path, most: int = 10_000) -> Look:
    share = Share(path, None, Wire())
    share.look()
    return look_through(share, most)


def test_links_pipes_and_sockets(recorder: RecorderEmulator, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    room = recorder.folder
    (room / "link.mp4").symlink_to(tmp_path / "secret")
    (room / "loop").symlink_to("..")
    os.mkfifo(room / "pipe.mp4")
    (room / "hard.mp4").hardlink_to(tmp_path / "secret")
    with socket.socket(socket.AF_UNIX) as made, tempfile.TemporaryDirectory(dir="/tmp") as short:
        Path(short, "x").symlink_to(room)
        made.bind(f"{short}/x/socket.mp4")
        found = looked(room)
    assert not found.entries
    assert found.refused == {
        "link.mp4": "a symbolic link",
        "loop": "a symbolic link",
        "pipe.mp4": "a pipe",
        "hard.mp4": "has another name elsewhere (hard link)",
        "socket.mp4": "a socket",
    }


def test_a_folder_that_is_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "room").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeviceRefused, match="symbolic link"):
        looked(tmp_path / "room")


def test_deep_folders_and_too_many_files(recorder: RecorderEmulator) -> None:
    deep = recorder.folder.joinpath(*["d"] * 20)
    deep.mkdir(parents=True)
    (deep / "film.mp4").write_bytes(b"x")
    found = looked(recorder.folder)
    assert list(found.refused.values()) == ["its folders lie too deep"]
    assert not found.whole
    for number in range(50):
        recorder.export(f"{number}.mp4", b"x")
    found = looked(recorder.folder, 20)
    assert len(found.entries) <= 20
    assert not found.whole


def test_unfinished_names_and_our_own(recorder: RecorderEmulator) -> None:
    for name in (
        "a.part",
        "A.MP4.FilePart",
        ".hidden.mp4",
        "~$notes.docx",
        "b.tmp",
        ".evidock/lease.0000000001",
        "ok.mp4",
    ):
        recorder.export(name, b"x")
    found = looked(recorder.folder)
    assert [one.key for one in found.entries] == ["ok.mp4"]
    assert {one.key for one in found.unfinished} == {"a.part", "A.MP4.FilePart", ".hidden.mp4", "~$notes.docx", "b.tmp"}


NAMES = st.binary(min_size=1, max_size=60).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)


@settings(max_examples=40)
@given(names=st.sets(NAMES, max_size=12))
def test_any_name_that_a_file_system_holds(names: set[bytes]) -> None:
    """Escaped reversibly, and never two that look alike."""
    with tempfile.TemporaryDirectory() as room:
        made = set()
        for name in names:
            try:
                Path(room, os.fsdecode(name)).write_bytes(b"x")
            except OSError:
                continue  # this file system does not hold it
            made.add(name)
        found = looked(Path(room))
        keys = [one.key for one in (*found.entries, *found.unfinished)]
        assert {unquote_to_bytes(key) for key in keys} == made
        assert all(key.isprintable() and len(key) <= KEY_MAX for key in keys)


async def test_a_file_that_becomes_a_link_after_it_was_offered(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    path = recorder.export("film.mp4", SECRET[::-1])
    wrong: list[BaseException] = []

    async def look(offer: Offer) -> None:
        if not wrong:
            path.unlink()
            path.symlink_to(tmp_path / "secret")
        try:
            assert await read_all(offer, 0) != SECRET
        except AgentError as error:
            wrong.append(error)
            raise

    async with running(made(), Probe(look)):
        await until(lambda: bool(wrong))
    assert isinstance(wrong[0], BadCapture)


async def test_a_flipped_bit_under_a_side_car_is_seen(
    recorder: RecorderEmulator, made: Callable[..., DropFolder]
) -> None:
    film = os.urandom(100_000)
    recorder.prove("film.mp4", film)
    recorder.export("film.mp4", film)
    driver = made(wire=FaultyWire("r" + "F" * 50))  # the first reading is that of the side-car

    async def look(offer: Offer) -> None:
        if offer.capture.key == "film.mp4":
            await read_all(offer, 0)

    probe = Probe(look)
    async with running(driver, probe):
        await until(lambda: any(isinstance(error, BadCapture) for error in probe.failures))
        assert [one.id for one in driver.notices()] == ["room.contradicts"]


async def test_a_release_never_deletes_another_file(
    recorder: RecorderEmulator, made: Callable[..., DropFolder]
) -> None:
    path = recorder.export("film.mp4", b"one film")
    refused: list[AgentError] = []

    async def look(offer: Offer) -> None:
        if refused:
            return
        path.write_bytes(b"another film")
        try:
            await offer.release()
        except AgentError as error:
            refused.append(error)

    async with running(made(), Probe(look)):
        await until(lambda: bool(refused))
    assert path.read_bytes() == b"another film"
    assert "is not what was offered" in str(refused[0])
