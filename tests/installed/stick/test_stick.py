"""Cameras as USB sticks with FAT and exFAT, plugged into a virtual Debian that has the package and a TPM.

make stick        (root; four minutes on a machine that has nothing else to do)
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.testing.dems.certificates import make_certificates
from tests.installed.conftest import REPOSITORY
from tests.installed.stick.machine import Machine, make_disk, make_start, missing

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
OUT = REPOSITORY / "build" / "stick"
UNIT = """[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=file:/dev/ttyS0
StandardError=inherit
ExecStart=/bin/bash /lab/inside.sh
ExecStopPost=/bin/systemctl poweroff
"""
BEGAN = 1_767_323_046
"""2026-01-02 03:04:06 UTC, as a camera without a zone writes it."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("EVIDOCK_STICK" not in os.environ, reason="make stick runs it"),
    pytest.mark.skipif(bool(missing()), reason=f"not here: {' '.join(missing())}"),
]


@pytest.fixture
def film(tmp_path: Path) -> Callable[[str, int], Path]:
    def make(name: str, seconds: int) -> Path:
        path = tmp_path / name
        source = f"testsrc=size=640x360:rate=10:duration={seconds}"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-metadata", f"title={name}"]
        subprocess.run([*command, "-c:v", "mjpeg", "-q:v", "3", "-f", "mp4", path], check=True)
        os.utime(path, (BEGAN, BEGAN))
        return path

    return make


def card(image: Path, *films: Path, size: int = 64) -> Path:
    """A FAT card with films in DCIM, and something that is not the camera's."""
    with image.open("wb") as file:
        file.truncate(size << 20)
    note = image.with_suffix(".txt")
    note.write_text("not the camera's")
    subprocess.run(["mkfs.vfat", "-n", "BWC", image], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["mmd", "-i", image, "::DCIM", "::DCIM/100BWCAM"], check=True)
    for one in films:
        words = ["mcopy", "-m", "-i", image, one, f"::DCIM/100BWCAM/{one.name}"]
        subprocess.run(words, check=True, env={**os.environ, "TZ": "UTC"})
    subprocess.run(["mcopy", "-i", image, note, "::README.TXT"], check=True)
    return image


def exfat(image: Path) -> Path:
    """An empty exFAT card; mtools cannot write there, so the machine fills it."""
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.exfat", image], check=True, stdout=subprocess.DEVNULL)
    return image


def listed(image: Path) -> set[str]:
    said = subprocess.run(["mdir", "-/", "-b", "-i", image, "::"], check=True, capture_output=True, text=True).stdout
    return {line.rpartition("/")[2] for line in said.splitlines() if not line.endswith("/")}


def judged(text: str) -> None:
    lines = [line for line in text.splitlines() if line.startswith(("ok ", "NO "))]
    assert not [line for line in lines if line.startswith("NO ")], text[-12_000:]


@pytest.fixture
def made(debian: Path, package: Path, film: Callable[[str, int], Path], tmp_path: Path) -> tuple[Path, Path, Path]:
    """Kernel, first system and disk of the machine."""
    files = tmp_path / "files"
    for name in ("lab", "etc/systemd/system/multi-user.target.wants"):
        (files / name).mkdir(parents=True)
    shutil.copy(HERE / "inside.sh", files / "lab")
    shutil.copy(HERE.parent / "findings.sh", files / "lab")
    shutil.copy(film("film.mp4", 3), files / "lab")
    units = files / "etc/systemd/system"
    (units / "lab.service").write_text(UNIT)
    (units / "multi-user.target.wants/lab.service").symlink_to("../lab.service")
    (units / "serial-getty@ttyS0.service").symlink_to("/dev/null")
    (files / "etc/localtime").symlink_to("/usr/share/zoneinfo/America/Toronto")  # it must move no time of a camera
    make_certificates(files / "srv/dems/tls", "127.0.0.1")  # the installed product brings nothing that makes them
    disk = tmp_path / "disk.img"
    make_disk(debian, package, files, OUT, disk)
    return *make_start(OUT, tmp_path), disk


def play(machine: Machine, first: Path, second: Path, third: Path, slow: int) -> None:
    """Do with plugs what the machine asks for."""
    machine.wait_for("STRANGERS")
    machine.plug_in(first, serial="SN-BWC-0001", port=1)
    machine.plug_in(second, serial="SN-BWC-0002", port=2)
    machine.wait_for("PULL STRANGERS")
    machine.pull_out(1)
    machine.pull_out(2)
    machine.wait_for("CAMERAS")
    machine.plug_in(first, serial="SN-BWC-0001", port=1)
    machine.plug_in(second, serial="SN-BWC-0002", port=2)
    machine.wait_for("PULL CAMERAS")
    machine.pull_out(1)
    machine.pull_out(2)
    machine.wait_for("SLOW")
    machine.plug_in(third, serial="SN-BWC-0003", port=1, slow=slow)
    machine.wait_for("PULL SLOW")
    machine.pull_out(1, slow=True)
    machine.wait_for("AGAIN")
    machine.plug_in(third, serial="SN-BWC-0003", port=1)
    machine.wait_for("LINE")
    machine.order("chardev-add", id="line", backend={"type": "null", "data": {}})
    told = {"driver": "usb-serial", "id": "line", "chardev": "line", "port": "3", "always-plugged": True}
    machine.order("device_add", bus="xhci.0", **told)


def test_cameras_in_their_bays(made: tuple[Path, Path, Path], film: Callable[[str, int], Path], tmp_path: Path) -> None:
    first = card(tmp_path / "first", film("BWC_0001.MP4", 4), film("BWC_0002.MP4", 2), film("BWC_0002.THM", 1))
    second = exfat(tmp_path / "second")
    long = film("LONG0001.MP4", 150)
    third = card(tmp_path / "third", long)
    fourth = card(tmp_path / "fourth", film("BWC_0009.MP4", 2))
    with Machine(*made, tmp_path / "tpm", tmp_path / "a") as machine:
        play(machine, first, second, third, long.stat().st_size // 20)
        text = machine.ended()
    judged(text)
    assert "NOW END" in text
    assert text.count("\nok ") > 45, text
    assert "began 2026-01-02T03:04:06.000Z" in text
    assert f"long {hashlib.sha256(long.read_bytes()).hexdigest()}" in text
    for image in (first, third):
        assert listed(image) == {"README.TXT"}
        subprocess.run(["fsck.fat", "-n", image], check=True, stdout=subprocess.DEVNULL)

    with Machine(*made, tmp_path / "tpm", tmp_path / "b") as machine:
        machine.plug_in(fourth, serial="SN-BWC-0004", port=1)
        text = machine.ended()
    judged(text)
    assert text.count("ok ") > 4, text
    assert listed(fourth) == {"README.TXT"}
