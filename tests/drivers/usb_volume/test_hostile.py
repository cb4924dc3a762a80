"""Whatever somebody put on a volume: nothing from outside is ever read, nothing hangs, and what is sound is offered."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.capture import KEY_MAX
from agent.errors import DeviceGone
from agent.mounts import Mount
from drivers.body_worn.usb_volume import walk as walking
from drivers.body_worn.usb_volume.recording import _below
from drivers.body_worn.usb_volume.volume import Volume, look
from drivers.body_worn.usb_volume.walk import Walk, walk
from drivers.body_worn.usb_volume.wire import Wire
from firmware_specs.formats.layout import layout
from tests.drivers.usb_volume.desk import Desk, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from structlog.typing import EventDict

    from drivers.body_worn.usb_volume import UsbVolume
    from drivers.body_worn.usb_volume.emulator import VolumeEmulator

SECRET = b"from outside of the volume"


def looked_at(path: Path, most: int = 10_000) -> Walk:
    ground = look(path, must_be_mountpoint=False)
    assert ground is not None
    return walk(Volume(ground, Wire()), layout("dcf"), most)


def reasons(camera: VolumeEmulator) -> dict[str, str]:
    return looked_at(camera.files).refused


def folder(camera: VolumeEmulator) -> Path:
    path = camera.files / "DCIM/100EVDCK"
    path.mkdir(exist_ok=True)
    return path


def test_links_pipes_sockets_and_devices(
    camera: VolumeEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    here = folder(camera)
    (here / "LINK0001.MP4").symlink_to(tmp_path / "secret")
    (here / "LINK0002.MP4").symlink_to("../../../secret")
    (here / "LINKS").symlink_to(tmp_path)
    (here / "LOOP").symlink_to("..")
    os.mkfifo(here / "PIPE0001.MP4")
    os.link(tmp_path / "secret", here / "HARD0001.MP4")
    monkeypatch.chdir(here)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("SOCK0001.MP4")
    if os.geteuid() == 0:
        os.mknod(here / "ZERO0001.MP4", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
        os.mknod(here / "DISK0001.MP4", 0o600 | stat.S_IFBLK, os.makedev(7, 0))
    sound = camera.add(b"clip")
    found = looked_at(camera.files)
    assert [entry.key for entry in found.entries] == [sound]
    said = {Path(key).name: why for key, why in found.refused.items()}
    links = dict.fromkeys(("LINK0001.MP4", "LINK0002.MP4", "LINKS", "LOOP"), "a symbolic link")
    assert said.items() >= links.items()
    assert said["PIPE0001.MP4"] == "a pipe"
    assert said["SOCK0001.MP4"] == "a socket"
    assert "hard link" in said["HARD0001.MP4"]
    if os.geteuid() == 0:
        assert (said["ZERO0001.MP4"], said["DISK0001.MP4"]) == ("a character device", "a block device")


NAMES = [
    b"a\nb.MP4",
    b"\x1b[31mred.MP4",
    b"\xff\xfe.MP4",
    "\u202egnp.MP4".encode(),
    b"%2e%2e%2fx.MP4",
    b"a b.MP4",
    b"..MP4",
    b"-rf.MP4",
    b"CON.MP4",
    b"x" * 251 + b".MP4",
    "名前.MP4".encode(),
    b"clip.mp4",
    b"CLIP.MP4",
    b"nul\x01.MP4",
    b"back\\slash.MP4",
]


async def test_odd_names_are_escaped_and_come_back_as_they_were(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    here = os.fsencode(folder(camera))
    for number, name in enumerate(NAMES):
        fd = os.open(here + b"/" + name, os.O_CREAT | os.O_WRONLY)
        os.write(fd, str(number).encode())
        os.close(fd)
    desk = Desk(release=True)
    async with running(dock(), desk):
        await desk.until(lambda: len(desk.held) == len(NAMES))
        await desk.until(lambda: not camera.captures())
    for origin, content in desk.held.items():
        assert origin.key.isprintable()
        assert unquote_to_bytes(origin.key.rpartition("/")[2]) == NAMES[int(content)]


def test_names_that_are_too_long_and_folders_that_are_too_deep(camera: VolumeEmulator) -> None:
    here = os.open(folder(camera), os.O_RDONLY)
    try:
        for _ in range(walking.DEPTH_MAX + 3):
            os.mkdir("d", dir_fd=here)
            inner = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
    finally:
        os.close(here)
    wide = folder(camera)
    for _ in range(5):
        wide = wide / os.fsdecode(b"\xff" * 100)
        wide.mkdir()
    (wide / "x.MP4").write_bytes(b"")
    near = folder(camera) / ("y" * 250) / ("y" * 250) / ("y" * 250) / ("y" * 200)
    near.mkdir(parents=True)
    os.close(os.open(near / ("z" * 100), os.O_CREAT))
    found = looked_at(camera.files)
    assert found.entries == []
    assert sorted(found.refused.values()) == [
        "its folders lie too deep",
        "its folders lie too deep",
        "its name is too long",
    ]
    assert max(map(len, found.refused)) <= KEY_MAX


def test_absurd_sizes(camera: VolumeEmulator, tmp_path: Path) -> None:
    room = os.statvfs(tmp_path)
    path = folder(camera) / "HUGE0001.MP4"
    with path.open("wb") as file:
        file.truncate(room.f_blocks * room.f_frsize + 1)
    with (folder(camera) / "NEAR0001.MP4").open("wb") as file:
        file.truncate(5 << 30)
    found = looked_at(camera.files)
    assert [entry.length for entry in found.entries] == [5 << 30]
    assert "more than the whole volume" in found.refused["DCIM/100EVDCK/HUGE0001.MP4"]


async def test_a_device_that_is_pulled_while_it_is_looked_at_is_none_with_few_captures(
    camera: VolumeEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT passes over folder blocks that it cannot read, and the mount stands for a while without its device."""
    ground = look(camera.files, must_be_mountpoint=False)
    assert ground is not None
    mount = Mount(1, 8, 17, b"/", b"/", "vfat", "/dev/sdb1", frozenset())
    volume = Volume(replace(ground, mount=mount), Wire())
    monkeypatch.setattr("drivers.body_worn.usb_volume.volume.look", lambda *_, **__: volume.ground)
    async with volume.held():
        monkeypatch.setattr(Mount, "block_device_is_there", property(lambda _: False))
        with pytest.raises(DeviceGone):
            await volume.call(lambda: walk(volume, layout("dcf"), 100))
    assert volume.gone


