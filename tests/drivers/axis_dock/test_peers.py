"""Swift clients of other authors against the destination: `swift` of python-swiftclient, and rclone."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.testing.devices import some_bytes
from agent.testing.probe import same_bytes
from drivers.body_worn.axis_dock.emulator import Recording

if TYPE_CHECKING:
    from drivers.body_worn.axis_dock import AxisDock
    from tests.drivers.axis_dock.conftest import Desk

pytestmark = [
    pytest.mark.proves("body_worn.axis_dock", peer="swift of python-swiftclient, rclone"),
    pytest.mark.interop,
]

PLACE = Recording().container
FILM = some_bytes(3_000_000, "film")


async def peer(*command: str, **environment: str) -> str:
    """Run it; what it said."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env={**os.environ, **environment}
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_swift(desk: Desk, tmp_path: Path) -> None:
    """Upload, look, tell more, complete."""
    swift = Path(sys.executable).with_name("swift")
    if not swift.exists():
        pytest.skip("python-swiftclient is not installed")
    film, note = tmp_path / "film.mkv", tmp_path / "note"
    film.write_bytes(FILM)
    note.write_bytes(b"")
    async with desk.open() as dock:
        login = _login(desk, dock)
        words = (str(swift), "-V", "1", "-A", login["auth"], "-U", login["user"], "-K", login["key"])
        words += ("--os-cacert", str(desk.options.listen.certificate))
        about = ("-H", "X-Object-Meta-Starttimeiso: 2026-11-22T10%3A11%3A12Z")
        await peer(*words, "post", PLACE, "-m", "Status:Transferring", "-m", "Bwcserialnumber:B8A44F000001")
        await peer(*words, "upload", PLACE, str(film), "--object-name", "20261122_101112_0A1B.mkv", *about)
        await peer(*words, "upload", PLACE, str(note), "--object-name", "bookmark_2026-11-22T10:11:12Z_1")
        told = await peer(*words, "stat", PLACE, "20261122_101112_0A1B.mkv")
        assert "Content Length: 3000000" in told
        assert "Meta Starttimeiso: 2026-11-22T10:11:12Z" in told
        await peer(*words, "post", PLACE, "-m", "Status:Complete")
    held = await desk.held()
    same_bytes(desk.bytes_of(held[f"{PLACE}/20261122_101112_0A1B.mkv"]), FILM)
    assert held[f"{PLACE}/20261122_101112_0A1B.mkv"].origin.device == "axis:B8A44F000001"
    assert {one["name"] for one in (await desk.description())["objects"]} == {
        "20261122_101112_0A1B.mkv", "bookmark_2026-11-22T10:11:12Z_1",
    }  # fmt: skip


async def test_rclone(desk: Desk, tmp_path: Path) -> None:
    """It checks what was stored against its own MD5, and finds nothing to do the second time."""
    if shutil.which("rclone") is None:
        pytest.skip("rclone is not installed")
    film = tmp_path / "film.mkv"
    film.write_bytes(FILM)
    async with desk.open() as dock:
        login = _login(desk, dock)
        environment = {
            "RCLONE_CONFIG": "/dev/null", "RCLONE_CONFIG_AXIS_TYPE": "swift", "RCLONE_CONFIG_AXIS_AUTH_VERSION": "1",
            "RCLONE_CONFIG_AXIS_AUTH": login["auth"], "RCLONE_CONFIG_AXIS_USER": login["user"],
            "RCLONE_CONFIG_AXIS_KEY": login["key"], "RCLONE_CA_CERT": str(desk.options.listen.certificate),
        }  # fmt: skip
        words = ("rclone", "-vv", "copyto", str(film), f"axis:{PLACE}/20261122_101112_0A1B.mkv", "--retries", "1")
        first = await peer(*words, **environment)
        assert "md5 = " in first
        second = await peer(*words, **environment)
        assert "Unchanged skipping" in second
    same_bytes(desk.bytes_of((await desk.held())[f"{PLACE}/20261122_101112_0A1B.mkv"]), FILM)
    assert len(await desk.held()) == 1


def _login(desk: Desk, dock: AxisDock) -> dict[str, str]:
    assert dock.bound is not None
    told = desk.connection
    return {"auth": f"{dock.bound.url}/auth/v1.0", "user": told["BlobAPIUserName"], "key": told["BlobAPIKey"]}
