"""A camera whose card is a real FAT32 image: mounted by the kernel where it has vfat, else by fusefat."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agent.mounts import mount_at

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FatEmulator", "why_not"]

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
MOUNTED_SECONDS = 5.0


def why_not() -> str | None:
    """What this machine lacks for it; None where nothing is missing."""
    missing = [tool for tool in ("mkfs.vfat", "mcopy", "mmd", "mdir") if shutil.which(tool, path=PATH) is None]
    if missing:
        return f"{', '.join(missing)} not installed (packages dosfstools, mtools)"
    if _kernel_can() or (shutil.which("fusefat") and os.access("/dev/fuse", os.R_OK | os.W_OK)):
        return None
    return "neither vfat in the kernel (and root), nor fusefat with rights on /dev/fuse"


def _kernel_can() -> bool:
    return (
        os.geteuid() == 0 and "\tvfat" in Path("/proc/filesystems").read_text() and Path("/dev/loop-control").exists()
    )


class FatEmulator:
    """A card image. Files are put on it with mtools while it is pulled."""

    def __init__(self, image: Path, mount: Path, *, length: int = 64 << 20, serial: str = "1122BEEF") -> None:
        self.image = image
        self.mount = mount
        mount.mkdir(exist_ok=True)
        with image.open("wb") as file:
            file.truncate(length)
        _run("mkfs.vfat", "-F", "32", "-n", "BWC", "-i", serial, str(image))

    def add(self, name: str, content: bytes, *, locked: bool = False) -> None:
        """Record something: `name` is its path on the volume."""
        parts = name.split("/")
        for depth in range(1, len(parts)):
            folder = "::" + "/".join(parts[:depth])
            if not self.has(folder):
                _run("mmd", "-i", str(self.image), folder)
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            _run("mcopy", "-i", str(self.image), file.name, f"::{name}")
        if locked:
            _run("mattrib", "-i", str(self.image), "+r", f"::{name}")

    def remove(self, name: str) -> None:
        """Delete something while it is pulled."""
        _run("mdel", "-i", str(self.image), f"::{name}")

    def has(self, name: str) -> bool:
        """Whether this is on the card, as another implementation of FAT sees it."""
        return (
            _call("mdir", "-b", "-i", str(self.image), name if name.startswith("::") else f"::{name}").returncode == 0
        )

    def plug(self, *, writable: bool = False) -> None:
        """Mount it, harmlessly; by the kernel with `tz=UTC`, so that the camera's local time is given as it stands."""
        if _kernel_can():
            how = "rw" if writable else "ro"
            options = f"loop,{how},nosuid,nodev,noexec,tz=UTC"
            _run("mount", "-t", "vfat", "-o", options, str(self.image), str(self.mount))
        else:
            # fusefat warns that writing is experimental ("rw+" is how one insists); here it deletes, and fsck agrees.
            _run("fusefat", "-o", "rw+" if writable else "ro", str(self.image), str(self.mount))
        ends = time.monotonic() + MOUNTED_SECONDS
        while mount_at(self.mount) is None:
            if time.monotonic() > ends:
                raise TimeoutError(f"{self.image} does not appear at {self.mount}")
            time.sleep(0.01)

    def pull(self) -> None:
        """Unmount it at once, whatever is being read, as the system does when the plug is gone."""
        if mount_at(self.mount) is not None:
            _run(*(("umount", "-l") if os.geteuid() == 0 else ("fusermount", "-uz")), str(self.mount))

    def check(self) -> str:
        """What fsck says of the card, where it is not well."""
        done = _call("fsck.vfat", "-n", str(self.image))
        return "" if done.returncode == 0 else done.stdout


def _call(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": PATH, "MTOOLS_SKIP_CHECK": "1"}
    program: Sequence[str] = (shutil.which(words[0], path=PATH) or words[0], *words[1:])
    return subprocess.run(program, capture_output=True, text=True, check=False, env=environment)  # noqa: S603


def _run(*words: str) -> None:
    done = _call(*words)
    if done.returncode != 0:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