def test_a_folder_without_an_end_is_recorded_as_far_as_anybody_wants_to_read(
    camera: VolumeEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def looping(_: int) -> Iterator[Iterator[SimpleNamespace]]:
        yield (named.append(number) or SimpleNamespace(name=f"{number}") for number in range(100_000))  # type: ignore[func-returns-value]

    named: list[int] = []
    monkeypatch.setattr(os, "scandir", looping)
    root = os.open(camera.files, os.O_RDONLY)
    try:
        assert not list(_below(root, "", 0, [7]))
    finally:
        os.close(root)
    assert len(named) == 7


async def test_more_entries_than_we_look_at(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], log: list[EventDict]
) -> None:
    here = folder(camera)
    for number in range(300):
        (here / f"CLIP{number:04d}.MP4").write_bytes(b"x")
    desk = Desk()
    async with running(dock(max_entries=100), desk):
        # What was seen is offered all the same: rubbish must not keep evidence from being taken.
        await desk.until(lambda: 90 < len(desk.held) <= 100)
    full = [line for line in log if line["event"] == "volume_too_full"]
    assert len(full) == 1
    listed = [line for line in log if line["event"] == "volume_listed"]
    assert not listed[0]["whole"]


async def test_each_refusal_is_said_once_and_harms_nothing_else(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], log: list[EventDict]
) -> None:
    os.mkfifo(folder(camera) / "PIPE0001.MP4")
    (folder(camera) / "._CLIP0001.MP4").write_bytes(b"from a desktop")
    sound = camera.add(b"clip")
    desk = Desk()
    async with running(dock(), desk):
        await desk.until(lambda: desk.offered > 4)
    assert desk.keys() == [sound]
    refused = {line["key"]: line["why"] for line in log if line["event"] == "entry_refused"}
    assert refused == {
        "DCIM/100EVDCK/PIPE0001.MP4": "a pipe",
        "DCIM/100EVDCK/._CLIP0001.MP4": "left by a desktop computer, not by the camera",
    }
    assert sum(line["event"] == "entry_refused" for line in log) == 2
    (listed,) = [line for line in log if line["event"] == "volume_listed"]
    assert (listed["listed"], listed["offered"], listed["refused"]) == (3, 1, 2)


