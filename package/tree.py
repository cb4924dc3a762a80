"""What the Debian package puts onto a machine: the environment below /opt/evidock, units, rules, documents.

The environment is copied from this one, file by file as each distribution's own record lists them, and each file is
held against the digest in that record. Nothing in it names the folder where it was built.
"""

from __future__ import annotations

import base64
import compileall
import csv
import hashlib
import io
import os
import py_compile
import shutil
import sys
import zipfile
from contextlib import redirect_stdout
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from package.parts import parts

if TYPE_CHECKING:
    from importlib.metadata import Distribution

ROOT: Final = Path(__file__).parents[1]
HOME: Final = "/opt/evidock"
PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"

_SCRIPT: Final = """#!{home}/bin/python3 -I
import sys
from {module} import {function}
sys.exit({function}())
"""
_SCRIPTS: Final = {"evidock": ("agent.cli", "main"), "evidock-release": ("agent.releaser", "main")}

_PLACES: Final = {
    "evidock.service": "usr/lib/systemd/system",
    "evidock@.service": "usr/lib/systemd/system",
    "evidock-clock.service": "usr/lib/systemd/system",
    "evidock-mount@.service": "usr/lib/systemd/system",
    "evidock-renew.service": "usr/lib/systemd/system",
    "evidock-renew.timer": "usr/lib/systemd/system",
    "evidock-writable@.service": "usr/lib/systemd/system",
    "evidock-release@.service": "usr/lib/systemd/system",
    "evidock-release@.socket": "usr/lib/systemd/system",
    "sysusers.conf": "usr/lib/sysusers.d/evidock.conf",
    "tmpfiles.conf": "usr/lib/tmpfiles.d/evidock.conf",
    "70-evidock.rules": "usr/lib/udev/rules.d",
    "69-evidock-bays.rules": "etc/udev/rules.d",
    "evidock-mount": "usr/libexec",
    "drop-ins/hotlists.conf": "usr/share/evidock/drop-ins",
    "drop-ins/serial.conf": "usr/share/evidock/drop-ins",
    "drop-ins/in-car.conf": "usr/share/evidock/drop-ins",
    "drop-ins/network.conf": "usr/share/evidock/drop-ins",
}


def build_tree(root: Path, wheel: Path, bill: Path, *, schema: Path | None = None) -> None:
    """Put everything below `root`. `schema`: one more file for the journal, for trying upgrades."""
    home = root / HOME.lstrip("/")
    packages = home / "lib" / PYTHON / "site-packages"
    packages.mkdir(parents=True)
    for part in parts():
        _copy(part.found, packages)
    with zipfile.ZipFile(wheel) as ours:
        ours.extractall(packages)
    if schema is not None:
        shutil.copy(schema, packages / "agent/journal/schema")
    _make_environment(home)
    _compile(packages, root)
    for name, place in _PLACES.items():
        target = root / place
        if not target.suffix or place.endswith(".d"):
            target /= PurePosixPath(name).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "systemd" / name, target)
        target.chmod(0o755 if name == "evidock-mount" else 0o644)
    documents = root / "usr/share/doc/evidock"
    documents.mkdir(parents=True)
    for path in (ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"), bill):
        shutil.copyfile(path, documents / path.name)
    shutil.copyfile(ROOT / "package/debian/copyright", documents / "copyright")
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/evidock").symlink_to(f"{HOME}/bin/evidock")
    (root / "etc/evidock").mkdir(mode=0o750)


def newest_schema(root: Path) -> int:
    """The newest schema of the journal that this tree's program knows."""
    folder = root / HOME.lstrip("/") / "lib" / PYTHON / "site-packages/agent/journal/schema"
    return max(int(path.stem) for path in folder.glob("*.sql"))


def _copy(found: Distribution, packages: Path) -> None:
    """The files of one distribution, as its own record lists them; what does not agree ends the build."""
    kept: list[tuple[str, str, str]] = []
    record = ""
    for name in found.files or ():
        inside = PurePosixPath(str(name))
        if ".." in inside.parts or "__pycache__" in inside.parts or inside.suffix == ".pyc":
            continue  # scripts of its own are not started here; compiled files are made anew
        if inside.name in {"direct_url.json", "REQUESTED"}:
            continue  # where it was installed from
        if inside.name == "RECORD":
            record = str(inside)
            continue
        content = Path(str(found.locate_file(name))).read_bytes()
        if name.hash is not None:
            digest = base64.urlsafe_b64encode(hashlib.new(name.hash.mode, content).digest()).rstrip(b"=").decode()
            if digest != name.hash.value:
                raise SystemExit(f"{name} of {found.name} was changed since it was installed: make clean install")
        target = packages / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        value = "" if name.hash is None else f"{name.hash.mode}={name.hash.value}"
        kept.append((str(inside), value, str(len(content))))
    told = io.StringIO()
    csv.writer(told, lineterminator="\n").writerows(sorted([*kept, (record, "", "")]))
    (packages / record).write_text(told.getvalue())


def _make_environment(home: Path) -> None:
    (home / "bin").mkdir()
    (home / "bin/python3").symlink_to(f"/usr/bin/{PYTHON}")
    version = PYTHON.removeprefix("python")
    (home / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n")
    for name, (module, function) in _SCRIPTS.items():
        script = home / "bin" / name
        script.write_text(_SCRIPT.format(home=HOME, module=module, function=function))
        script.chmod(0o755)


def _compile(packages: Path, root: Path) -> None:
    """Compiled beforehand: nobody may write there when the daemon runs. Checked by nobody at run time: dpkg does."""
    os.environ["PYTHONHASHSEED"] = "0"
    with redirect_stdout(io.StringIO()):
        compileall.compile_dir(
            packages,
            quiet=2,
            workers=1,
            stripdir=str(root),
            prependdir="/",
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
