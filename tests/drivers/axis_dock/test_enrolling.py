"""`evidock device enrol axis`, and the real daemon with a controller that was given its file."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agent.testing.devices import some_bytes
from agent.testing.ports import free_port
from agent.testing.process import DaemonProcess, read_state
from agent.testing.rig import until
from drivers.body_worn.axis_dock import AxisDock
from drivers.body_worn.axis_dock.emulator import Controller, Recording

if TYPE_CHECKING:
    from pathlib import Path


def table(folder: Path, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    listen = {
        "address": "127.0.0.1",
        "port": free_port(),
        "certificate": str(folder / "tls.pem"),
        "key": str(folder / "tls.key"),
    }
    return {
        "use": "body_worn.axis_dock",
        "name": "bodycams",
        "state": str(folder / "axis"),
        "password_file": str(folder / "password"),
        "listen": listen,
        **more,
    }


def evidock(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent.cli", "--config", str(config), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=config.parent)


def test_the_file_and_what_the_driver_needs(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, drivers=[table(tmp_path)])
    done = evidock(daemon.config, "device", "enrol", "axis")
    assert done.returncode == 0, done.stderr
    assert "wrote bodycams.connection.json" in done.stdout
    for name in ("bodycams.connection.json", "password", "tls.key", "tls.pem"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name
    first = (tmp_path / "bodycams.connection.json").read_bytes()
    again = evidock(daemon.config, "device", "enrol", "bodycams")
    assert again.returncode == 3
    assert "is there already" in again.stderr
    assert evidock(daemon.config, "device", "enrol", "bodycams", "--force").returncode == 0
    assert (tmp_path / "bodycams.connection.json").read_bytes() == first, "certificate and password stay"
    assert evidock(daemon.config, "device", "enrol", "bodycams", "--out", "-").stdout.encode() == first
    told = json.loads(first)
    assert told["AuthenticationTokenURI"][0].startswith("https://127.0.0.1:")
    assert told["FullStoreAndReadSupport"] is False


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"listen": {"address": "::", "port": 1, "plain": True}}, "reached_at"),
        ({"site": "x" * 65}, "site"),
        ({"public_key": "/no/such/file"}, "/no/such/file"),
        ({"password_file": "/no/such/folder/password"}, "/no/such/folder"),
        ({"password_file": "relative"}, "absolute"),
    ],
)
def test_what_cannot_be_written_is_told(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    daemon = DaemonProcess(tmp_path, drivers=[table(tmp_path, **change)])
    done = evidock(daemon.config, "device", "enrol", "axis")
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert not (tmp_path / "bodycams.connection.json").exists()


def test_who_has_nothing_to_be_told(tmp_path: Path) -> None:
    bay = {"use": "body_worn.usb_volume", "name": "bay", "mount": str(tmp_path)}
    daemon = DaemonProcess(tmp_path, drivers=[bay])
    assert "need no file" in evidock(daemon.config, "device", "enrol", "bay").stderr
    assert "no [[driver]] table" in evidock(daemon.config, "device", "enrol", "axis").stderr


def test_a_driver_without_its_files_says_how_to_make_them(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, drivers=[table(tmp_path)])
    done = evidock(daemon.config, "run")
    assert done.returncode == 2
    assert "driver[0].password_file" in done.stderr


async def test_a_daemon_that_is_killed_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    """Every 2xx was true, what had none is sent again, and all of it is held once."""
    made = table(tmp_path)
    options = AxisDock.Options.model_validate(made)
    connection = json.loads(AxisDock.enrol(options).content)
    clips = [(f"20261122_101112_{n:04}.mkv", some_bytes(400_000, n)) for n in range(8)]
    sent = Recording(clips=clips)
    async with DaemonProcess(tmp_path / "dock", drivers=[made]) as daemon, Controller(connection) as controller:
        await daemon.ready()
        sending = asyncio.create_task(controller.send(sent))
        for after in (2, 5):
            await until(lambda after=after: sum(status == 201 for _, _, status in controller.said) > after)  # type: ignore[misc]
            daemon.kill()
            await daemon.wait()
            await daemon.start()
        async with asyncio.timeout(30):
            await sending
        await daemon.stop()
        await daemon.verify([])
    book = await asyncio.to_thread(read_state, daemon.state)
    assert book is not None
    assert len(book.holdings) == len(clips) + 1
    assert controller.rejected == []
    assert os.listdir(daemon.state / "spool" / "stage") == []  # noqa: PTH208
