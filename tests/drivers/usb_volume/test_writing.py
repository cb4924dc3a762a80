"""What was made writable is put back: at once, and where the agent was killed meanwhile, at the next look."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent.mounts import Mount
from drivers.body_worn.usb_volume import volume as volumes
from drivers.body_worn.usb_volume import writing
from drivers.body_worn.usb_volume.volume import Ground, Volume
from drivers.body_worn.usb_volume.wire import Wire
from drivers.body_worn.usb_volume.writing import WriteWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Mounted(Wire):
    """A volume that is mounted read-only, and remounts that say what they did."""

    def __init__(self) -> None:
        self.how, self.calls, self.complaint = "ro", list[str](), ""

    def remount(self, mount_point: str, how: str) -> str:  # noqa: ARG002 - of the wire
        self.calls.append(how)
        if self.complaint:
            return self.complaint
        self.how = how
        return ""


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mounted:
    made = Mounted()
    flags = {"ro": os.ST_RDONLY, "rw": 0}
    monkeypatch.setattr(writing.os, "fstatvfs", lambda _: SimpleNamespace(f_flag=flags[made.how]))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    return made


@pytest.fixture
def volume(tmp_path: Path, wire: Mounted) -> Iterator[Callable[..., Volume]]:
    """The volume, as one run after the other finds it; `number`: of its mount."""
    pins = list[int]()
    folder = tmp_path / "volume"
    folder.mkdir()

    def found(number: int = 7) -> Volume:
        there, name = folder.stat(), os.fsencode(folder)
        mount = Mount(number, 8, 1, b"/", name, "vfat", "/dev/sdb1", frozenset({"ro"}))
        made = Volume(Ground(folder, (there.st_dev, there.st_ino), mount, None), wire)
        pins.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        made._pin = pins[-1]
        return made

    yield found
    for pin in pins:
        os.close(pin)


def test_killed_while_it_was_writable(volume: Callable[..., Volume], wire: Mounted) -> None:
    WriteWindow(volume())._make_writable()
    assert wire.how == "rw"
    window = WriteWindow(volume())  # of the next run
    window.recall()
    assert wire.how == "ro"
    wire.how = "rw"  # by a person: from now on it is not ours
    window.recall()
    WriteWindow(volume()).recall()
    assert wire.calls == ["rw", "ro"]


def test_another_volume_in_its_place_is_left_as_it_is(
    tmp_path: Path, volume: Callable[..., Volume], wire: Mounted
) -> None:
    WriteWindow(volume())._make_writable()
    WriteWindow(volume(8)).recall()
    assert wire.calls == ["rw"]
    assert not list((tmp_path / "run/writable").iterdir())


def test_what_could_not_be_put_back_is_tried_at_the_next_look(
    tmp_path: Path, volume: Callable[..., Volume], wire: Mounted
) -> None:
    window = WriteWindow(volume())
    window._make_writable()
    wire.complaint = "mount point is busy"
    window._put_back()
    window.recall()
    assert wire.how == "rw"
    wire.complaint = ""
    window.recall()
    assert wire.how == "ro"
    assert not list((tmp_path / "run/writable").iterdir())


def test_where_no_note_can_be_left_it_is_made_writable_all_the_same(
    tmp_path: Path, volume: Callable[..., Volume], wire: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "file"))
    window = WriteWindow(volume())
    window._make_writable()
    window._put_back()
    assert wire.calls == ["rw", "ro"]


def test_a_card_full_of_folders_that_cannot_be_read_is_doubted_for_seconds(
    volume: Callable[..., Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = list[float]()
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(volumes, "time", cast("Any", clock))
    made = volume()
    monkeypatch.setattr(made, "stands", lambda: True)
    for _ in range(100_000):
        made.failure(OSError(errno.EIO, os.strerror(errno.EIO)), "a folder")
    assert sum(slept) < volumes.DOUBT_SECONDS + 1
