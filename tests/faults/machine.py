"""A machine of its own in two seconds: User Mode Linux, Linux as an ordinary process of an ordinary user.

The host's files are its root, read-only, so it runs this very interpreter and environment. It brings device mapper,
vfat and every file system, whatever the host's kernel lacks, and root's rights inside it are nobody's outside. Its
disks are files; what it had written to them is there when it is killed, which is how its power is cut.

Needs Debian's `user-mode-linux`; EVIDOCK_UML names the folder where it was only unpacked
(`apt-get download user-mode-linux; dpkg -x user-mode-linux_*.deb FOLDER`).
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Self

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PREFIX = Path(os.environ.get("EVIDOCK_UML", "/"))
KERNEL = PREFIX / "usr/bin/linux.uml"
MODULES = "loop,dm-mod,dm-log-writes,dm-flakey,vfat,nls_cp437,nls_iso8859-1,nls_ascii"
MKFS = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
    "vfat": ("mkfs.fat",),
}
SIZES = {"ext4": 160 << 20, "xfs": 300 << 20, "btrfs": 256 << 20, "vfat": 64 << 20}
"""Bytes of a small one; mkfs.xfs makes none below 300 MiB."""


def needed(*programs: str) -> None:
    """Skip where there is no such machine, or one of these programs is not here."""
    if not KERNEL.exists():
        pytest.skip(f"{KERNEL} is not here: the package user-mode-linux brings it")
    for program in ("modprobe", *programs):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            pytest.skip(f"{program} is not here: `make test` or `make faults` installs it")
    if not _runs_here():
        pytest.skip(f"{KERNEL} runs no program on this processor: it knows no registers as large as its AMX")


@cache
def _runs_here() -> bool:
    """Whether a machine comes to its first program, in a second. Then there is none any more, and it panics."""
    with tempfile.TemporaryDirectory(prefix="evidock-uml-") as folder:
        words = ["mem=64M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "init=/bin/true", "quiet"]
        words += ["umid=tried", f"uml_dir={folder}", "con=null", "con0=null,fd:1"]
        tried = subprocess.run(
            [KERNEL, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True, check=False, timeout=60,
        )  # fmt: skip
    return b"ptrace set fp regs failed" not in tried.stdout


def disk(path: Path, length: int, file_system: str | None = None, *options: str) -> Path:
    """A sparse image, with an empty file system if one is named."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(length)
    if file_system is not None:
        path_ = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        make = [*MKFS[file_system], *options, str(path)]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PATH": path_})
    return path


class Machine:
    """A running one. `job` is a module of `tests.faults.guest` and its arguments; disks appear as /dev/ubda, ...

    `out`: a folder of the host that it may write to, as /mnt/out.
    """

    def __init__(
        self, job: list[str], disks: list[Path], *, out: Path | None = None, memory: str = "768M", **environment: str
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="evidock-uml-"))
        self._words = (self._folder / "console").open("w+b")
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "EVIDOCK_MODULES": MODULES}
        environment |= {"EVIDOCK_UML_PREFIX": str(PREFIX), "EVIDOCK_OUT": "" if out is None else str(out.resolve())}
        environment |= {"EVIDOCK_ROOT": str(ROOT), "EVIDOCK_FAULT_UNTIL": os.environ.get("EVIDOCK_FAULT_UNTIL", "inf")}
        script = self._folder / "job"
        exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
        words = shlex.join([sys.executable, "-m", *job])
        hosts = shlex.join(dict.fromkeys(map(str, (ROOT, sys.prefix, sys.base_prefix, PREFIX))))
        script.write_text("\n".join([*exports, f"JOB=({words})", f"HOSTS=({hosts})", ""]))
        self._process = subprocess.Popen(
            [
                str(KERNEL),
                f"mem={memory}",
                "root=/dev/root",
                "rootfstype=hostfs",
                "rootflags=/",
                "ro",
                f"init={HERE / 'machine_init.sh'}",
                f"umid={self._folder.name}",
                f"uml_dir={self._folder}",
                "con=null",
                "con0=null,fd:1",
                "quiet",
                f"EVIDOCK_JOB={script}",
                *(f"ubd{number}={image.resolve()}" for number, image in enumerate(disks)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._words,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._words.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def words(self) -> str:
        """Its console."""
        return (self._folder / "console").read_text(errors="replace").replace("\r", "")

    def told(self, word: str) -> list[Any]:
        """What follows `word` on each complete line of its console, read as JSON."""
        lines = self.words.split("\n")[:-1]
        return [json.loads(line.removeprefix(word)) for line in lines if line.startswith(f"{word} ")]

    def cut(self) -> None:
        """Cut its power: what it had not brought to its disks is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def finish(self, within: float) -> None:
        """Wait until it has done its job and switched itself off. `AssertionError` with its last words else."""
        ends = time.monotonic() + within
        while self._process.poll() is None and time.monotonic() < ends:
            time.sleep(0.02)
        self.cut()
        assert "\nJOB-ENDED 0\n" in self.words, self.words[-8000:]
