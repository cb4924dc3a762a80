"""Events make us look at once; without any, everything is found all the same, and looking never costs much."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest
import pyudev

from agent.mounts import MountWatch
from drivers.body_worn.usb_volume import dock as dock_module
from drivers.body_worn.usb_volume import staying, waking
from drivers.body_worn.usb_volume.waking import Waker
from tests.drivers.usb_volume.desk import Desk, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import EventDict

    from drivers.body_worn.usb_volume import UsbVolume
    from drivers.body_worn.usb_volume.emulator import VolumeEmulator

HOUR = 3600.0


def silent(*_: object) -> None:
    """A source of events that is not to be had."""
    raise OSError(97, "Address family not supported by protocol")


async def test_with_no_events_at_all_every_file_is_found_by_looking(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(self: Waker) -> Waker:
        return self

    monkeypatch.setattr(Waker, "__enter__", deaf)
    monkeypatch.setattr(Waker, "watch", lambda *_: None)
    before = camera.add(b"there before the start")
    desk = Desk()
    async with running(dock(settle=0.1, rescan=0.05), desk):
        await desk.until(lambda: desk.held)
        after = camera.add(b"put there later")
        await desk.until(lambda: len(desk.held) == 2)
        camera.pull()
        await asyncio.sleep(0.2)
        pulled = camera.add(b"recorded while it was pulled")
        camera.plug()
        await desk.until(lambda: len(desk.held) == 3)
    assert desk.keys() == sorted([before, after, pulled])


async def test_a_plug_and_a_new_file_wake_us_long_before_the_next_look(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume]
) -> None:
    camera.pull()
    desk = Desk()
    async with running(dock(rescan=HOUR), desk):
        await asyncio.sleep(0.1)
        camera.add(b"one")
        camera.plug()
        await desk.until(lambda: desk.held)
        await asyncio.sleep(0.1)
        camera.add(b"two")
        await desk.until(lambda: len(desk.held) == 2)
        await asyncio.sleep(0.1)
        camera.add(b"three", "DCIM/101EVDCK/CLIP0001.MP4")
        await desk.until(lambda: len(desk.held) == 3)


async def test_our_own_reading_does_not_wake_us(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only what happens in the folder itself: whoever mounts something on this machine wakes every station on it.
    monkeypatch.setattr(waking, "MountWatch", silent)
    monkeypatch.setattr(pyudev.Monitor, "from_netlink", silent)
    for _ in range(5):
        camera.add(b"clip")
    desk = Desk()
    async with running(dock(rescan=HOUR), desk):
        await desk.until(lambda: len(desk.held) == 5)
        await asyncio.sleep(0.5)
        assert desk.offered <= 10  # the look that its own start may wake, and no more


async def test_where_nothing_was_new_the_pause_grows_with_the_length_of_the_look(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], monkeypatch: pytest.MonkeyPatch
) -> None:
    camera.add(b"clip")

    class Slow(Desk):
        async def sight(self, device, /) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
            await asyncio.sleep(0.05)
            await super().sight(device)

    pauses: list[float] = []

    async def rest(waker: Waker, heard: int, least: float, seconds: float, *words: Any) -> None:  # noqa: ANN401
        pauses.append(seconds)
        await staying.rest(waker, heard, least, seconds, *words)

    monkeypatch.setattr(dock_module, "rest", rest)
    monkeypatch.setattr(waking, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(waking, "MountWatch", silent)  # as above
    monkeypatch.setattr(pyudev.Monitor, "from_netlink", silent)
    desk = Slow()
    async with running(dock(rescan=0.05), desk):
        await desk.until(lambda: len(pauses) >= 3)
    assert pauses[0] == 0.05, "soon again after the look that took something"
    assert min(pauses[1:]) >= 0.5, "ten times the 0.05 s that a look takes"


async def test_a_bell_is_heard_by_who_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "MountWatch", silent)  # as above: a mount of another test is a ring too
    monkeypatch.setattr(pyudev.Monitor, "from_netlink", silent)
    with Waker(None) as waker:
        heard = waker.rings
        waker.ring()
        assert await waker.wait(heard, HOUR)
        assert not await waker.wait(waker.rings, 0.01)
        task = asyncio.create_task(waker.wait(waker.rings, HOUR))
        other = asyncio.create_task(waker.wait(waker.rings, HOUR))
        await asyncio.sleep(0)
        waker.ring()
        assert await task
        assert await other


async def test_a_thread_that_comes_late_watches_nothing(tmp_path: Path) -> None:
    before = set(threading.enumerate())  # of tests of others
    with Waker(tmp_path / "dock") as waker:
        late = [asyncio.create_task(asyncio.to_thread(waker.watch, [tmp_path])) for _ in range(4)]
        await asyncio.sleep(0)
    await asyncio.gather(*late)
    waker.watch([tmp_path])
    assert not [one for one in set(threading.enumerate()) - before if "Inotify" in type(one).__name__]


async def test_a_machine_that_gives_no_events_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[EventDict]
) -> None:
    class Nothing:
        def __init__(self) -> None:
            raise OSError(24, "Too many open files")

    class Watches:
        def schedule(self, *_: object, **__: object) -> Self:
            raise OSError(28, "inotify watch limit reached")

        def stop(self) -> None:
            raise RuntimeError("cannot stop what was not started")

    monkeypatch.setattr(waking, "MountWatch", Nothing)
    monkeypatch.setattr(waking, "Observer", Watches)
    monkeypatch.setattr(pyudev.Monitor, "from_netlink", silent)
    with Waker(tmp_path / "dock") as waker:
        assert not await waker.wait(waker.rings, 0.01)
    assert [line["source"] for line in log if line["event"] == "no_wake_ups_from"] == ["mountinfo", "udev", "inotify"]


def test_the_table_of_mounts_can_be_waited_on() -> None:
    watch = MountWatch()
    assert watch.fileno() > 0
    watch.clear()
    watch.close()
    with pytest.raises(ValueError, match="closed"):
        watch.fileno()
