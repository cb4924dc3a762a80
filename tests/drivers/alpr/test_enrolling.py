"""What is entered in each camera: the page says it, its files are made once, and what it says works."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.errors import ConfigError
from agent.testing.ports import free_port
from agent.testing.probe import Probe
from drivers.alpr.emulator import MESSAGES, Passage, Sender
from drivers.alpr.makers import MAKERS
from drivers.alpr.receiver import Receiver
from firmware_specs.formats.plain_xml import parse
from tests.drivers.alpr.conftest import received
from tests.drivers.alpr.rig import AUTOVU

if TYPE_CHECKING:
    from pathlib import Path


def everything(folder: Path, **listen: object) -> Receiver.Options:
    cameras = [
        {"name": f"{maker}-{auth}", "maker": maker, "auth": auth, "secret_file": folder / f"{maker}.{auth}"}
        | ({"mapping": AUTOVU} if maker == "generic" else {})
        for maker in MAKERS
        for auth in ("path", "token", "digest", "basic")
    ]
    table = {"address": "127.0.0.1", "port": free_port(), "certificate": folder / "tls.pem", "key": folder / "tls.key"}
    told = {"use": "alpr.receiver", "name": "car42", "listen": table | listen, "camera": cameras}
    return Receiver.Options.model_validate(told)


async def test_what_the_page_says_works(tmp_path: Path) -> None:
    options = everything(tmp_path)
    made = Receiver.enrol(options)
    page, probe = made.content.decode(), Probe()
    trust = ssl.create_default_context(cafile=tmp_path / "tls.pem")
    async with received(options, probe):
        for camera in options.camera:
            part = page.split(f"== {camera.name}:")[1].split("\n==")[0]
            path = part.split("path:")[1].split()[0]
            one = Sender("127.0.0.1", options.listen.port, path, tls=trust)
            assert f"https://127.0.0.1:{options.listen.port}{path}" in part
            if camera.auth == "token":
                one.headers["Authorization"] = "Token " + part.split("Token ")[1].split("`")[0]
            elif camera.auth in ("digest", "basic"):
                user, password = part.split("user ")[1].split(" (")[0].split(", password ")
                one.login = (camera.auth, user, password)
            assert await one.once(MESSAGES[camera.maker](Passage(identity=camera.name), "")) == 200, camera.name
    assert len(probe.offered) == len(options.camera)


def test_its_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    made = Receiver.enrol(everything(tmp_path))
    assert set(made.made) == {str(path) for path in tmp_path.iterdir()}
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


def test_a_second_time_nothing_is_made_and_the_page_is_the_same(tmp_path: Path) -> None:
    options = everything(tmp_path)
    first, again = Receiver.enrol(options), Receiver.enrol(options)
    assert again.made == ()
    assert again.content == first.content


def test_where_cameras_find_the_station_must_be_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reached_at"):
        Receiver.enrol(everything(tmp_path, address="0.0.0.0"))  # noqa: S104 - of a test


async def test_the_emulated_camera_by_hand(tmp_path: Path) -> None:
    options, probe = everything(tmp_path), Probe()
    Receiver.enrol(options)
    secret = (tmp_path / "hikvision.path").read_text().strip()
    url = f"https://127.0.0.1:{options.listen.port}/alpr/hikvision/hikvision-path/{secret}"
    command = [sys.executable, "-m", "drivers.alpr.emulator", url, "--count", "2", "--picture", "5000", "--faults", "p"]
    async with received(options, probe):
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    assert done.stdout == b"200 200\n", done.stderr
    assert len(probe.keys) == 2


def test_the_xml_for_a_camera_is_xml(tmp_path: Path) -> None:
    options = everything(tmp_path)
    page = Receiver.enrol(options).content.decode()
    lines = [line.strip() for line in page.splitlines() if line.strip().startswith("<HttpHostNotification ")]
    assert len(lines) == 4
    xmllint = shutil.which("xmllint")
    for line in lines:
        assert parse(line.encode()).said("portNo") == str(options.listen.port)
        if xmllint:
            subprocess.run([xmllint, "--noout", "-"], input=line.encode(), check=True)
