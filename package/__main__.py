"""`python -m package`: build everything into dist/; `python -m package deb` only the Debian package."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from hashlib import file_digest
from pathlib import Path
from typing import Final

from package.bill import write_bill
from package.deb import build_deb

ROOT: Final = Path(__file__).parents[1]


def epoch() -> int:
    """The time that stands in everything: SOURCE_DATE_EPOCH, else that of the last commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    asked = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return int(said) if said else 1_767_225_600  # an unpacked source archive: 2026-01-01


def python_packages(out: Path) -> Path:
    """Wheel and source archive; the wheel's path."""
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return max(out.glob("evidock-*.whl"), key=lambda path: path.stat().st_mtime_ns)


def main() -> None:
    """Build, and say what was built."""
    asked = argparse.ArgumentParser(prog="python -m package", description=__doc__)
    asked.add_argument("what", choices=["all", "python", "deb"], nargs="?", default="all")
    asked.add_argument("--out", type=Path, default=ROOT / "dist")
    asked.add_argument("--version", help="another version of the Debian package")
    asked.add_argument("--schema", type=Path, help="one more schema of the journal, for trying upgrades")
    asked.add_argument("--loose", action="store_true", help="a Debian package that is not compressed")
    said = asked.parse_args()
    out: Path = said.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    when = epoch()
    os.environ["SOURCE_DATE_EPOCH"] = str(when)
    wheel = python_packages(out)
    made = [wheel, *out.glob(f"{wheel.name.partition('-py3')[0]}.tar.gz")]
    if said.what != "python":
        bill = write_bill(out / f"{wheel.name.partition('-py3')[0]}.cdx.json", wheel, when)
        deb = build_deb(out, wheel, bill, when, version=said.version, schema=said.schema, loose=said.loose)
        made += [bill, deb]
    sums = "".join(f"{_sha256(path)}  {path.name}\n" for path in sorted(made))
    (out / "SHA256SUMS").write_text(sums)
    sys.stdout.write(sums)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
