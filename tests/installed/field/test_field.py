"""The Debian package in a fresh Debian with systemd as process 1: installed, killed, upgraded, removed, purged.

make field        (root, network for the first time, about ten minutes; afterwards five)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.installed.conftest import build_package

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
NEWER = "CREATE TABLE later (row INTEGER PRIMARY KEY) STRICT;\n"
UNIT = """[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=file:/lab-out/log
StandardError=inherit
ExecStart=/bin/bash /lab/inside.sh
ExecStopPost=/bin/systemctl poweroff
"""
WITHIN = 600

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("EVIDOCK_FIELD" not in os.environ, reason="make field runs it"),
    pytest.mark.skipif(shutil.which("systemd-nspawn") is None, reason="systemd-nspawn is not here"),
]


@pytest.fixture(scope="module")
def lab(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the container is given: two packages, the script, and how the DEMS is reached."""
    made = tmp_path_factory.mktemp("lab")
    newer = made / "9999.sql"
    newer.write_text(NEWER)
    shutil.copy(package, made / "evidock.deb")
    build_package(made / "newer.deb", "--version", "9.0.0", "--schema", str(newer))
    for script in (HERE / "inside.sh", HERE / "people.sh", HERE / "volume.sh", HERE.parent / "findings.sh"):
        shutil.copy(script, made)
    (made / "lab.service").write_text(UNIT)
    return made


@pytest.fixture
def dems(lab: Path, tmp_path: Path) -> Iterator[None]:
    """An emulated DEMS on this machine; the container shares its loopback."""
    with subprocess.Popen(
        [sys.executable, "-m", "agent.cli", "dems", "serve", tmp_path / "dems"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        (lab / "url").write_text(said["url"])
        (lab / "vkey").write_text(said["receipt_vkey"])
        shutil.copy(said["ca_file"], lab / "ca.pem")
        yield
        process.terminate()


def test_the_package_in_a_fresh_debian(debian: Path, lab: Path, dems: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    booted = subprocess.run(
        [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--volatile=overlay", "-D", debian),
            *(f"--bind-ro={lab}:/lab", f"--bind={out}:/lab-out"),
            f"--bind-ro={lab}/lab.service:/etc/systemd/system/lab.service",
            *("--boot", "systemd.wants=lab.service"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    log = out / "log"
    assert log.exists(), booted.stdout[-2000:]
    lines = log.read_text().splitlines()
    wrong = [line for line in lines if not line.startswith("ok ")]
    assert wrong == ["end"], "\n".join(lines)
    assert len(lines) > 100
