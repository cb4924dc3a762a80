"""The units: systemd understands every line, and finds little that an attacker could use."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")

EXPOSURE = {
    "evidock.service": 1.3,
    "evidock@.service": 1.3,
    "evidock-clock.service": 0.5,
    "evidock-release@.service": 0.4,
    "evidock-renew.service": 1.3,
    # Root, and without a mount namespace of its own, or nobody would see what it mounts; it has no network.
    "evidock-mount@.service": 3.7,
    "evidock-writable@.service": 3.7,
}
"""What `systemd-analyze security` says of each: 0 is best, 10 worst."""


def settings(unit: str) -> list[str]:
    return [line for line in (UNITS / unit).read_text().splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with nothing but our units, what they start, and the units that they name."""
    made = tmp_path_factory.mktemp("root")
    there = made / "usr/lib/systemd/system"
    there.mkdir(parents=True)
    for unit in UNITS.glob("*.service"):
        shutil.copy(unit, there / unit.name.replace("@.", "@bay1."))
    shutil.copy(UNITS / "evidock-release@.socket", there / "evidock-release@bay1.socket")
    (there / "dev-evidock-volume-bay1.device").touch()
    for name in ("opt/evidock/bin/evidock", "opt/evidock/bin/evidock-release", "opt/evidock/bin/python3"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
    for name in (*("evidock", "evidock-release", "python3"),):
        (made / "opt/evidock/bin" / name).touch(mode=0o755)
    shutil.copy(UNITS / "evidock-renew.timer", there)
    for name in ("usr/libexec/evidock-mount", "bin/sh", "bin/systemctl"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).touch(mode=0o755)
    for unit in ("sysinit.target", "basic.target", "shutdown.target", "network-online.target", "time-sync.target"):
        (there / unit).write_text("[Unit]\n")
    for unit in ("system.slice", "-.slice", "multi-user.target", "sockets.target", "local-fs.target"):
        (there / unit).write_text("[Unit]\n")
    return made


@pytest.mark.parametrize("unit", [*sorted(EXPOSURE), "evidock-release@.socket", "evidock-renew.timer"])
def test_systemd_understands_every_line(root: Path, unit: str) -> None:
    name = unit.replace("@.", "@bay1.")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={root}", name],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "evidock" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def exposure(folder: Path, unit: str, more: str = "") -> float:
    path = folder / unit.replace("@.", "@bay1.")
    path.write_text((UNITS / unit).read_text() + more)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stderr
    return float(found[1])


@pytest.mark.parametrize(("unit", "most"), sorted(EXPOSURE.items()))
def test_little_is_left_to_an_attacker(tmp_path: Path, unit: str, most: float) -> None:
    assert exposure(tmp_path, unit) <= most
    assert most <= 1.5 or unit in {"evidock-mount@.service", "evidock-writable@.service"}


@pytest.mark.parametrize("name", ["serial", "in-car", "network", "hotlists"])
def test_nor_with_a_drop_in(tmp_path: Path, name: str) -> None:
    text = (UNITS / "drop-ins" / f"{name}.conf").read_text()
    assert exposure(tmp_path, "evidock.service", text[text.index("[Service]") :]) <= 1.5


@pytest.mark.parametrize("unit", ["evidock-mount@.service", "evidock-writable@.service"])
def test_the_mount_helper_has_no_mount_namespace_of_its_own(unit: str) -> None:
    """A mount made in one succeeds, and nobody sees it."""
    fatal = (
        "Protect(System|Home|Proc|KernelTunables|KernelModules|KernelLogs|ControlGroups)|ReadOnlyPaths|TemporaryFile"
        "|ReadWritePaths|InaccessiblePaths|ProcSubset|Private(Tmp|Devices|Mounts|IPC|Network|Users)|Bind(ReadOnly)?Paths"
        "|(State|Runtime|Logs)Directory|LoadCredential|DynamicUser|RootDirectory"
    )
    assert [line for line in settings(unit) if re.match(fatal, line)] == []


def test_one_of_several_stations_is_as_hardened_as_the_only_one() -> None:
    one, several = settings("evidock.service"), settings("evidock@.service")
    differing = {line.partition("=")[0] for line in set(one) ^ set(several)}
    assert differing == {
        *("Description", "ConditionPathExists", "ExecStart", "StateDirectory", "RuntimeDirectory"),
        "LoadCredentialEncrypted",
    }
    assert len(one) == len(several)


def test_volumes_are_mounted_as_the_driver_wants_them() -> None:
    script = (UNITS / "evidock-mount").read_text()
    assert subprocess.run(["sh", "-n", UNITS / "evidock-mount"], check=False).returncode == 0
    for word in ("tz=UTC", "nosuid,nodev,noexec,nosymfollow", "ro,$safe"):
        assert word in script


@pytest.mark.parametrize("name", ["../etc", "a/b", "", "a-b", "A", "x y", "$(id)"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    done = subprocess.run([UNITS / "evidock-mount", "mount", name], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "no name of a volume" in done.stderr


def test_the_rules_name_only_bays_that_the_helper_takes() -> None:
    examples = re.findall(r'EVIDOCK_BAY}="([^"]*)"', (UNITS / "69-evidock-bays.rules").read_text())
    assert examples
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in examples)
