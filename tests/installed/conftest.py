"""What the tests of the installed product share: a Debian of the suite that this machine runs, and the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BASE = REPOSITORY / "build" / "field-root"
PACKAGES = (
    "systemd,systemd-sysv,dbus,python3,udev,mount,passwd,ca-certificates,kmod,"
    "libtss2-esys-3.0.2-0,libtss2-mu0,libtss2-rc0,libtss2-tcti-device0"
)
"""kmod loads file systems when they are mounted; with tss2 systemd asks a TPM."""


@pytest.fixture(scope="session")
def debian() -> Path:
    """The root of a Debian, made once. Nothing writes there."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a Debian")
    if given := os.environ.get("EVIDOCK_FIELD_ROOT"):
        return Path(given)
    if shutil.which("debootstrap") is None:
        pytest.skip("debootstrap is not here")
    if not (BASE / f".complete-{len(PACKAGES)}").exists():
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
        (BASE / f".complete-{len(PACKAGES)}").touch()
    return BASE


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package, as `make deb` builds it."""
    return build_package(tmp_path_factory.mktemp("package") / "evidock.deb")


def build_package(path: Path, *more: str) -> Path:
    """Build the Debian package; `more`: words for `python -m package`."""
    out = path.with_suffix(".built")
    subprocess.run(
        [sys.executable, "-m", "package", "deb", "--out", str(out), *more],
        cwd=REPOSITORY,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    shutil.move(next(out.glob("*.deb")), path)
    return path