def test_a_folder_that_cannot_be_read_hurts_only_itself(
    camera: VolumeEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder(camera) / "CLIP0001.MP4").write_bytes(b"x")
    other = camera.files / "DCIM/101EVDCK"
    other.mkdir()
    (other / "CLIP0001.MP4").write_bytes(b"x")
    real, hurt = os.scandir, other.stat().st_ino

    def scandir(what: int | str) -> object:
        if isinstance(what, int) and os.fstat(what).st_ino == hurt:
            raise OSError(5, "Input/output error")
        return real(what)

    monkeypatch.setattr(os, "scandir", scandir)
    found = looked_at(camera.files)
    assert [entry.key for entry in found.entries] == ["DCIM/100EVDCK/CLIP0001.MP4"]
    assert found.refused == {"DCIM/101EVDCK/": "DCIM/101EVDCK/: Input/output error"}


Name = st.one_of(
    st.sampled_from(["DCIM", "100MEDIA", "CLIP0001.MP4", "..MP4", "%2e%2e", "a\nb", "\u202ex", "WIDKEY"]),
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20),
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)
Node = st.one_of(
    st.binary(max_size=50),
    st.sampled_from(["link out", "link folder", "link up", "link self", "link nowhere", "pipe", "hard"]),
)
Tree = st.recursive(
    st.dictionaries(Name, Node, max_size=4),
    lambda inner: st.dictionaries(Name, st.one_of(Node, inner), max_size=4),
    max_leaves=15,
)


def build(path: Path, tree: dict[str, Any], outside: Path) -> dict[bytes, bytes]:
    """Make the tree; the plain files in it by path."""
    plain: dict[bytes, bytes] = {}
    for name, node in tree.items():
        here = path / name
        match node:
            case bytes():
                here.write_bytes(node)
                plain[os.fsencode(here)] = node
            case dict():
                here.mkdir()
                plain |= build(here, node, outside)
            case "pipe":
                os.mkfifo(here)
            case "hard":
                os.link(outside / "secret", here)
            case "link out":
                here.symlink_to(outside / "secret")
            case "link folder":
                here.symlink_to(outside)
            case "link up":
                here.symlink_to("../" * 3)
            case "link self":
                here.symlink_to(here)
            case _:
                here.symlink_to("/nowhere")
    return plain


@settings(max_examples=150, deadline=None)
@given(Tree)
def test_any_tree_gives_its_plain_files_and_nothing_else(tree: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        outside, root = Path(scratch, "outside"), Path(scratch, "volume")
        outside.mkdir()
        (outside / "secret").write_bytes(SECRET)
        (root / "DCIM").mkdir(parents=True)
        plain = build(root / "DCIM", tree, outside)
        found = looked_at(root)
        offered = {os.fsencode(root) + b"/" + unquote_to_bytes(entry.key) for entry in found.entries}
        assert offered <= plain.keys()
        known = layout("dcf")
        for path in plain.keys() - offered:
            key = next(key for key in found.refused if unquote_to_bytes(key) == path[len(os.fsencode(root)) + 1 :])
            place = known.place(key)
            assert place is None or place.rule.role == "never"
