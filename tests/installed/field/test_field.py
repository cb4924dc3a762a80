"""The Debian package in a fresh Debian with systemd as process 1: installed, killed, upgraded, removed, purged.

make field        (root, network for the first time, about two minutes; afterwards one)
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

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
BASE = REPOSITORY / "build" / "field-root"
PACKAGES = "systemd,systemd-sysv,dbus,python3,udev,mount,passwd,ca-certificates"
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
]


@pytest.fixture(scope="module")
def root() -> Path:
    """A Debian of the suite that this machine runs, made once."""
    for program in ("debootstrap", "systemd-nspawn"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not here")
    if os.geteuid() != 0:
        pytest.skip("only root can boot a container")
    if given := os.environ.get("EVIDOCK_FIELD_ROOT"):
        return Path(given)
    if not (BASE / ".complete").exists():
        shutil.rmtree(BASE, ignore_errors=True)
        BASE.parent.mkdir(exist_ok=True)
        suite = subprocess.run(
            ["sh", "-c", '. /etc/os-release; echo "$VERSION_CODENAME"'], capture_output=True, text=True, check=True
        )
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite.stdout.strip(), str(BASE)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (BASE / ".complete").touch()
    return BASE


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the container is given: two packages, the script, and how the DEMS is reached."""
    made = tmp_path_factory.mktemp("lab")
    newer = made / "9999.sql"
    newer.write_text(NEWER)
    for name, more in (("evidock.deb", []), ("newer.deb", ["--version", "9.0.0", "--schema", str(newer)])):
        out = made / f"built-{name}"
        subprocess.run(
            [sys.executable, "-m", "package", "deb", "--out", str(out), *more],
            cwd=REPOSITORY,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        shutil.move(next(out.glob("*.deb")), made / name)
    for script in ("inside.sh", "volume.sh"):
        shutil.copy(HERE / script, made)
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


def test_the_package_in_a_fresh_debian(root: Path, lab: Path, dems: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    booted = subprocess.run(
        [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--volatile=overlay", "-D", root),
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
    assert len(lines) > 60
