"""What is given to others: the same bytes each time, everything as locked, and a bill of materials that is one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not here")
WHEN = "1767225600"
WHOLE = "EVIDOCK_FIELD" in os.environ
"""`make field`: the Debian package compressed, and built twice, which takes a minute."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source as it is now: whoever edits it, or makes a file in it, while the tests run changes no second build."""
    listed = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if shutil.which("git") is None or (done := subprocess.run(listed, capture_output=True, check=False)).returncode:
        return REPOSITORY  # an unpacked source archive
    copy = tmp_path_factory.mktemp("source")
    for name in map(os.fsdecode, done.stdout.split(b"\0")):
        if name and (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, copy / name)
    return copy


def build(source: Path, out: Path, what: str = "all") -> dict[str, Path]:
    subprocess.run(
        [sys.executable, "-m", "package", what, "--out", str(out), *([] if WHOLE else ["--loose"])],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": WHEN},
        check=True,
        capture_output=True,
    )
    return {path.suffix: path for path in out.iterdir()}


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(source, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def unpacked(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["dpkg-deb", "--raw-extract", built[".deb"], made], check=True)
    return made


@pytest.mark.slow
def test_built_again_it_is_the_same_bytes(source: Path, built: dict[str, Path], tmp_path: Path) -> None:
    again = build(source, tmp_path / "again", "all" if WHOLE else "python")
    sums, same = built[""].read_text().splitlines(), again[""].read_text().splitlines()  # SHA256SUMS
    assert len(same) == (4 if WHOLE else 2)
    assert set(same) <= set(sums)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "again", check=True)


def test_wheel_and_source_hold_what_they_must(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built[".whl"]) as wheel:
        names = set(wheel.namelist())
        assert "agent/daemon.py" in names
        assert any(re.fullmatch(r"agent/journal/schema/\d+\.sql", name) for name in names)
        assert not [name for name in names if name.startswith(("tests/", "package/", "systemd/"))]
    with tarfile.open(built[".gz"]) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    for wanted in (
        "Makefile",
        "requirements.lock",
        "systemd/evidock.service",
        "package/debian/postinst",
        "docs/dems.md",
    ):
        assert wanted in names
    assert not [name for name in names if "node_modules" in name]


def test_the_bill_of_materials_is_one_and_names_what_is_locked(built: dict[str, Path]) -> None:
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - it brings grammars, whose making takes seconds
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    text = built[".json"].read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    told = json.loads(text)
    lock = (REPOSITORY / "requirements.lock").read_text()
    names = {one["name"] for one in told["components"]}
    assert {"aiohttp", "apsw", "cryptography", "pydantic-core"} <= names
    assert not names & {"pytest", "mypy", "ruff", "hatchling"}
    for one in told["components"]:
        assert f"{one['name']}=={one['version']} " in lock
        assert one["hashes"]
        assert all(f"sha256:{digest['content']}" in lock for digest in one["hashes"])


def test_the_package_is_of_nobodys_machine(source: Path, unpacked: Path) -> None:
    ours = (str(REPOSITORY).encode(), str(source).encode(), b"evidock-deb-")
    for path in unpacked.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert not [one for one in ours if one in content], path
    assert (unpacked / "opt/evidock/bin/python3").readlink() == Path(f"/usr/bin/python3.{sys.version_info.minor}")
    assert not list(unpacked.rglob("direct_url.json"))


def test_its_environment_runs_where_it_lies(unpacked: Path) -> None:
    """Its own packages alone: nothing of the environment that it was built from."""
    packages = next((unpacked / "opt/evidock/lib").glob("python3*/site-packages"))
    code = (
        f"import sys; sys.path = [p for p in sys.path if 'site-packages' not in p] + [{str(packages)!r}]\n"
        "import agent.daemon, agent.cli, agent.releaser, drivers.body_worn.usb_volume, aiohttp, apsw, blake3\n"
        "print(agent.daemon.__file__)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert str(packages) in done.stdout, done.stderr


def test_scripts_units_and_what_a_person_edits(unpacked: Path) -> None:
    assert (unpacked / "DEBIAN/conffiles").read_text().splitlines() == ["/etc/udev/rules.d/69-evidock-bays.rules"]
    for name in ("preinst", "postinst", "prerm", "postrm"):
        script = unpacked / "DEBIAN" / name
        assert "@" not in re.sub(r"evidock@|@\*|maintainers@", "", script.read_text()), name
        assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    for unit in (REPOSITORY / "systemd").glob("*.service"):
        assert (unpacked / "usr/lib/systemd/system" / unit.name).read_bytes() == unit.read_bytes()
    control = (unpacked / "DEBIAN/control").read_text()
    assert f"Version: {version('evidock')}\n" in control


def test_what_was_changed_since_it_was_installed_is_not_packed(tmp_path: Path) -> None:
    code = "from package.tree import _copy; from importlib.metadata import distribution, PathDistribution\n"
    here = tmp_path / "lib"
    shutil.copytree(Path(pytest.__file__).parents[1] / "tenacity", here / "tenacity")
    info = next(Path(pytest.__file__).parents[1].glob("tenacity-*.dist-info"))
    shutil.copytree(info, here / info.name)
    (here / "tenacity/nap.py").write_text("changed")
    out = tmp_path / "out"
    code += f"from pathlib import Path; _copy(PathDistribution(Path({str(here / info.name)!r})), Path({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert "was changed since it was installed" in done.stderr
