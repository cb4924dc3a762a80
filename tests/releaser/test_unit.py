"""The program that deletes, started by a socket: as systemd starts it for one volume, with systemd's own activator."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.capture import Standing
from agent.release.doors import Doors
from tests.releaser.case import make_case, make_trust
from tests.releaser.test_by_path import driver, image, station, volume

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.releaser.test_by_path import Proven

    Listen = Callable[[Path, Path], Awaitable[asyncio.subprocess.Process]]

__all__ = ["station", "volume"]

ACTIVATOR = "systemd-socket-activate"
pytestmark = [
    pytest.mark.fresh,
    pytest.mark.skipif(shutil.which(ACTIVATOR) is None, reason="systemd's socket activator is not here"),
]


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    started = []

    async def start(door: Path, trust: Path) -> asyncio.subprocess.Process:
        door.parent.mkdir()
        program = (sys.executable, "-m", "agent.releaser", "--listen", str(trust))
        passed = [f"--setenv={name}" for name in ("PATH", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ]
        process = await asyncio.create_subprocess_exec(
            ACTIVATOR, f"--listen={door}", *passed, *program, stderr=subprocess.DEVNULL
        )
        started.append(process)
        async with asyncio.timeout(30):
            while not door.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
                await asyncio.sleep(0.02)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_each_connection_is_answered_and_it_ends_when_nobody_asks(
    tmp_path: Path, volume: Path, listen: Listen
) -> None:
    case = make_case(volume)
    door = tmp_path / "doors" / volume.name
    process = await listen(door, make_trust(tmp_path / "trust.json"))
    doors = Doors(door.parent)
    for line, result in ((case.line(), "released"), (case.line(), "absent"), (b'{"nonsense": 1}', "refused")):
        async with doors.open(door) as (reader, writer):
            writer.write(line + b"\n")
            assert json.loads(await reader.readline())["result"] == result
    assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_a_volume_with_a_unit_is_let_go_by_the_unit_alone(
    tmp_path: Path, station: Proven, volume: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = tmp_path / "doors" / volume.name
    await listen(door, station.folder / "trust.json")
    station.program._doors = Doors(door.parent)
    # The volume is not made writable by the agent: the unit does it for itself.
    monkeypatch.setattr("drivers.body_worn.usb_volume.clip.Clip.writable", None)
    station.run_driver(driver(volume))
    await station.until(Standing.HELD, 2)
    await station.send()
    await station.anchor.sign()
    await station.anchor.publish()
    await station.until(Standing.RELEASED, 2)
    assert image(volume) == {}
    assert not station.program._own.free


async def test_a_unit_that_does_not_answer_deletes_nothing(tmp_path: Path, station: Proven, volume: Path) -> None:
    door = tmp_path / "doors" / volume.name
    door.parent.mkdir()
    server = await asyncio.start_unix_server(lambda _, writer: writer.close(), str(door))
    station.program._doors = Doors(door.parent)
    station.run_driver(driver(volume))
    await station.until(Standing.HELD, 2)
    await station.send()
    before = image(volume)
    await station.anchor.sign()
    await station.anchor.publish()
    async with asyncio.timeout(30):
        while "did not answer" not in ((await station.holdings())[0].reason or ""):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert image(volume) == before
    server.close()


def test_what_is_no_socket_is_no_door(tmp_path: Path, volume: Path) -> None:
    from agent.driver import Place  # noqa: PLC0415

    (tmp_path / volume.name).touch(exist_ok=True)
    place = Place(os.fsencode(volume), (0, 0), b"x", 0, 0)
    assert Doors(tmp_path / "nowhere").of(place) is None
    assert Doors(tmp_path).of(place) is None


def test_without_a_socket_it_says_how_it_is_called() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent.releaser", "--listen", "trust.json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "--listen" in done.stderr
