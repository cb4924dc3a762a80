"""The Debian package, by dpkg-deb alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Final

from package.tree import PYTHON, ROOT, build_tree, newest_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTROL: Final = """Package: evidock
Version: {version}
Architecture: {architecture}
Maintainer: The Evidock maintainers <maintainers@evidock.invalid>
Installed-Size: {size}
Depends: {python}, systemd (>= 252), udev, mount, passwd, libc6 (>= 2.36), ca-certificates
Recommends: ffmpeg, smartmontools
Suggests: chrony | systemd-timesyncd, libtss2-esys-3.0.2-0, libtss2-rc0, libtss2-mu0
Section: admin
Priority: optional
Description: takes recordings off police devices and brings them to a DEMS
 Evidock takes recordings off body-worn cameras, in-car recorders, number plate
 readers, interview rooms and electronic notebooks, keeps them safe on this
 station, and brings them to a digital evidence management system. A device may
 forget a recording only after that system has signed that it stores exactly
 those bytes, and all that happens stands in a log that others can check.
 .
 It lies in an environment of its own below /opt/evidock.
"""


def build_deb(
    out: Path,
    wheel: Path,
    bill: Path,
    when: int,
    *,
    version: str | None = None,
    schema: Path | None = None,
    loose: bool = False,
) -> Path:
    """Build it; the same bytes for the same source, lock and time. `loose`: compressed by nobody."""
    version = version or wheel.name.split("-")[1]
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    path = out / f"evidock_{version}_{architecture}.deb"
    with tempfile.TemporaryDirectory(prefix="evidock-deb-") as folder:
        root = Path(folder) / "root"
        build_tree(root, wheel, bill, schema=schema)
        _control(root, version, architecture)
        _settle(root, when)
        packed = ["-Znone"] if loose else ["-Zxz", "-z1", "--threads-max=1"]
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", *packed, "--build", str(root), str(path)],
            env={**os.environ, "SOURCE_DATE_EPOCH": str(when)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
    return path


def _control(root: Path, version: str, architecture: str) -> None:
    folder = root / "DEBIAN"
    folder.mkdir()
    files = [path for path in _below(root) if path.is_file() and not path.is_symlink()]
    size = sum(-(-path.stat().st_size // 1024) for path in files)
    major, minor = sys.version_info[:2]
    python = f"python3 (>= {major}.{minor}), python3 (<< {major}.{minor + 1}), {PYTHON}"
    text = _CONTROL.format(version=version, architecture=architecture, size=size, python=python)
    (folder / "control").write_text(text)
    configured = [f"/{path.relative_to(root)}\n" for path in files if path.is_relative_to(root / "etc")]
    (folder / "conffiles").write_text("".join(configured))
    sums = [
        f"{md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(root)}\n" for path in files
    ]
    (folder / "md5sums").write_text("".join(sums))  # what `dpkg --verify` reads
    for name in ("preinst", "postinst", "prerm", "postrm"):
        script = (ROOT / "package/debian" / name).read_text().replace("@SCHEMA@", str(newest_schema(root)))
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)


def _settle(root: Path, when: int) -> None:
    """Rights and times do not depend on who built it, and when."""
    for path in [root, *_below(root)]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)
        os.utime(path, (when, when), follow_symlinks=False)
    (root / "etc/evidock").chmod(0o750)


def _below(root: Path) -> Iterator[Path]:
    return iter(sorted(root.rglob("*")))
