"""The package's own scripts: what becomes of the services of each station. `make field` has systemd itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "package/debian"

SYSTEMCTL = """#!/bin/sh
# Says which services are enabled, and writes down what else is asked for.
[ "$1" = is-enabled ] && exec test -e "{root}/enabled/$3"
echo "$*" >> "{root}/said"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's folders, with two stations that are enabled and one that is not."""
    for place in ("run/systemd/system", "etc/evidock", "etc/systemd/system/multi-user.target.wants", "enabled", "bin"):
        (tmp_path / place).mkdir(parents=True)
    for name in ("agent", "north", "trial"):
        (tmp_path / f"etc/evidock/{name}.toml").touch()
    for service in ("evidock.service", "evidock@north.service"):
        (tmp_path / "enabled" / service).touch()
        (tmp_path / "etc/systemd/system/multi-user.target.wants" / service).symlink_to(f"/nowhere/{service}")
    for program in ("systemd-sysusers", "systemd-tmpfiles", "udevadm", "chown"):
        (tmp_path / "bin" / program).symlink_to("/bin/true")
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL.format(root=tmp_path))
    (tmp_path / "bin/systemctl").chmod(0o755)
    return tmp_path


def run(root: Path, name: str, *words: str) -> list[str]:
    """Run a script for that machine; what it asked systemd for."""
    script = (SCRIPTS / name).read_text()
    for place in ("/etc/", "/var/lib/", "/run/systemd/"):
        script = script.replace(place, f"{root}{place}")
    (root / "said").unlink(missing_ok=True)
    (root / "said").touch()
    path = f"{root}/bin:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", script, name, *words], env={**os.environ, "PATH": path}, check=True)
    return (root / "said").read_text().splitlines()


@pytest.mark.parametrize(
    ("before", "words", "how"),
    [("upgrade", ("configure", "1.0"), "restart"), ("remove", ("abort-remove",), "start")],
    ids=["upgraded", "not removed after all"],
)
def test_every_station_that_was_stopped_goes_on(root: Path, before: str, words: tuple[str, ...], how: str) -> None:
    assert any("evidock.service evidock@*.service" in line for line in run(root, "prerm", before, "2.0"))
    said = run(root, "postinst", *words)
    assert f"{how} evidock.service" in said
    assert f"{how} evidock@north.service" in said
    assert not any("trial" in line for line in said), "it was never enabled"
    assert not any("agent" in line for line in said)


def test_removed_and_installed_again_a_station_is_enabled_still_and_purged_it_is_not(root: Path) -> None:
    wants = root / "etc/systemd/system/multi-user.target.wants"
    assert not any(line.startswith("disable") for line in run(root, "prerm", "remove"))
    # dpkg names the version that was configured last, also where the package had been removed since.
    assert "restart evidock.service" in run(root, "postinst", "configure", "1.0")
    run(root, "postrm", "remove")
    assert len(list(wants.iterdir())) == 2
    run(root, "postrm", "purge")
    assert not list(wants.iterdir())
