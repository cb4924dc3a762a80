"""verify.sh and odd names: of files in a bag, which its maker chose, and of the folder that a reader put it into."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent.custody import bag_files
from agent.custody.bag_files import Report, check_files

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.interop, pytest.mark.slow]

ODD = [
    *("x\n-out", "\n", "x\n", "back\\slash", "\udcff\udcfe.mp4", "\x1b[2J", "a b", "'", '"', "`id`", "caf\u00e9", "*"),
]
DASHES = ["-out", "--", "-rf", "-"]
SHELLS = [[one, *more] for one, *more in (("dash",), ("bash", "--posix"), ("busybox", "sh")) if shutil.which(one)]


def checked(shell: list[str], *words: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "LC_ALL": "C.UTF-8", **more}
    return subprocess.run([*shell, *words], cwd=cwd, env=env, capture_output=True, check=False)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_what_a_file_in_a_bag_is_called_is_found_and_does_nothing(bag: Path, shell: list[str], tmp_path: Path) -> None:
    copy = shutil.copytree(bag, tmp_path / "bag")
    places = [(name, ("", "data", "custody", "keys")[number % 4]) for number, name in enumerate(ODD)]
    for number, (name, place) in enumerate((*places, ("-out", "data"), ("--", "keys"), ("-rf", ""), ("-", "custody"))):
        path = copy / place / name
        if number % 3 == 1:
            path.mkdir()
            (path / "x").touch()
        else:
            path.touch()
        done = checked(shell, "verify.sh", cwd=copy)
        assert (done.returncode, done.stderr) == (1, b""), (name, place, done)
        assert done.stdout.replace(b"\n", b"").decode("ascii").isprintable()
        if name in ODD:
            assert done.stdout == b"FAILED  a link, or a name that no export gives\n", (name, place)
        report = Report()
        check_files(bag_files.Folder(copy), report)
        assert bag_files.exit_code(report) == 1, (name, place)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert checked(shell, "verify.sh", cwd=copy).returncode == 0, "something was written over"


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_folder_that_cannot_be_looked_into_is_not_passed_by(bag: Path, shell: list[str], tmp_path: Path) -> None:
    copy = shutil.copytree(bag, tmp_path / "bag")
    (copy / "custody" / "closed").mkdir(mode=0)
    rights = "-dac_override,-dac_read_search"  # root reads whatever it likes
    may_not = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []
    done = checked([*may_not, *shell], "verify.sh", cwd=copy)
    (copy / "custody" / "closed").rmdir()
    assert (done.returncode, done.stdout, done.stderr) == (2, b"FAILED  a folder in it cannot be read\n", b"")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_whatever_the_folder_is_called_that_a_bag_lies_in(bag: Path, shell: list[str], tmp_path: Path) -> None:
    """It is checked, and no other: not the one whose name lacks its last newline, and none that CDPATH names."""
    above, other = tmp_path / "above", tmp_path / "other"
    above.mkdir()
    for name in (*ODD[:5], "*", *DASHES[2:], "bag"):
        copy = shutil.copytree(bag, above / name)
        (copy / "VERIFY.txt").unlink()
        good = shutil.copytree(bag, other / (name.rstrip("\n") or "x"))
        if name.endswith("\n") and name.strip():
            shutil.copytree(bag, above / name.rstrip("\n"))
        for words in ((f"./{name}/verify.sh",), (bag / "verify.sh", name)):
            done = checked(shell, *words, cwd=above, CDPATH=str(other), OLDPWD=str(good))
            assert (done.returncode, done.stderr) == (1, b""), (name, words, done)
            assert b"FAILED  tagmanifest-sha256.txt" in done.stdout, (name, words, done)
        shutil.rmtree(above)
        shutil.rmtree(other)
        above.mkdir()
    done = checked(shell, bag / "verify.sh", "none", cwd=above, CDPATH=str(tmp_path))
    assert done.returncode == 2
